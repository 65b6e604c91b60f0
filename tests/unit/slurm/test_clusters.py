"""Two clusters on one file system: what is said of a job that the other one has."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_trex.layout import AttemptPaths
from hpc_trex.models import Profile
from hpc_trex.slurm.commands import Answer
from hpc_trex.slurm.scheduler import CancelUnavailable, JobRef, JobState
from hpc_trex.slurm.submitit_backend import SlurmScheduler


class Slurm:
    """A Slurm that knows no job, and tells its name or fails at that."""

    def __init__(self) -> None:
        self.name = ""
        self.asked = 0

    def __call__(self, command: object) -> Answer:
        if command != ("scontrol", "show", "config"):
            return Answer(0, "", "")
        self.asked += 1
        return Answer(0, f"ClusterName = {self.name}\n", "") if self.name else Answer(1, "", "no answer")


@pytest.fixture
def job(tmp_path: Path) -> JobRef:
    """A job that was submitted to cluster alpha."""
    AttemptPaths(tmp_path).cluster.write_text("alpha\n")
    return JobRef("t", "7", tmp_path)


def test_a_job_is_absent_only_where_it_is_known_to_be_asked_about(job):
    slurm = Slurm()
    scheduler = SlurmScheduler(Profile(name="p", scheduler="slurm", accounting="no"), ask=slurm)
    state = lambda: scheduler.poll([job])["t"].state  # noqa: E731
    assert state() is JobState.UNKNOWN, "which cluster this is was not told"
    with pytest.raises(CancelUnavailable, match="cluster alpha"):
        scheduler.cancel([job])
    slurm.name = "alpha"
    assert state() is JobState.ABSENT, "a failure to tell is not remembered"
    asked = slurm.asked
    assert state() is JobState.ABSENT
    assert slurm.asked == asked


def test_a_job_of_another_cluster_stays_unknown(job):
    slurm = Slurm()
    slurm.name = "beta"
    scheduler = SlurmScheduler(Profile(name="p", scheduler="slurm", accounting="no"), ask=slurm)
    assert scheduler.poll([job])["t"].reason == "submitted to cluster alpha; this is beta"
