"""What ``srun`` is told about a job of several tasks, whatever the site's own settings are."""

from __future__ import annotations

from hpc_trex.models import JobKind, Profile, Resources
from hpc_trex.slurm.scheduler import JobRequest
from hpc_trex.slurm.steps_backend import StepsScheduler
from hpc_trex.slurm.submitit_backend import SlurmScheduler


def test_the_end_of_one_task_ends_no_other_unless_it_failed(tmp_path):
    request = JobRequest("t", tmp_path, tmp_path / "spec.json", JobKind.TRAIN, Resources(nodes=2, gpus_per_node=1))
    for scheduler in (
        SlurmScheduler(Profile(name="x", scheduler="slurm")),
        StepsScheduler(Profile(name="x", scheduler="steps")),
    ):
        (line,) = [line for line in scheduler.render(request).splitlines() if "srun " in line]
        words = line.split()
        assert "--wait=0" in words, "a site's WaitTime would end the other node's task some seconds later"
        assert "--kill-on-bad-exit=1" in words
