"""``status``, ``tree``, ``show``, ``best`` and ``logs`` on a real search directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from hpc_trex.files import write_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models.cases import CaseReport
from tests.unit.cli.conftest import read_json

Trex = Callable[..., Result]
Make = Callable[..., SearchPaths]


def test_status_says_state_scores_jobs_and_cost(trex: Trex, make_search: Make) -> None:
    make_search()
    result = trex("status")
    assert result.exit_code == 0, result.output
    for words in (
        "listops-1  running",
        "mini-listops",
        "baseline  dev 0.2000",
        "node 1 trial 2: dev 0.6000",
        "gain +0.4000",
    ):
        assert words in result.stdout
    assert "node 3 train trial 1, running on node01" in result.stdout
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines()[2:])) <= 80


def test_status_json_has_the_promised_keys(trex: Trex, make_search: Make) -> None:
    make_search()
    body = read_json(trex("status", "listops-1", "--json"))
    assert body["search"] == "listops-1"
    assert body["state"] == "running"
    assert body["nodes"] == {"done": 2, "failed": 1, "pending": 1}
    assert body["trials"]["done"] == 3  # type: ignore[index]
    best = body["best"]
    assert (best["node"], best["trial"], best["dev"], best["test"]) == (1, 2, 0.6, None)  # type: ignore[index]
    assert best["interval"] == pytest.approx([0.55, 0.65])  # type: ignore[index]
    assert set(body["cost"]) == {"gpu_hours", "cpu_hours", "tokens", "money"}  # type: ignore[call-overload]


def test_tree_shows_every_round_under_its_parent_without_box_characters(trex: Trex, make_search: Make) -> None:
    make_search()
    result = trex("tree", "--last")
    lines = result.stdout.splitlines()
    assert [line.split("  ")[0].strip() for line in lines[1:]] == [
        "0 baseline",
        "|-1 probe:learning-rate-up",
        "| `-3 combine",
        "`-2 probe:lora",
    ]
    assert "+0.4000" in lines[2]
    assert lines[2].endswith("* best")
    assert lines[4].endswith("failed DIVERGED")
    assert result.stdout.isascii()


def test_tree_json_has_the_promised_keys(trex: Trex, make_search: Make) -> None:
    make_search()
    nodes = read_json(trex("tree", "--json"))["nodes"]
    assert isinstance(nodes, list)
    assert [(node["id"], node["parent"]) for node in nodes] == [(0, None), (1, 0), (2, 0), (3, 1)]
    for node in nodes:
        assert {"id", "parent", "state", "score", "reward", "visits", "pending", "trials"} <= set(node)
    assert nodes[1]["trials"][1] == {
        "trial": 2, "kind": "train", "state": "done", "score": 0.6, "seed": 0, "replicate_of": None, "failure": None,
        "label": "lr x3", "struck": False,
    }  # fmt: skip


def test_show_prints_plan_recipe_trials_jobs_and_diagnosis(trex: Trex, make_search: Make) -> None:
    make_search()
    result = trex("show", "1")
    assert result.exit_code == 0, result.output
    for words in ("hypothesis A higher learning rate", "load(curated)", "lr x3", "job 412", "Short lists are solved"):
        assert words in result.stdout


def test_show_json_has_the_promised_keys(trex: Trex, make_search: Make) -> None:
    make_search()
    body = read_json(trex("show", "1", "listops-1", "--json"))
    assert body["plan"]["move"] == "probe:learning-rate-up"  # type: ignore[index]
    assert [step["op"] for step in body["recipe"]["steps"]] == ["load", "dedup"]  # type: ignore[index]
    assert body["difference"]
    attempts = body["attempts"]
    assert isinstance(attempts, list)
    assert [(job["job_id"], job["state"], job["host"], job["seconds"]) for job in attempts] == [
        ("411", "succeeded", "node01", 30.0),
        ("412", "succeeded", "node01", 30.0),
    ]


def test_show_has_the_bad_cases_against_the_parents(trex: Trex, make_search: Make) -> None:
    paths = make_search()
    assert read_json(trex("show", "1", "--json"))["cases"] is None
    assert "bad cases" not in trex("show", "1").stdout
    cases = CaseReport(node=1, trial=2, rows=9, bad=0, bar=0.5, not_compared="the samples of node 0 are gone")
    write_record(paths.cases(1), cases)
    assert read_json(trex("show", "1", "--json"))["cases"] == cases.model_dump(mode="json")
    assert "not compared: the samples of node 0 are gone" in trex("show", "1").stdout


def test_best_names_the_model_of_the_best_trial(trex: Trex, make_search: Make) -> None:
    make_search()
    assert "/models/tok-n1-t2-a1 (adapter of /models/base)" in trex("best").stdout
    body = read_json(trex("best", "--json"))
    assert body["best"]["model"]["adapter"] == "/models/tok-n1-t2-a1"  # type: ignore[index]
    assert body["baseline"]["dev"] == 0.2  # type: ignore[index]
    assert body["chosen"] is False


def test_logs_print_the_end_of_the_output_of_the_last_job(trex: Trex, make_search: Make) -> None:
    make_search()
    assert trex("logs", "1", "--lines", "2").stdout == "step 498\nstep 499\n"
    assert len(trex("logs", "1", "--trial", "2", "--lines", "0").stdout.splitlines()) == 500
    assert trex("logs", "1", "--stderr").stdout == "a warning\n"


def test_logs_json_names_the_file(trex: Trex, make_search: Make) -> None:
    paths = make_search()
    body = read_json(trex("logs", "1", "--lines", "1", "--json"))
    assert body["lines"] == ["step 499"]
    assert Path(str(body["path"])) == paths.attempt(1, 2, 1).stdout


def test_logs_of_a_job_that_wrote_nothing_say_so(trex: Trex, make_search: Make) -> None:
    make_search()
    result = trex("logs", "3")
    assert result.exit_code == 0
    assert "no output yet" in result.stderr


def test_logs_cannot_steer_the_terminal(trex: Trex, make_search: Make) -> None:
    paths = make_search()
    paths.attempt(1, 2, 1).stdout.write_bytes(b"\x1b]0;title\x07\x1b[31mred\x1b[0m\x08 10%\r 99%\nend\xff\n")
    assert trex("logs", "1").stdout == " 99%\nend\ufffd\n"


def test_follow_ends_with_the_job(trex: Trex, make_search: Make) -> None:
    paths = make_search()
    files = paths.attempt(3, 1, 1)
    files.stdout.write_text("one\ntwo")
    files.result.write_text("{}")
    assert trex("logs", "3", "-f").stdout.splitlines() == ["one", "two"]


def test_an_unknown_node_or_trial_is_exit_3(trex: Trex, make_search: Make) -> None:
    make_search()
    assert trex("show", "99").exit_code == 3
    missing = trex("logs", "1", "--trial", "7")
    assert missing.exit_code == 3
    assert "trial 2 attempt 1" in missing.stderr
    assert trex("show", "one").exit_code == 2


def test_an_unknown_search_is_exit_3_with_the_nearest_name(trex: Trex, make_search: Make) -> None:
    make_search()
    result = trex("status", "listops-2")
    assert result.exit_code == 3
    assert "did you mean listops-1?" in result.stderr
    body = trex("status", "listops-2", "--json")
    assert body.stdout == ""
    assert '"kind": "NotFound"' in body.stderr


def test_no_search_at_all_is_exit_3_and_says_how_to_start(trex: Trex) -> None:
    result = trex("status")
    assert result.exit_code == 3
    assert "hpc-trex launch" in result.stderr


def test_a_search_is_found_by_name_by_path_and_as_the_newest(trex: Trex, make_search: Make, tmp_path: Path) -> None:
    make_search("older-1")
    paths = make_search("newer-1", root=tmp_path / "elsewhere")
    assert read_json(trex("status", "--json"))["search"] == "older-1"
    assert read_json(trex("status", paths.root, "--json"))["search"] == "newer-1"
    assert read_json(trex("status", paths.root / "search.toml", "--json"))["search"] == "newer-1"
    assert trex("status", "older-1", "--last").exit_code == 2


def test_readers_need_no_snapshot_and_change_nothing(trex: Trex, make_search: Make) -> None:
    paths = make_search()
    before = sorted((path, path.stat().st_mtime_ns) for path in paths.root.rglob("*"))
    for command in (["status"], ["tree"], ["best"], ["show", "1"], ["logs", "1"]):
        assert trex(*command).exit_code == 0
    assert sorted((path, path.stat().st_mtime_ns) for path in paths.root.rglob("*")) == before
