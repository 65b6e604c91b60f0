"""A slurmctld that is killed forgets jobs of the last seconds and gives their numbers again, while they still run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpc_trex.files import write_record
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import FailureClass, JobKind, JobSpec, ModelRef, Resources, TrainConfig
from hpc_trex.slurm.failures import classify
from hpc_trex.slurm.scheduler import JobRef, JobRequest, JobState, JobStatus
from hpc_trex.slurm.submitit_backend import SlurmScheduler
from tests.cluster.conftest import TestCluster, point_to
from tests.noop import noop_profile
from tests.program import wait_until

pytestmark = pytest.mark.cluster

#: slurmctld writes its jobs down at once, and then not for 5 s. On a busy machine the kill may come later than that.
TRIES = 12


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestCluster]:
    """A cluster of one node, to be killed at will."""
    cluster = TestCluster("-n", "1", "-g", "0")
    try:
        point_to(monkeypatch, cluster.conf)
        yield cluster
    finally:
        cluster.down()


def submit(scheduler: SlurmScheduler, folder: Path, token: str) -> JobRef:
    directory = folder / token
    directory.mkdir()
    spec = JobSpec(
        kind=JobKind.TRAIN, token=token, search="s", node=1, trial=1, attempt=1, attempt_dir=str(directory),
        task_card="none", base=ModelRef(name="none", path=""), train=TrainConfig(), cache_dir=str(folder),
    )  # fmt: skip
    write_record(AttemptPaths(directory).spec, spec)
    small = Resources(cpus_per_task=1, mem_gb=0.05, minutes=5)
    request = JobRequest(token, directory, AttemptPaths(directory).spec, JobKind.TRAIN, small)
    return JobRef(token, scheduler.submit(request), directory)


def status(scheduler: SlurmScheduler, job: JobRef) -> JobStatus:
    return scheduler.poll([job])[job.token]


def kill_controller(cluster: TestCluster) -> None:
    pid = cluster.state / "run" / "slurmctld.pid"
    os.kill(int(pid.read_text()), signal.SIGKILL)
    pid.unlink()
    cluster.start_controller()


def twice(cluster: TestCluster, scheduler: SlurmScheduler, folder: Path) -> JobRef:
    """Submit until a job has the number of an earlier one that still runs and that slurmctld has forgotten."""
    for number in range(TRIES):
        submit(scheduler, folder, f"written-down-{number}")
        time.sleep(0.3)
        first = submit(scheduler, folder, f"first-{number}")
        started = AttemptPaths(first.directory).started
        wait_until(started.exists, seconds=240, what="the first job's start")
        kill_controller(cluster)
        second = submit(scheduler, folder, f"second-{number}")
        if second.job_id == first.job_id:
            return second
    raise AssertionError(f"slurmctld forgot nothing in {TRIES} tries")


def test_the_second_job_of_a_number_is_lost_and_not_cancelled_by_a_person(small, tmp_path):
    scheduler = SlurmScheduler(noop_profile(seconds=120, poll_seconds=0.2))
    second = twice(small, scheduler, tmp_path)
    wait_until(lambda: status(scheduler, second).state is JobState.ENDED, seconds=240, what="the end of the second job")
    time.sleep(1)  # nothing comes after it
    last = status(scheduler, second)
    assert last.reason.startswith("CANCELLED")
    assert not AttemptPaths(second.directory).stdout.exists()
    assert classify(last, begun=False)[0] is FailureClass.LOST
