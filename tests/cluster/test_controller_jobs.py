"""The controller as a job that keeps itself going (``--as-job``), on a real Slurm."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from hpc_trex.cli.as_job import submitted
from hpc_trex.layout import SearchPaths
from hpc_trex.models import ControllerChain, SearchState
from hpc_trex.tree.lease import Holder, read_lease
from hpc_trex.tree.store import Store
from tests.cluster.test_exactly_once import die_until_done, kinds
from tests.noop import noop_profile, noop_search
from tests.program import assert_whole, status, trex, wait_until

pytestmark = pytest.mark.cluster
PATIENCE = 240.0


def queue(paths: SearchPaths) -> list[tuple[str, str]]:
    """(job id, state) of the search's jobs that wait or run, the controllers' among them."""
    with Store.read(paths) as store:
        uid = store.config.uid
    out = subprocess.run(["squeue", "--me", "-h", "-o", "%i|%T|%j"], capture_output=True, text=True, check=True).stdout
    rows = [line.split("|") for line in out.splitlines()]
    return [(row[0], row[1]) for row in rows if row[2].startswith(uid)]


def controllers(paths: SearchPaths) -> list[tuple[str, str]]:
    names = subprocess.run(["squeue", "--me", "-h", "-o", "%i|%j"], capture_output=True, text=True, check=True).stdout
    own = {line.split("|")[0] for line in names.splitlines() if line.endswith("-controller")}
    return [row for row in queue(paths) if row[0] in own]


def state(paths: SearchPaths) -> SearchState:
    with Store.read(paths) as store:
        return store.state()[0]


def chain(paths: SearchPaths) -> ControllerChain:
    return ControllerChain.model_validate_json(paths.controller_chain.read_bytes())


def runs(paths: SearchPaths) -> list[str]:
    return [run.ended for run in chain(paths).runs] if paths.controller_chain.exists() else []


def at_work(paths: SearchPaths) -> Holder | None:
    """The controller that has the lease."""
    found = read_lease(paths.lease)
    return found.holder if found else None


def is_at_work(paths: SearchPaths, job: str) -> bool:
    holder = at_work(paths)
    return holder is not None and holder.job == job


@pytest.fixture
def search(testcluster, tmp_path):
    def make(**options: object) -> SearchPaths:
        changes = dict(options.pop("changes", {}))
        return noop_search(tmp_path, noop_profile(**changes), **options)

    return make


def test_the_controller_job_is_killed_warned_and_goes_on_to_the_end_by_itself(search, tmp_path):
    gate = tmp_path / "gate"  # the search is not over before all has happened
    paths = search(changes={"until": gate}, max_nodes=3, parallel=2)
    said = trex("resume", paths.root, "--as-job").stdout
    assert "is in the queue" in said
    wait_until(
        lambda: len(runs(paths)) == 1 and len(controllers(paths)) == 2, seconds=PATIENCE, what="job and successor"
    )
    first = chain(paths).runs[0].job_id
    wait_until(lambda: is_at_work(paths, first), seconds=PATIENCE, what="its lease")
    assert f"job {first} on trex" in trex("status", paths.root).stdout
    with pytest.raises(AssertionError, match="exited 6"):
        trex("resume", paths.root, "--as-job")  # a controller is at work: no second chain
    os.kill(at_work(paths).pid, signal.SIGKILL)
    wait_until(lambda: len(runs(paths)) == 2, seconds=PATIENCE, what="the successor of a killed controller job")
    second = chain(paths).runs[1].job_id
    wait_until(lambda: len(controllers(paths)) == 2, seconds=PATIENCE, what="its successor")
    wait_until(lambda: is_at_work(paths, second), seconds=PATIENCE, what="its lease")
    subprocess.run(["scancel", "--batch", "--signal=USR1", second], check=True)  # as Slurm warns before the time limit
    wait_until(lambda: bool(runs(paths)[1]), seconds=PATIENCE, what="the end of the one that was warned")
    gate.touch()
    wait_until(lambda: state(paths) is SearchState.DONE, seconds=PATIENCE, what="the end of the search")
    wait_until(lambda: not queue(paths), seconds=PATIENCE, what="an empty queue")
    assert runs(paths)[:2] == ["", "made way for its successor"]
    assert runs(paths)[-1] == "the controller ended with code 0"
    assert_whole(paths.root)


def test_cancel_ends_controller_jobs_that_only_wait(search):
    paths = search(changes={"extra": {"begin": "now+1hour"}})
    trex("resume", paths.root, "--as-job")
    trex("resume", paths.root, "--as-job")  # the one that waits is taken as it is
    assert len(controllers(paths)) == 1
    assert "waits in the queue" in trex("status", paths.root).stdout
    trex("cancel", paths.root)
    wait_until(lambda: not queue(paths), seconds=PATIENCE, what="an empty queue")
    assert state(paths) is SearchState.CANCELLED


def test_a_death_around_the_submit_of_a_controller_job_leaves_one_in_the_queue(search, tmp_path):
    paths, ledger = search(changes={"extra": {"begin": "now+1hour"}}), tmp_path / "ledger"
    with Store.read(paths) as store:
        config = store.config
    die_until_done(ledger, lambda: submitted(paths, config))
    assert {"submit/before", "submit/after", "file/before", "file/after"} <= set(kinds(ledger))
    assert [job for job, _ in controllers(paths)] == [chain(paths).next_job]
    trex("cancel", paths.root)
    wait_until(lambda: not queue(paths), seconds=PATIENCE, what="an empty queue")


def test_a_site_that_refuses_sbatch_from_a_job_is_told_and_the_search_goes_on(search, tmp_path, monkeypatch):
    real = subprocess.run(["which", "sbatch"], capture_output=True, text=True, check=True).stdout.strip()
    stand_in = tmp_path / "bin" / "sbatch"
    stand_in.parent.mkdir()
    stand_in.write_text(
        f'#!/bin/sh\nfor last; do :; done\nif grep -q "dependency=afterany" "$last"; then\n'
        f'  echo "sbatch: error: Batch job submission failed: Access/permission denied" >&2; exit 1; fi\nexec {real} "$@"\n'
    )
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    gate = tmp_path / "gate"
    paths = search(changes={"until": gate}, max_nodes=1)
    trex("resume", paths.root, "--as-job")
    wait_until(lambda: bool(runs(paths)) and bool(chain(paths).message), seconds=PATIENCE, what="the refusal")
    shown = trex("status", paths.root).stdout
    assert "Access/permission denied" in shown
    assert "from a login node" in shown
    gate.touch()
    wait_until(lambda: state(paths) is SearchState.DONE, seconds=PATIENCE, what="the end of the search")
    wait_until(lambda: not queue(paths), seconds=PATIENCE, what="the end of the controller job")
    assert status(paths.root)["controller"]["runs"][0]["ended"] == "the controller ended with code 0"


def test_a_profile_without_a_queue_has_no_controller_jobs(tmp_path: Path):
    paths = noop_search(tmp_path, noop_profile(scheduler="local"))
    assert "has no queue" in trex("resume", paths.root, "--as-job", code=2).stderr
    assert "give one" in trex("resume", paths.root, "--as-job", "-d", code=2).stderr
