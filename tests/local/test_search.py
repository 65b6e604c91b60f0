"""The main job on this machine: real trainings as local processes, from launch to the sealed test."""

from __future__ import annotations

import json
import os
import signal

import pytest

from hpc_trex.layout import SearchPaths
from hpc_trex.models import SearchState
from tests.program import assert_whole, start, status, trex, wait_until

pytestmark = pytest.mark.local
PATIENCE = 300.0


def test_launch_alone_runs_a_whole_search_with_scores_that_rise(tmp_path, home):
    """What `make demo` does, with fewer rounds: plain lines, rising dev, a gain on the sealed test beyond its interval."""
    done = trex("launch", "--name", "demo", "--max-nodes", 3, timeout=900)
    assert "\x1b" not in done.stdout
    assert "│" not in done.stdout
    search = home / "demo"
    report = search / "report.html"
    assert done.stdout.rstrip().splitlines()[-1].endswith(str(report))
    assert report.stat().st_size > 20_000
    assert_whole(search)
    found = status(search)
    assert found["schema"] == 1
    assert found["state"] == SearchState.DONE
    assert found["best"]["dev"] > found["baseline"]["dev"]
    assert found["test_difference"]["low"] > 0
    assert found["cost"]["cpu_hours"] > 0
    tree = json.loads(trex("tree", search, "--json").stdout)
    assert [node["id"] for node in tree["nodes"]] == [0, 1, 2, 3]
    shown = json.loads(trex("show", 1, search, "--json").stdout)
    assert shown["plan"]["hypothesis"]
    assert shown["attempts"]
    cases = shown["cases"]
    moved = cases["movement"]
    assert (moved["parent"], moved["unpaired"], cases["not_compared"]) == (0, 0, "")
    assert moved["pairs"] == cases["rows"] == shown["trials"][0]["result"]["scores"]["main"]["n"]
    assert moved["fixed"] + moved["broken"] + moved["still_bad"] + moved["still_right"] == moved["pairs"]
    assert moved["fixed"] + moved["broken"] > 0
    printed = trex("show", 1, search).stdout
    assert f"{moved['fixed']} fixed, {moved['broken']} broken" in printed
    assert "before, now:" in printed
    assert "Against node 0 row by row" in shown["report"]
    assert "step" in trex("logs", 1, search).stdout
    assert trex("best", search).stdout
    trex("db", "check", search)
    trex("db", "rebuild", search)
    assert status(search)["best"] == found["best"]
    trex("report", search)


def test_a_killed_controller_is_followed_by_resume_and_nothing_is_lost_or_doubled(tmp_path, home, base_model):
    search = home / "killed"
    log = tmp_path / "log"
    arguments = ("--task", "mini-triage", "--name", "killed", "--max-nodes", 2, "--trials", 2)
    for number in range(3):
        command = ("launch", *arguments) if number == 0 else ("resume", search)
        process = start(*command, log=log)
        events = SearchPaths(search).events
        wait_until(events.exists, seconds=PATIENCE, what="the search directory")
        seen = len(events.read_bytes().splitlines())
        wait_until(
            lambda seen=seen, events=events: len(events.read_bytes().splitlines()) >= seen + 7,
            seconds=PATIENCE,
            what=f"seven further events; see {log}",
        )
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    trex("resume", search, timeout=900)
    assert status(search)["state"] == SearchState.DONE
    assert_whole(search)


def test_own_data_and_an_own_model_folder(tmp_path, home, base_model, own_card):
    """A card that names local JSONL files, a prompt template and a metric, on a model from a folder."""
    trex(
        "launch",
        "--task",
        own_card,
        "--model",
        base_model,
        "--name",
        "own",
        "--max-nodes",
        1,
        "--trials",
        1,
        timeout=600,
    )
    assert_whole(home / "own")
    found = status(home / "own")
    assert found["model"] == str(base_model)
    assert found["best"]["dev"] >= found["baseline"]["dev"]


def test_a_search_can_be_cancelled_while_it_runs(tmp_path, home, base_model):
    search = home / "cancelled"
    process = start("launch", "--name", "cancelled", "--model", base_model, log=tmp_path / "log")
    claims = lambda: list(search.glob("nodes/0001/trials/*/attempts/*/started.json"))  # noqa: E731
    wait_until(lambda: bool(claims()), seconds=PATIENCE, what="a job of the first round")
    trex("cancel", search)
    process.wait(timeout=PATIENCE)
    assert status(search)["state"] == SearchState.CANCELLED
    pids = [json.loads(claim.read_text())["pid"] for claim in claims()]
    wait_until(lambda: not any(_runs(pid) for pid in pids), seconds=60, what="the jobs to end")


def _runs(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
