"""Pause, retry, cancel, wait, budget and gc as a user types them, on a real Slurm with jobs that do no work."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hpc_trex.controller import Controller
from hpc_trex.layout import AttemptPaths, SearchPaths
from hpc_trex.models import FailureClass, JobKind, Profile, Resources, SearchState
from hpc_trex.slurm.failures import classify
from hpc_trex.slurm.scheduler import JobRef, JobRequest, JobState
from hpc_trex.slurm.submitit_backend import SlurmScheduler
from hpc_trex.tree.store import Store
from tests.noop import PYTHON, noop_profile, noop_search
from tests.program import assert_whole, start, status, trex, wait_until
from tests.unit.controller.test_budget import within_caps

pytestmark = pytest.mark.cluster
PATIENCE = 240.0
GPU = Resources(gpus_per_node=1, cpus_per_task=1, mem_gb=0.05, minutes=5)


@pytest.fixture(autouse=True)
def _open_umask():
    """A user's shell makes files that all may read: what the program writes must be private all the same."""
    old = os.umask(0o022)
    yield
    os.umask(old)


def queue(paths: SearchPaths) -> list[str]:
    """Names of this search's jobs that wait or run."""
    with Store.read(paths) as store:
        uid = store.config.uid
    done = subprocess.run(
        ["squeue", "--me", "-h", "-t", "PD,R", "-o", "%j"], capture_output=True, text=True, check=True
    )
    return [name for name in done.stdout.split() if name.startswith(uid)]


def with_jobs_of(paths: SearchPaths, profile: Profile) -> None:
    """Let all further jobs of the search run with another profile."""
    with Controller(paths) as controller:
        config = controller.store.config.model_copy(update={"profile": profile})
    Controller(paths, config=config).close()


def running_trials(paths: SearchPaths, attempt: int = 1) -> int:
    return len(list(paths.root.glob(f"nodes/0001/trials/[1-9]/attempts/{attempt}/started.json")))


def tick_until(controller: Controller, wanted: Callable[[], bool]) -> None:
    def ticked() -> bool:
        controller.tick()
        return wanted()

    wait_until(ticked, seconds=PATIENCE, what="what the ticks are to bring")


def test_a_running_search_is_cancelled_in_part_taken_up_again_paused_and_resumed(testcluster, tmp_path, home):
    paths = noop_search(home, noop_profile(seconds=300, poll_seconds=0.3), name="steered", max_nodes=2, parallel=2)
    log = tmp_path / "log"
    process = start("resume", paths.root, log=log)
    try:
        wait_until(lambda: running_trials(paths) == 2, seconds=PATIENCE, what="two trainings of round 1")
        assert "next tick" in trex("cancel", 1, paths.root).stdout
        trex("wait", paths.root, "--node", 1, "--timeout", PATIENCE, code=103)
        trex("retry", 0, paths.root, code=2)
        assert "next tick" in trex("retry", 1, paths.root).stdout
        wait_until(lambda: "run again" in log.read_text(), seconds=PATIENCE, what="the retry")
        trex("wait", paths.root, "--timeout", 0.2, code=101)
        assert "next tick" in trex("pause", paths.root, "--cancel-jobs").stdout
        assert process.wait(timeout=PATIENCE) == 0, log.read_text()
    finally:
        process.kill()
    assert "paused; go on with" not in log.read_text()
    text = trex("status", paths.root).stdout
    assert "go on     hpc-trex resume steered" in text
    assert "paused by the user" in text
    trex("wait", paths.root, code=101)
    wait_until(lambda: not queue(paths), seconds=PATIENCE, what="an empty queue")
    with_jobs_of(paths, noop_profile(poll_seconds=0.3))
    trex("resume", paths.root)
    trex("wait", paths.root, "--node", 1, code=0)
    trex("wait", paths.root, code=0)
    assert_whole(paths.root)
    trex("retry", 1, paths.root, code=2)
    trex("pause", paths.root, code=2)
    trex("wait", "no-such-search", code=3)
    assert_modes(paths.root, folders=0o700, files=0o600)


def test_a_pause_without_a_controller_lets_jobs_run_and_a_cancel_ends_them(testcluster, tmp_path, home):
    paths = noop_search(home, noop_profile(seconds=2, poll_seconds=0.2), name="alone", max_nodes=2)
    with Controller(paths) as controller:
        controller.start()
        tick_until(controller, lambda: running_trials(paths) == 2)
    assert "go on with: hpc-trex resume alone" in trex("pause", paths.root).stdout
    results = lambda: list(paths.root.glob("nodes/0001/trials/[1-9]/attempts/1/result.json"))  # noqa: E731
    wait_until(lambda: len(results()) == 2, seconds=PATIENCE, what="the results of jobs that go on")
    assert json.loads(trex("tick", paths.root, "--json").stdout)["state"] == "paused"
    with_jobs_of(paths, noop_profile(seconds=300, poll_seconds=0.2))
    with Controller(paths) as controller:
        controller.start()
        controller.tick()
        assert [item.attempt for item in controller.store.attempts(1) if item.trial] == [1, 1]
        tick_until(controller, lambda: bool(queue(paths)))
    assert "search alone cancelled" in trex("cancel", paths.root).stdout
    wait_until(lambda: not queue(paths), seconds=PATIENCE, what="an empty queue")
    trex("wait", paths.root, code=103)
    assert status(paths.root)["state"] == SearchState.CANCELLED


