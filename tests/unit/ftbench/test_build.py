"""Downloaded files become tables: which files, which rows, and a carved split that no other row's place can move."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.build import build_tables, matches
from hpc_trex.ftbench.rows import Row
from hpc_trex.ftbench.splits import Placed, separated
from hpc_trex.models import TaskCard

REPO = {"kind": "git", "url": "https://example.org/a/b", "revision": "a" * 40}


def card(tables: dict, **more: object) -> TaskCard:
    body = {"name": "t", "downloads": {"repo": REPO}, "tables": tables, "sources": {"train": {"table": "train"}},
            "dev": {"table": "dev"}, "test": {"table": "test"}} | more  # fmt: skip
    return TaskCard.model_validate(body)


def built(made: TaskCard, folder: Path) -> dict[str, list[dict]]:
    return {name: [json.loads(line) for line in lines] for name, lines in build_tables(made, {"repo": folder})}


TABLES = {
    "train": {"from": "repo", "path": "data/train*.jsonl"},
    "dev": {"of": "train", "rows": 20, "group": "{{ visit }}"},
    "test": {"from": "repo", "path": "data/test.csv"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    (data / "train-more").mkdir(parents=True)
    rows = [{"visit": n % 40, "text": f"row {n}"} for n in range(120)]
    for part, start in (("train-1", 0), ("train-2", 60)):
        (data / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[start : start + 60]))
    (data / "train-more" / "train-3.jsonl").write_text('{"visit": 1, "text": "not asked for"}\n')
    (data / "test.csv").write_text('visit,text\n7,"a line\nand another, 北京"\n')
    return tmp_path


def test_a_glob_stays_in_its_folder_unless_it_says_otherwise():
    assert matches("data/train.csv", "data/*.csv")
    assert not matches("data/old/train.csv", "data/*.csv"), "what lies deeper may be the test's"
    assert matches("data/old/train.csv", "data/**/*.csv")
    assert matches("data/train.csv", "**/*.csv")
    assert matches("a/b", "**")
    assert not matches("data", "data/*")


def test_tables_have_the_upstream_columns_and_a_group_stands_on_one_side(folder: Path):
    found = built(card(TABLES), folder)
    assert list(found) == ["dev", "train", "test"]
    assert found["test"] == [{"visit": "7", "text": "a line\nand another, 北京"}]
    sides = {name: {row["visit"] for row in found[name]} for name in ("train", "dev")}
    assert sides["train"] | sides["dev"] == set(range(40))
    assert not sides["train"] & sides["dev"]
    assert len(found["dev"]) == 21, "groups of three until there are 20 rows"
    assert len(found["train"]) + len(found["dev"]) == 120


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 100))
def test_which_groups_are_taken_depends_on_no_order_of_rows(tmp_path_factory, seed: int, rows: int):
    folder = tmp_path_factory.mktemp("rows")
    (folder / "data").mkdir()
    (folder / "data" / "test.csv").write_text("visit\n1\n")
    lines = [json.dumps({"visit": n % 40, "text": str(n)}) for n in range(120)]
    tables = {**TABLES, "dev": {"of": "train", "rows": rows, "group": "{{ visit }}", "seed": seed}}
    taken = []
    for order in (None, seed):
        if order is not None:
            random.Random(order).shuffle(lines)
        (folder / "data" / "train.jsonl").write_text("\n".join(lines))
        taken.append({row["visit"] for row in built(card(tables), folder)["dev"]})
    assert taken[0] == taken[1]
    more = built(card({**tables, "dev": {**tables["dev"], "rows": rows + 3}}), folder)["dev"]
    assert taken[0] < {row["visit"] for row in more}, "a larger dev holds the smaller one"


def test_without_a_group_equal_rows_stay_together(folder: Path):
    (folder / "data" / "train-2.jsonl").write_text((folder / "data" / "train-1.jsonl").read_text())
    found = built(card({**TABLES, "dev": {"of": "train", "rows": 10}}), folder)
    assert not {row["text"] for row in found["dev"]} & {row["text"] for row in found["train"]}


def test_where_keeps_rows_and_a_json_list_is_read(folder: Path):
    (folder / "data" / "all.json").write_text(json.dumps([{"level": n % 3, "text": str(n)} for n in range(9)]))
    tables = {**TABLES, "train": {"from": "repo", "path": "data/all.json", "where": "level == 2"}}
    found = built(card({**tables, "dev": {"of": "train", "rows": 1}}), folder)
    assert {row["level"] for row in found["train"] + found["dev"]} == {2}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train": {"from": "repo", "path": "data/nothing.csv"}}, "no downloaded file is 'data/nothing.csv'"),
        ({"train": {"from": "repo", "path": "data/train*.jsonl", "where": "level == 2"}}, "'level' is undefined"),
        ({"train": {"from": "repo", "path": "data/train*.jsonl", "where": "visit =="}}, "tables.train.where"),
        ({"train": {"from": "repo", "path": "data/train*.jsonl", "where": "visit > 99"}}, "has no rows"),
        ({"train": {"from": "repo", "path": "data/*", "reader": "nobody"}}, "no reader 'nobody'"),
        ({"dev": {"of": "train", "rows": 2, "group": "{{ patient }}"}}, "'patient' is undefined"),
        ({"dev": {"of": "train", "rows": 2, "group": "{{ visit"}}, "tables.dev.group"),
        ({"dev": {"of": "train", "rows": 120}}, "120 rows cannot be taken out of train"),
        ({"test": {"from": "repo", "path": "data/notes.txt"}}, "cannot be told from its name"),
        ({"test": {"from": "repo", "path": "data/one.json"}}, "not a list of objects"),
        ({"test": {"from": "repo", "path": "data/cut.json"}}, "not valid JSON"),
        ({"test": {"from": "repo", "path": "data/numbers.json"}}, "entry 1 is no object"),
        ({"test": {"from": "repo", "path": "data/nan.jsonl"}}, "no JSON can hold it"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(folder: Path, change: dict, said: str):
    for name, text in (("notes.txt", "x"), ("one.json", "{}"), ("cut.json", "[{"), ("numbers.json", "[1]"),
                       ("nan.jsonl", '{"visit": NaN}\n')):  # fmt: skip
        (folder / "data" / name).write_text(text)
    with pytest.raises(UsageProblem) as caught:
        built(card({**TABLES, **change}), folder)
    assert said in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"training_allowed": False}, "training_allowed = false"),
        ({"sources": {"train": {"table": "test"}}}, "is measured on"),
        ({"sources": {"train": {"table": "dev"}}}, "is measured on"),
        ({"dev": {"table": "test"}}, "is the test's"),
        ({"sources": {"train": {"table": "nothing"}}}, "no table 'nothing'"),
        ({"downloads": {}}, "no download 'repo'"),
        ({"downloads": {"repo": {**REPO, "revision": "main"}}}, "40 hex digits"),
        ({"downloads": {"repo": {**REPO, "url": "git@example.org:a/b"}}}, "begins with https://"),
        ({"downloads": {"repo": {"kind": "hub", "id": "a/b", "revision": "abc123"}}}, "first 7 or more"),
        ({"downloads": {"repo": {"kind": "file", "url": "https://a/b", "revision": "a" * 40}}}, "give sha256"),
        ({"tables": {**TABLES, "dev": {"of": "nothing", "rows": 1}}}, "no table 'nothing'"),
        ({"tables": {**TABLES, "dev": {"of": "train"}}}, "of needs rows"),
        ({"tables": {**TABLES, "train": {"path": "x"}}}, "exactly one of from"),
        ({"tables": {**TABLES, "train": {"from": "repo", "rows": 3}}}, "taken of another one"),
        ({"tables": {**TABLES, "../x": {"from": "repo"}}}, "pattern"),
        ({"sources": {"train": {"table": "train", "path": "x"}}}, "exactly one of path"),
    ],
)
def test_a_card_that_does_not_hang_together_is_refused(change: dict, said: str):
    with pytest.raises(ValidationError, match=said):
        card(change.pop("tables", TABLES), **change)


def test_a_card_without_sources_needs_downloads_and_is_kept_as_it_is():
    empty = card(TABLES, sources={})
    assert TaskCard.model_validate_json(empty.model_dump_json()) == empty
    assert '"from":"repo"' in empty.model_dump_json(), "as it is written in a card"
    with pytest.raises(ValidationError, match="sources: needs one at least"):
        TaskCard.model_validate({"name": "t", "dev": {"path": "d"}, "test": {"path": "t"}})


def test_half_a_character_and_a_column_named_self_are_no_traceback(folder: Path):
    (folder / "data" / "train-1.jsonl").write_text('{"visit": 1, "self": "\\ud83d", "half": "\\ud83d"}\n' * 30)
    tables = {**TABLES, "train": {"from": "repo", "path": "data/train-1.jsonl", "where": "visit == 1"}}
    for group, said in (("{{ half }}", "in 1 groups"), ("", "train-1.jsonl:1: no JSON can hold it")):
        with pytest.raises(UsageProblem, match=said):
            built(card({**tables, "dev": {"of": "train", "rows": 1, "group": group}}), folder)
    (folder / "data" / "train-1.jsonl").write_text('{"visit": 1}\n{"visit": 2}\n')
    (folder / "data" / "test.csv").write_text("visit,self\n1,me\n2,you\n")
    test = {"from": "repo", "path": "data/test.csv", "where": "visit == '1'"}
    assert built(card({**TABLES, "test": test}), folder)["test"] == [{"visit": "1", "self": "me"}]


def test_a_source_that_bears_a_splits_name_is_not_known_to_overlap_with_it():
    def placed(split: str, prompt: str) -> Placed:
        return Placed(Row(f"{split}:1", prompt, "a", split), (prompt,), f"{split}.jsonl:1")

    rows = {"test": [placed("test", "p")]}, [placed("dev", "q")], [placed("test", "p")]
    with pytest.raises(UsageProblem, match="also stands in test"):
        separated(*rows, False, {"test", "dev"})
    mine = {"test": [placed("test", "p"), placed("test", "other")]}
    assert len(separated(mine, *rows[1:], False, {"sources.test"}).sources["test"]) == 1
