"""``hpc-trex data``: a recipe by hand, what it says of each step, and the one line that bad input gets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w
from click.testing import Result

from tests.unit.cli.conftest import read_json

Trex = Callable[..., Result]
STEPS = [{"op": "load", "source": "a"}, {"op": "dedup"}, {"op": "filter_length", "min_chars": 2}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"question {n % 8}", "answer": "x" if n == 3 else f"answer {n % 8}"} for n in range(10)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def _recipe(folder: Path, steps: list[dict[str, object]] = STEPS, **more: object) -> Path:
    path = folder / "recipe.toml"
    path.write_text(tomli_w.dumps({"sources": {"a": {"path": "a.jsonl"}}, **more, "steps": steps}))
    return path


def test_each_step_is_told_with_examples_of_what_it_dropped(trex: Trex, folder: Path) -> None:
    result = trex("data", "run", _recipe(folder))
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[:8] for line in lines if "in" in line[:5]] == [
        ["1", "load", "0", "in", "10", "kept", "0", "dropped"],
        ["2", "dedup", "10", "in", "8", "kept", "2", "dropped"],
        ["3", "filter_length", "8", "in", "7", "kept", "1", "dropped"],
        ["4", "decontaminate", "(always)", "7", "in", "7", "kept", "0"],
    ]
    assert 'a:9  "question 0" -> "answer 0"' in result.stdout
    assert 'a:4  "question 3" -> "x"' in result.stdout
    assert "7 rows to train on; nothing kept" in result.stdout
    assert "nothing was kept apart" in result.stdout
    again = trex("data", "run", _recipe(folder))
    assert again.stdout.count("(known: not run again)") == 3
    assert again.stdout.replace("  (known: not run again)", "") == result.stdout


def test_a_set_that_was_kept_can_be_looked_at(trex: Trex, folder: Path) -> None:
    told = read_json(trex("data", "run", _recipe(folder, licence="CC0-1.0"), "--out", "kept", "--json"))
    assert told["manifest"]["rows"] == 7  # type: ignore[index]
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    seen = read_json(trex("data", "show", "kept", "--json", "--examples", "2"))
    assert seen["lengths"]["prompt"]["max"] == 10  # type: ignore[index]
    assert len(seen["examples"]) == 2  # type: ignore[arg-type]
    shown = trex("data", "show", "kept").stdout
    assert "7 rows, 0 held out, written as plain text" in shown
    assert "a.jsonl  licence CC0-1.0" in shown
    assert trex("data", "run", _recipe(folder), "--out", "kept").exit_code == 2
    (folder / "kept" / "rows" / "state.json").write_text("{")
    cut = trex("data", "show", "kept")
    assert (cut.exit_code, "cannot be read" in cut.stderr) == (1, True)
    assert trex("data", "show", "nowhere").exit_code == 3


def test_dev_and_test_of_a_card_are_kept_out(trex: Trex, folder: Path) -> None:
    for name, prompt in (("dev", "question 1"), ("test", "Question  2")):
        (folder / f"{name}.jsonl").write_text(json.dumps({"prompt": prompt, "answer": "a"}) + "\n")
    splits = {"dev": {"path": "dev.jsonl"}, "test": {"path": "test.jsonl"}}
    own = trex("data", "run", _recipe(folder, **splits))
    (folder / "card.toml").write_text(tomli_w.dumps({"name": "mine", "sources": {"a": {"path": "a.jsonl"}}, **splits}))
    (folder / "bare.json").write_text(json.dumps({"steps": STEPS}))
    other = trex("data", "run", "bare.json", "--task", "card.toml")
    for result in (own, other):
        assert result.exit_code == 0, result.output
        assert "5 rows to train on" in result.stdout
        assert "the prompt stands in dev or test" in result.stdout
        assert "kept apart" not in result.stdout
    both = trex("data", "run", _recipe(folder), "--task", "card.toml")
    assert (both.exit_code, "leave --task out" in both.stderr) == (2, True)


def test_a_sample_takes_the_first_rows_and_a_dry_run_runs_nothing(trex: Trex, folder: Path) -> None:
    told = read_json(trex("data", "run", _recipe(folder), "--sample", "3", "--json"))
    assert told["manifest"]["rows"] == 3  # type: ignore[index]
    dry = trex("data", "run", _recipe(folder), "--dry-run", "--out", "kept")
    assert dry.exit_code == 0
    assert 'first row of a: "question 0" -> "answer 0"' in dry.stdout
    assert not (folder / "kept").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"prompt": "q", "answer": "a"}\n{"prompt": "q"}\n', ["a.jsonl:2", "'answer' is undefined"]),
        (b'{"prompt": "q", "answer": ["a"]}\n', ["a.jsonl:1", "neither text nor a number"]),
        (
            b'{"prompt": "q", "answer": "a"}\n{"prompt": "caf\xe9", "answer": "a"}\n',
            ["a.jsonl:2", "not UTF-8", "iconv"],
        ),
        (b'{"prompt": "' + b"x" * 2_000_000 + b'", "answer": "a"}\n', ["a.jsonl:1", "2000000 characters"]),
        (b'{"prompt": "q", "answer": ""}\n', ["a.jsonl:1", "the answer is empty"]),
        (b"\n", ["a has no rows"]),
        (b"[1, 2]\n", ["a.jsonl:1", "list"]),
    ],
    ids=["missing column", "wrong type", "encoding", "two million", "empty answer", "no rows", "no object"],
)
def test_a_bad_row_is_one_line_with_file_row_and_remedy(
    trex: Trex, folder: Path, content: bytes, told: list[str]
) -> None:
    (folder / "a.jsonl").write_bytes(content)
    result = trex("data", "run", _recipe(folder), "--out", "kept")
    assert result.exit_code in (1, 2)
    assert len(result.stderr.splitlines()) == 2, "an error and a hint"
    for words in told:
        assert words in result.stderr
    assert not (folder / "kept").exists()
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("steps", "code", "told"),
    [
        ([{"op": "load", "source": "b"}], 2, ["step 1 (load): no source 'b'", "sources: a"]),
        ([{"op": "load", "source": "a"}, {"op": "dedupp"}], 2, ["dedupp"]),
        ([{"op": "dedup"}], 2, ["begins with a load step"]),
        ([*STEPS, {"op": "filter_regex", "pattern": "nowhere"}], 1, ["step 4 (filter_regex) left no rows of 7"]),
        ([*STEPS, {"op": "filter_loss", "judge": "base"}], 2, ["filter_loss asks the base model", "--base"]),
        ([*STEPS, {"op": "mix", "weights": {"c": 1}}], 2, ["step 4 (mix): no source 'c'"]),
    ],
)
def test_a_recipe_that_cannot_run_says_which_step(
    trex: Trex, folder: Path, steps: list[dict[str, object]], code: int, told: list[str]
) -> None:
    result = trex("data", "run", _recipe(folder, steps))
    assert result.exit_code == code, result.output
    for words in told:
        assert words in result.stderr


def test_words_of_rows_and_recipes_cannot_steer_the_terminal(trex: Trex, folder: Path) -> None:
    row = {"prompt": "q \x1b]0;a\x07 \x9b31m", "answer": "yes"}
    (folder / "a.jsonl").write_text((json.dumps(row) + "\n") * 3 + json.dumps({"prompt": "q", "answer": "n"}) + "\n")
    pattern = {"op": "filter_regex", "pattern": "\x1b]0;b\x07|\x9b", "keep": False}
    path = folder / "recipe.json"
    path.write_text(json.dumps({"sources": {"a": {"path": "a.jsonl"}}, "steps": [*STEPS[:2], pattern]}))
    for words in (["run", path, "--out", "kept"], ["run", path, "--dry-run"], ["show", "kept"]):
        result = trex("data", *words)
        assert result.exit_code == 0, result.output
        assert not set("\x1b\x07\x9b") & set(result.stdout), words


@pytest.mark.parametrize("manifest", ["{}", "[]", '{"rows": "3"}'])
def test_a_manifest_of_another_program_is_told(trex: Trex, folder: Path, manifest: str) -> None:
    trex("data", "run", _recipe(folder), "--out", "kept")
    (folder / "kept" / "manifest.json").write_text(manifest)
    result = trex("data", "show", "kept")
    assert result.exit_code == 1
    assert "is no manifest of a prepared set" in result.stderr


def test_a_place_where_no_folder_can_be_made_is_told(trex: Trex, folder: Path) -> None:
    result = trex("data", "run", _recipe(folder), "--out", "a.jsonl/kept")
    assert result.exit_code == 2
    assert "no folder can be made at a.jsonl/kept" in result.stderr


def test_a_recipe_whose_source_is_wrong_is_told_of_that_source_only(trex: Trex, folder: Path) -> None:
    result = trex("data", "run", _recipe(folder, sources={"a": {"pth": "a.jsonl"}}))
    assert result.exit_code == 2
    assert "pth" in result.stderr
    assert "; dev" not in result.stderr


def test_hidden_files_of_a_folder_are_no_rows(trex: Trex, folder: Path) -> None:
    (folder / "set" / ".ipynb_checkpoints").mkdir(parents=True)
    (folder / "set" / "a.jsonl").write_bytes((folder / "a.jsonl").read_bytes())
    (folder / "set" / ".ipynb_checkpoints" / "a.jsonl").write_bytes((folder / "a.jsonl").read_bytes())
    (folder / "set" / "._a.jsonl").write_bytes(b"\x00\x05\x16\x07\xff")
    result = trex("data", "run", _recipe(folder, STEPS[:1], sources={"a": {"path": "set"}}))
    assert result.exit_code == 0, result.output
    assert "10 rows to train on" in result.stdout


def test_code_in_a_recipe_runs_in_the_sandbox(trex: Trex, folder: Path) -> None:
    code = f"import os\ndef transform(row):\n    return {{**row, 'answer': str(os.path.exists({str(folder)!r}))}}\n"
    told = read_json(
        trex("data", "run", _recipe(folder, [*STEPS, {"op": "python", "code": code}]), "--out", "kept", "--json")
    )
    assert told["manifest"]["rows"] == 7  # type: ignore[index]
    seen = read_json(trex("data", "show", "kept", "--json"))
    assert {row["answer"].strip() for row in seen["examples"]} == {"False"}  # type: ignore[attr-defined, union-attr, index]


def test_a_recipe_file_that_is_none(trex: Trex, folder: Path) -> None:
    assert trex("data", "run", "nothing.toml").exit_code == 3
    assert trex("data", "run", "nothing.json").exit_code == 3
    for text in ("[1]", "{", '{"steps": 3}', '{"steps": []}'):
        (folder / "r.json").write_text(text)
        result = trex("data", "run", "r.json")
        assert result.exit_code == 2, text
        assert "r.json" in result.stderr
    result = trex("data", "run", _recipe(folder), "--base", "no-model")
    assert (result.exit_code, "no model in no-model" in result.stderr) == (3, True)


def test_every_operator_is_listed_with_its_words_and_parameters(trex: Trex) -> None:
    from hpc_trex.data.operators import OPERATORS

    listed = read_json(trex("data", "operators", "--json"))["operators"]
    assert isinstance(listed, dict)
    assert set(listed) == {kind.model_fields["op"].default for kind in OPERATORS}
    assert all(schema["description"] for schema in listed.values())
    shown = trex("data", "operators").stdout
    assert all(f"\n{name}\n" in f"\n{shown}" for name in listed)
    assert "ngram (default none)" in trex("data", "operators", "dedup").stdout
    wrong = trex("data", "operators", "dedub")
    assert (wrong.exit_code, "did you mean dedup" in wrong.stderr) == (2, True)
