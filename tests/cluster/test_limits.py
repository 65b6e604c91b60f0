"""Real trainings that Slurm ends before they are through: preempted, out of time, killed without notice; each goes on in a
fresh job and ends as the run that nobody disturbed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from hpc_trex.files import read_record
from hpc_trex.job.files import StopRequest
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import FailureClass, Heartbeat, JobKind, JobResult, Resources
from hpc_trex.slurm.profiles import load_profile
from hpc_trex.slurm.scheduler import JobRef, JobRequest, JobState
from hpc_trex.slurm.submitit_backend import SlurmScheduler
from hpc_trex.tree.store import Store
from tests.jobs import prepared_set, spec_for
from tests.noop import finish, noop_profile, noop_search
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

    def freeze(self) -> list[psutil.Process]:
        """Stop the processes that train, not the one that watches them: Slurm may take half a minute to speak up."""
        supervisor = psutil.Process(json.loads(self.paths.started.read_text())["pid"])
        found = supervisor.children(recursive=True)
        for process in found:
            process.suspend()
        return found

    def node(self) -> str:
        return self.scheduler.poll([self.ref])[self.ref.token].host


@pytest.fixture
def submit(testcluster, tmp_path, cache, base_model):
    rows = str(prepared_set(tmp_path / "rows"))
    base = {"name": "builtin:tiny-qwen3", "path": str(base_model)}

    def start(
        name: str,
        partition: str = "main",
        *,
        after: Run | None = None,
        gpus: int = 0,
        **fields: object,
    ) -> Run:
        folder = tmp_path / "jobs" / name
        earlier = (str(after.paths.checkpoints),) if after else ()
        size = SIZE.model_copy(update={"gpus_per_node": gpus})
        given = {"base": base, "data_dir": rows, "train": TRAIN, "resume_from": earlier, "resources": size.model_dump()}
        spec = spec_for(folder, cache, **(given | fields))
        # Who is to be preempted has a node of its own: the others would be pushed out with it.
        node = {"low": "trex3", "grace": "trex4"}.get(partition, "trex1")
        site = load_profile("testcluster")
        changes = {"partition": partition, "extra": {"nodelist": node}, "signal_seconds": 10}
        scheduler = SlurmScheduler(site.model_copy(update=changes))
        request = JobRequest(spec.token, folder, AttemptPaths(folder).spec, JobKind.TRAIN, size)
        return Run(scheduler, JobRef(spec.token, scheduler.submit(request), folder), AttemptPaths(folder))

    return start


def slurm(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def test_a_training_that_slurm_ends_goes_on_and_equals_the_undisturbed_one(submit):
    whole = submit("whole")
    runs = {name: submit(name, partition=name) for name in ("low", "grace")}
    # A site that warns nobody: what is left is the checkpoint of every second.
    runs["silent"] = submit("silent", checkpoint_seconds=1.0)

    runs["limit"] = submit("limit")
    frozen: dict[str, list[psutil.Process]] = {}

    def all_stand_still() -> bool:
        """Freeze each as soon as it is under way: none may be through while another one is waited for."""
        for name, run in runs.items():
            if name not in frozen:
                assert run.result() is None, f"{name} was through before it could be disturbed"
                if run.beat() >= 5 and (name != "silent" or any(run.paths.checkpoints.glob("*/"))):
                    frozen[name] = run.freeze()
        return len(frozen) == len(runs)

    def strike(name: str, run: Run) -> None:
        if name == "silent":
            os.kill(json.loads(run.paths.started.read_text())["pid"], signal.SIGKILL)
            return
        if name == "limit":
            slurm("scontrol", "update", f"jobid={run.ref.job_id}", "EndTime=now+40")  # Slurm looks every 30 s
        else:
            line = ("sbatch", "--parsable", "-p", "high", "-w", run.node(), "--exclusive", "-o", "/dev/null")
            slurm(*line, "--wrap", "sleep 1")
        wait_until(StopRequest(run.paths).path.exists, seconds=PATIENCE, what=f"Slurm's word to {name}")

    wait_until(all_stand_still, seconds=PATIENCE, what="steps of all")
    for name, run in runs.items():
        strike(name, run)
        for process in frozen[name]:
            with suppress(psutil.NoSuchProcess):
                process.resume()
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
    assert Path(again["low"].paths.model).exists()


def test_a_job_that_uses_no_gpu_is_ended_as_idle_and_a_busy_one_is_not(submit, tmp_path, monkeypatch):
    """The GPUs are pretended, so what nvidia-smi says of them is too: the job's own one, number 0 or 1, decides."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (folder / "nvidia-smi").write_text('#!/bin/sh\nprintf "0, GPU-a, 0\\n1, GPU-b, 90\\n"\n')
    (folder / "nvidia-smi").chmod(0o755)
    endless = TRAIN | {"max_steps": 100_000}
    runs = [submit(name, gpus=1, train=endless, idle_gpu_seconds=8.0) for name in ("idle", "busy")]
    visible = {}
    for run in runs:
        wait_until(lambda run=run: run.paths.started.exists(), seconds=PATIENCE, what="the start of a job")
        shown = psutil.Process(json.loads(run.paths.started.read_text())["pid"]).environ()["CUDA_VISIBLE_DEVICES"]
        visible[shown] = run
    assert visible.keys() == {"0", "1"}
    wait_until(visible["0"].is_over, seconds=PATIENCE, what="the end of the idle job")
    result = visible["0"].result()
    assert result is not None
    assert result.failure is FailureClass.TIMEOUT
    assert "used no GPU" in result.message
    busy = visible["1"]
    wait_until(lambda: busy.beat() > 0, seconds=PATIENCE, what="steps of the busy job")
    assert not busy.is_over()
    busy.scheduler.cancel([busy.ref])
    wait_until(busy.is_over, seconds=PATIENCE, what="the end of the busy job")


def test_a_chain_of_attempts_without_progress_ends_as_a_time_out(testcluster, tmp_path, home):
    """Jobs that report TIMEOUT at the same step: the first is followed by one more, and that one by none."""
    profile = noop_profile()
    profile = profile.model_copy(update={"environment": profile.environment | {"TREX_NOOP_FAIL": "TIMEOUT"}})
    paths = noop_search(home, profile, max_nodes=1, trials=2)
    finish(paths)
    with Store.read(paths) as store:
        trials = [trial for trial in store.node(1).trials if trial.kind is JobKind.TRAIN]
        chains = [[item.failure for item in store.attempts(1, trial.trial)] for trial in trials]
    assert chains == [[FailureClass.TIMEOUT] * 2] * 2
    assert [trial.failure for trial in trials] == [FailureClass.TIMEOUT] * 2