def test_a_cap_in_gpu_hours_ends_the_search_with_exit_code_7_and_is_never_passed(testcluster, home):
    """600 s are reserved for a training and the sealed test; what is over that bears two or three of a second."""
    cap = 602.5 / 3600
    profile = noop_profile(seconds=1, poll_seconds=0.2, train=GPU, evaluate=GPU)
    paths = noop_search(home, profile, name="capped", max_nodes=6, gpu_hours=cap)
    done = trex("resume", paths.root, code=7)
    assert "budget reached" in done.stdout
    trex("wait", paths.root, code=7)
    assert status(paths.root)["state"] == SearchState.DONE
    assert within_caps(paths, gpu=cap, cpu=1e9) >= 5
    assert_whole(paths.root)
    (body,) = json.loads(trex("budget", paths.root, "--by", "node", "--json").stdout)["searches"]
    assert 0 < body["used"]["gpu_hours"] <= cap
    assert body["reserved"]["gpu_hours"] == 0
    assert sum(row["gpu_hours"] for row in body["rows"]) == pytest.approx(body["used"]["gpu_hours"])
    assert "root" in trex("budget", paths.root, "--by", "user").stdout or os.getuid()


def assert_modes(root: Path, *, folders: int, files: int) -> None:
    """Walk the whole search directory: nothing has another mode."""
    wrong = []
    for path in (root, *root.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        wanted = folders if path.is_dir() else files
        if not path.is_symlink() and mode & ~0o100 != wanted & ~0o100:
            wrong.append(f"{mode:o} {path.relative_to(root)}")
    assert not wrong, wrong[:20]


def test_a_search_that_is_shared_belongs_to_the_group_in_all_its_parts(testcluster, tmp_path, home):
    paths = noop_search(home, noop_profile(poll_seconds=0.2, share="group"), name="shared", max_nodes=1)
    group = 4242
    os.chown(paths.root, -1, group)
    for path in paths.root.rglob("*"):
        os.chown(path, -1, group)
        if path.is_dir():
            path.chmod(0o2770)
    trex("resume", paths.root, "-d")
    trex("wait", paths.root, "--timeout", PATIENCE)
    wait_until(lambda: not paths.lease.exists(), seconds=PATIENCE, what="the end of the controller")
    trex("report", paths.root)
    assert "moved to the trash" in trex("gc", paths.root, "-y").stdout
    for name in ("trash", "snapshots", "nodes"):
        assert (paths.root / name).is_dir()
    assert_modes(paths.root, folders=0o2770, files=0o660)
    assert {path.lstat().st_gid for path in paths.root.rglob("*")} == {group}
    assert_whole(paths.root)
    for command in ("status", "tree", "best"):
        trex(command, paths.root)
    trex("logs", 1, paths.root)


def test_a_pickle_of_another_user_is_not_loaded(testcluster, tmp_path):
    """In a folder that a group shares somebody may have put it there: loading it would run what it says."""
    folder = tmp_path / "it's a job"
    folder.mkdir()
    files = AttemptPaths(folder)
    files.spec.write_text("{}")
    profile = Profile(name="held", scheduler="slurm", python=str(PYTHON), extra={"hold": True}, poll_seconds=0.2)
    slurm = SlurmScheduler(profile)
    request = JobRequest(
        f"trex-held-{os.getpid()}", folder, files.spec, JobKind.TRAIN, Resources(mem_gb=0.1, minutes=5)
    )
    job = JobRef(request.token, slurm.submit(request), folder)
    os.chown(folder / "submitit" / "submitted.pkl", 65534, 65534)
    subprocess.run(["scontrol", "release", str(job.job_id)], check=True)
    seen = []

    def ended() -> bool:
        seen.append(slurm.poll([job])[job.token])
        return seen[-1].state is JobState.ENDED

    wait_until(ended, seconds=PATIENCE, what="the end of the job")
    assert not files.started.exists(), "the job body ran"
    failure, message = classify(seen[-1], files.stdout.read_text() + files.stderr.read_text())
    assert failure is FailureClass.ENVIRONMENT
    assert "belongs to another user and is not loaded" in message
