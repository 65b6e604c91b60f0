"""Searches inside one allocation: ``srun`` steps, no ``sbatch``; and what follows when it ends (docs/long-searches.md)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w

from hpc_trex.layout import SearchPaths
from hpc_trex.models import FailureClass, SearchState
from hpc_trex.tree.store import Store
from tests.noop import noop_profile, noop_search
from tests.program import assert_whole, trex, wait_until

pytestmark = pytest.mark.cluster
PATIENCE = 240.0
TRAIN = {"cpus_per_task": 2, "gpus_per_node": 2, "mem_gb": 1, "minutes": 5}


class Allocation:
    """A job that holds two nodes and runs ``hpc-trex resume SEARCH --in-allocation``, ``runs`` times if it is killed."""

    def __init__(self, folder: Path, search: Path, *, runs: int = 1, minutes: int = 10) -> None:
        folder.mkdir(exist_ok=True)
        self.log = folder / "out"
        script = folder / "job.sh"
        line = f'"{sys.executable}" -m hpc_trex resume "{search}" --in-allocation; echo "ended with $?"\n'
        script.write_text("#!/bin/bash\n" + line * runs)
        done = subprocess.run(
            [
                "sbatch", "--parsable", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=8", "--gres=gpu:4", "--mem=8G",
                f"--time={minutes}", f"--output={self.log}", str(script),
            ],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONSAFEPATH": "1"},
        )  # fmt: skip
        self.job = done.stdout.strip()

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def is_over(self) -> bool:
        out = subprocess.run(["squeue", "-h", "-j", self.job, "-o", "%T"], capture_output=True, text=True, check=False)
        return not {"RUNNING", "PENDING", "COMPLETING"} & set(out.stdout.split())


def steps_of(job: str) -> list[str]:
    out = subprocess.run(
        ["squeue", "-s", "--me", "-h", "-o", "%i|%j"], capture_output=True, text=True, check=True
    ).stdout
    return [line for line in out.splitlines() if line.startswith(f"{job}.") and "-n" in line]


@pytest.fixture
def search(testcluster, tmp_path):
    def make(seconds: float, *, warned: int = 10, until: Path | None = None, **options: object) -> SearchPaths:
        setup = ("echo $CUDA_VISIBLE_DEVICES on $SLURMD_NODENAME > gpus.txt",)
        profile = noop_profile(seconds=seconds, until=until, train=TRAIN, setup=setup, signal_seconds=warned)
        profile.environment["TREX_NOOP_AGAIN"] = "1"
        return noop_search(tmp_path, profile, **options)

    return make


def test_steps_share_the_allocation_and_outlive_their_controller(search, tmp_path):
    gate = tmp_path / "gate"
    paths = search(0, until=gate)
    held = Allocation(tmp_path / "first", paths.root, runs=2)
    wait_until(lambda: len(steps_of(held.job)) == 4, seconds=PATIENCE, what="four trainings at once")
    os.kill(json.loads(paths.lease.read_text())["pid"], signal.SIGKILL)
    wait_until(lambda: "ended with 137" in held.text(), seconds=PATIENCE, what="the end of the controller")
    assert len(steps_of(held.job)) == 4
    gate.touch()
    wait_until(held.is_over, seconds=PATIENCE, what="the end of the allocation")
    assert "ended with 0" in held.text(), held.text()
    assert_whole(paths.root)
    with Store.read(paths) as store:
        attempts = store.attempts()
        assert store.state()[0] is SearchState.DONE
    assert all(item.attempt == 1 and (item.job_id or "").startswith(f"{held.job}.") for item in attempts)
    trained = [paths.root / item.directory / "gpus.txt" for item in attempts if item.kind == "train"]
    given = [path.read_text() for path in trained]
    assert len(given) == 4
    assert len(set(given)) == 4, f"two trainings had the same GPUs: {given}"
    assert all(len(text.split(" ")[0].split(",")) == 2 for text in given)


def test_what_ran_in_an_allocation_that_was_taken_away_goes_on_under_another_profile(search, tmp_path):
    paths = search(600, parallel=4)
    held = Allocation(tmp_path / "first", paths.root)
    wait_until(lambda: len(steps_of(held.job)) == 4, seconds=PATIENCE, what="four trainings at once")
    said = trex("resume", paths.root, code=6).stderr
    assert f"Slurm job {held.job}" in said or held.job in said
    subprocess.run(["scancel", held.job], check=True)
    wait_until(held.is_over, seconds=PATIENCE, what="the end of the allocation")
    assert "stopped watching" in held.text()
    assert "none here" in trex("resume", paths.root, code=2).stderr
    quick = tmp_path / "quick.toml"
    profile = noop_profile(train=TRAIN).model_dump(mode="json", exclude_none=True)
    quick.write_text(tomli_w.dumps(profile))
    done = trex("resume", paths.root, "--profile", quick)
    assert "profile: noop (steps) -> noop (slurm)" in done.stdout
    with Store.read(paths) as store:
        attempts = store.attempts()
        assert store.state()[0] is SearchState.DONE
    first = [item for item in attempts if item.kind == "train" and item.attempt == 1]
    assert {item.failure for item in first} <= {FailureClass.PREEMPTED, FailureClass.TIMEOUT}
    assert all(item.attempt > 1 for item in attempts if item.kind == "train" and item.failure is None)
    assert_whole(paths.root)


def test_the_controller_leaves_before_the_allocation_ends_and_the_next_allocation_goes_on(search, tmp_path):
    paths = search(600, warned=60, parallel=4)
    held = Allocation(tmp_path / "first", paths.root)
    wait_until(lambda: len(steps_of(held.job)) == 4, seconds=PATIENCE, what="four trainings at once")
    subprocess.run(["scontrol", "update", f"jobid={held.job}", "EndTime=now+60"], check=True)
    wait_until(held.is_over, seconds=PATIENCE, what="the end of the allocation")
    assert "the allocation ends" in held.text(), held.text()
    assert "ended with 143" in held.text()
    again = Allocation(tmp_path / "second", paths.root)
    wait_until(lambda: "controller at work" in again.text(), seconds=PATIENCE, what="the next allocation")
    wait_until(again.is_over, seconds=PATIENCE, what="the end of the search")
    with Store.read(paths) as store:
        assert store.state()[0] is SearchState.DONE, again.text()
        ends = [item.failure for item in store.attempts() if item.kind == "train"]
    assert sorted(map(str, ends)) == ["None"] * 4 + ["TIMEOUT"] * 4  # each was warned, saved, and went on
    assert_whole(paths.root)


def test_outside_an_allocation_the_way_in_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    paths = noop_search(tmp_path, noop_profile())
    assert "salloc" in trex("resume", paths.root, "--in-allocation", code=2).stderr
