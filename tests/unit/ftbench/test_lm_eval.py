"""``lm-eval:...`` as it is typed, and the staged card that it leads to."""

import json
from pathlib import Path

import pytest

from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.ftbench.cards import load_card
from hpc_trex.ftbench.lm_eval import parse_target, staged_cards


def test_the_parts_of_a_target(tmp_path):
    assert parse_target("lm-eval:arc_easy") == ("arc_easy", None, None)
    assert parse_target("lm-eval:arc_easy:acc_norm") == ("arc_easy", "acc_norm", None)
    assert parse_target(f"lm-eval:{tmp_path}/mine:acc") == ("mine", "acc", tmp_path)
    for text in ("lm-eval:arc_easy", "lm-eval:arc_easy:acc_norm", f"lm-eval:{tmp_path}/mine"):
        assert parse_target(text).words == text
    assert parse_target("lm-eval:MMLU_Pro (x)").slug == "lm-eval.mmlu_pro--x-"


@pytest.mark.parametrize("text", ["lm-eval:", "lm-eval:/nowhere/at/all/x", "lm-eval:a:b c", "lm-eval:./"])
def test_what_names_no_task_is_a_usage_error(text):
    with pytest.raises(UsageProblem, match="lm-eval"):
        parse_target(text)


def test_a_task_that_is_not_staged_says_how_to_stage_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HPC_TREX_STAGE", str(tmp_path))
    with pytest.raises(NotFound, match="not staged on this machine") as caught:
        load_card("lm-eval:arc_easy")
    assert caught.value.hint == "hpc-trex stage --task lm-eval:arc_easy"
    assert caught.value.exit_code == 3


def staged(root: Path, name: str, content: str, when: str, include: str | None = None) -> Path:
    folder = root / "lm-eval" / f"lm-eval.{name}" / content
    folder.mkdir(parents=True)
    rows = {"train": 3, "dev": 1, "test": 2}
    manifest = {"name": name, "include": include, "metric": "acc", "rows": rows, "staged_at": when}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder / "card.toml"


def test_the_newest_of_the_same_task_is_taken_and_another_folders_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("HPC_TREX_STAGE", str(tmp_path))
    first = staged(tmp_path, "quiz", "aa", "2026-01-01")
    last = staged(tmp_path, "quiz", "bb", "2026-03-01")
    staged(tmp_path, "quiz", "cc", "2026-09-01", include="/elsewhere")
    assert staged_cards(parse_target("lm-eval:quiz")) == [last, first]


def test_stage_list_shows_them(tmp_path, monkeypatch):
    from click.testing import CliRunner

    from hpc_trex.cli.stage import command

    monkeypatch.setenv("HPC_TREX_STAGE", str(tmp_path))
    staged(tmp_path, "quiz", "aa", "2026-01-01")
    staged(tmp_path, "quiz", "cc", "2026-09-01", include="/elsewhere")
    shown = CliRunner().invoke(command, ["list"])
    assert shown.exit_code == 0, shown.output
    assert "lm-eval:/elsewhere/quiz" in shown.output
    assert "lm-eval:quiz  acc  train 3, dev 1, test 2  2026-01-01" in shown.output
    listed = json.loads(CliRunner().invoke(command, ["list", "--json"]).output)
    assert [one["task"] for one in listed["tasks"]] == ["lm-eval:/elsewhere/quiz", "lm-eval:quiz"]
