"""The main job on a real Slurm: each trial a Slurm job, some with two processes, and a controller that dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from hpc_trex.launch import LaunchOptions, create_search, plan_launch
from hpc_trex.layout import SearchPaths
from hpc_trex.models import JobKind, SearchState
from tests.program import assert_whole, start, status, trex, wait_until

pytestmark = pytest.mark.cluster
PATIENCE = 300.0


def jobs_in_accounting(uid: str) -> list[str]:
    """The names of all jobs of a search that Slurm's own accounting knows."""
    done = subprocess.run(
        ["sacct", "-n", "-X", "-P", "--starttime", "now-1days", "-o", "JobName"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [name for name in done.stdout.split() if name.startswith(uid)]


def test_a_search_on_slurm_survives_the_kill_of_its_controller(testcluster, tmp_path, home, base_model):
    """Slurm's accounting has each job once, though the controller was killed twice on the way."""
    search = home / "slurm"
    log = tmp_path / "log"
    arguments = ("--profile", "testcluster-2proc", "--task", "mini-triage", "--model", base_model)
    events = SearchPaths(search).events
    for number in range(2):
        command = (
            ("launch", *arguments, "--name", "slurm", "--max-nodes", 3, "--parallel", 4, "-y") if number == 0
            else ("resume", search)
        )  # fmt: skip
        process = start(*command, log=log)
        wait_until(events.exists, seconds=PATIENCE, what="the search directory")
        seen = len(events.read_bytes().splitlines())
        wait_until(
            lambda seen=seen: len(events.read_bytes().splitlines()) >= seen + 10,
            seconds=PATIENCE,
            what=f"ten further events; see {log}",
        )
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    trex("resume", search, timeout=900)
    assert status(search)["state"] == SearchState.DONE
    assert_whole(search)
    results = [json.loads(path.read_text()) for path in search.glob("nodes/*/trials/*/attempts/*/result.json")]
    assert any(result["world_size"] == 2 for result in results), "no trial ran with two processes"
    uid = json.loads(events.read_text().splitlines()[0])["event"]["config"]["uid"]
    wait_until(lambda: len(jobs_in_accounting(uid)) >= len(results), seconds=PATIENCE, what="Slurm's accounting")
    names = jobs_in_accounting(uid)
    assert len(names) == len(set(names)) == len(results)


def test_a_partition_that_is_taken_away_pauses_and_resume_on_another_profile_goes_on(
    testcluster, tmp_path, home, base_model
):
    """A launch asks Slurm first, so a partition must be there then, and refuse the jobs after."""
    bad = tmp_path / "bad.toml"
    bad.write_text('name = "bad"\nscheduler = "slurm"\npartition = "gone"\npoll_seconds = 1\n')
    asked = {"profile": str(bad), "name": "refused", "model": str(base_model), "max_nodes": 1, "trials": 1}
    subprocess.run(["scontrol", "create", "PartitionName=gone", "Nodes=ALL", "State=UP"], check=True)
    try:
        paths = create_search(plan_launch(LaunchOptions.model_validate(asked)))
    finally:
        subprocess.run(["scontrol", "delete", "PartitionName=gone"], check=True)
    refused = trex("resume", paths.root, code=5)
    assert "partition" in refused.stderr
    assert status(paths.root)["state"] == SearchState.PAUSED
    assert "partition" in trex("launch", "--profile", bad, "-y", code=5).stderr, "a launch does not ask first"
    trex("resume", paths.root, "--profile", "testcluster", timeout=600)
    assert status(paths.root)["state"] == SearchState.DONE
    assert_whole(paths.root)


def test_slurm_may_go_away_for_a_while(testcluster, tmp_path, home, base_model):
    """slurmctld is stopped while jobs run: nothing is lost, nothing is run twice."""
    search = home / "outage"
    process = start(
        "launch", "--profile", "testcluster", "--name", "outage", "--task", "mini-triage", "--model", base_model,
        "--max-nodes", 1, "--trials", 2, "-y", log=tmp_path / "log",
    )  # fmt: skip
    running = lambda: list(search.glob("nodes/0001/trials/*/attempts/*/started.json"))  # noqa: E731
    wait_until(lambda: bool(running()), seconds=PATIENCE, what=f"a job of round 1; see {tmp_path}/log")
    testcluster.stop_controller()
    try:
        time.sleep(15)
        assert process.poll() is None, "the controller gave up"
    finally:
        testcluster.start_controller()
    assert process.wait(timeout=600) == 0, (tmp_path / "log").read_text()
    assert status(search)["state"] == SearchState.DONE
    assert_whole(search)
    with_kind = [json.loads(path.read_text())["kind"] for path in search.glob("nodes/*/trials/*/attempts/*/spec.json")]
    assert with_kind.count(JobKind.TEST) == 1
