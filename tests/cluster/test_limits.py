"""Real trainings that Slurm ends before they are through: preempted, out of time, killed without notice; each goes on in a
fresh job and ends as the run that nobody disturbed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from hpc_trex.files import read_record
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import FailureClass, Heartbeat, JobKind, JobResult, Resources
from hpc_trex.slurm.profiles import load_profile
from hpc_trex.slurm.scheduler import JobRef, JobRequest, JobState
from hpc_trex.slurm.submitit_backend import SlurmScheduler
from tests.jobs import prepared_set, spec_for
from tests.program import wait_until

pytestmark = pytest.mark.cluster

PATIENCE = 240.0
#: On a CPU with one thread the sums are made in the same order: only what json rounds may differ.
TOLERANCE = 1e-6
TRAIN = {"method": "full", "learning_rate": 1e-3, "batch_size": 8, "epochs": 100, "max_steps": 160, "max_seq_len": 64}
SIZE = Resources(cpus_per_task=1, mem_gb=2, minutes=10)


class Run(NamedTuple):
    """One attempt of a training as a Slurm job."""

    scheduler: SlurmScheduler
    ref: JobRef
    paths: AttemptPaths

    def beat(self) -> int:
        found = read_record(self.paths.heartbeat, Heartbeat)
        return found.step if found else 0

    def result(self) -> JobResult | None:
        return read_record(self.paths.result, JobResult)

    def is_over(self) -> bool:
        return self.scheduler.poll([self.ref])[self.ref.token].state in (JobState.ENDED, JobState.ABSENT)

    def node(self) -> str:
        return self.scheduler.poll([self.ref])[self.ref.token].host


@pytest.fixture
def submit(testcluster, tmp_path, cache, base_model):
    rows = str(prepared_set(tmp_path / "rows"))
    base = {"name": "builtin:tiny-qwen3", "path": str(base_model)}

    def start(name: str, partition: str = "main", *, after: Run | None = None, **fields: object) -> Run:
        folder = tmp_path / "jobs" / name
        earlier = (str(after.paths.checkpoints),) if after else ()
        given = {"base": base, "data_dir": rows, "train": TRAIN, "resume_from": earlier, "resources": SIZE.model_dump()}
        spec = spec_for(folder, cache, **(given | fields))
        # Who is to be preempted has a node of its own: the others would be pushed out with it.
        node = {"low": "trex3", "grace": "trex4"}.get(partition, "trex1")
        site = load_profile("testcluster").model_copy(update={"partition": partition, "extra": {"nodelist": node}})
        scheduler = SlurmScheduler(site)
        request = JobRequest(spec.token, folder, AttemptPaths(folder).spec, JobKind.TRAIN, SIZE)
        return Run(scheduler, JobRef(spec.token, scheduler.submit(request), folder), AttemptPaths(folder))

    return start


def slurm(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def test_a_training_that_slurm_ends_goes_on_and_equals_the_undisturbed_one(submit):
    whole = submit("whole")
    runs = {
        name: submit(name, partition) for name, partition in (("low", "low"), ("grace", "grace"), ("limit", "main"))
    }
    # A site that warns nobody: what is left is the checkpoint of every second.
    runs["silent"] = submit("silent", checkpoint_seconds=1.0)
    high: list[str] = []

    def disturb(name: str, run: Run) -> None:
        wait_until(lambda: run.beat() >= 20 or run.result() is not None, seconds=PATIENCE, what=f"steps of {name}")
        assert run.result() is None, f"{name} was through before it could be disturbed"
        job = str(run.ref.job_id)
        if name in ("low", "grace"):
            line = ("sbatch", "--parsable", "-p", "high", "-w", run.node(), "--exclusive", "-o", "/dev/null")
            high.append(slurm(*line, "--wrap", "sleep 1"))
        elif name == "limit":
            slurm("scontrol", "update", f"jobid={job}", "EndTime=now+5")
        else:
            wait_until(lambda: any(run.paths.checkpoints.glob("*/")), seconds=PATIENCE, what="a periodic checkpoint")
            os.kill(json.loads(run.paths.started.read_text())["pid"], signal.SIGKILL)

    for name, run in runs.items():
        disturb(name, run)
    for name, run in runs.items():
        wait_until(run.is_over, seconds=PATIENCE, what=f"the end of {name}")
    wait_until(whole.is_over, seconds=PATIENCE, what="the end of the undisturbed training")
    wanted = whole.result()
    assert wanted is not None
    assert wanted.state == "succeeded", wanted.message
    first = {name: run.result() for name, run in runs.items()}
    assert first["silent"] is None, "a job that is killed without notice cannot leave a result"
    for name, failure in (("low", FailureClass.PREEMPTED), ("grace", None), ("limit", FailureClass.TIMEOUT)):
        result = first[name]
        assert result is not None, name
        assert result.failure is failure or (
            failure is None and result.failure in (FailureClass.PREEMPTED, FailureClass.TIMEOUT)
        )
        assert 0 < result.steps < TRAIN["max_steps"], name
    again = {name: submit(f"{name}-again", after=run) for name, run in runs.items()}
    for name, run in again.items():
        wait_until(run.is_over, seconds=PATIENCE, what=f"the end of {name}'s second attempt")
        result = run.result()
        assert result is not None, name
        assert result.state == "succeeded", result.message
        assert result.resumed_from_step > 0, name
        before = first[name]
        assert before is None or result.resumed_from_step == before.steps
        assert result.tokens == wanted.tokens
        assert [point.step for point in result.curve] == [point.step for point in wanted.curve]
        assert [point.loss for point in result.curve] == pytest.approx(
            [point.loss for point in wanted.curve], abs=TOLERANCE
        )
    assert high
    assert Path(again["low"].paths.model).exists()
