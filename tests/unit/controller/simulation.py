"""A cluster in memory for tests of the controller's state machine: it outlives controllers and answers like Slurm.

The real schedulers are tested on real processes and a real Slurm (tests/local, tests/cluster). Here thousands of
interleavings matter: results in any order, jobs lost, submits that fail before or after they were taken, and a
controller that dies before or after any single write.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from hpc_trex.files import write_record
from hpc_trex.models import FailureClass, JobKind, JobResult, JobSpec, ModelRef, Score
from hpc_trex.slurm.scheduler import JobRef, JobRequest, JobState, JobStatus, SubmitUnavailable


class Killed(BaseException):
    """The controller died here. A BaseException, so that no handler in the program can survive it."""


class Cluster:
    """Jobs by token, with how often each was started."""

    name = "simulated"

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.live: dict[str, JobRequest] = {}
        self.starts: dict[str, int] = {}
        self.polls = 0
        self.refuse_next = ""  # "before" or "after": the next submit fails before or after the job was taken
        self.deaf = False  # polls answer UNKNOWN
        self.cancelled: set[str] = set()  # jobs that a person ended with scancel
        self.waiting: set[str] = set()  # live jobs that were put back into the queue
        self.taken_back: set[str] = set()  # jobs that root or Slurm itself ended

    def submit(self, request: JobRequest) -> str:
        if self.refuse_next == "before":
            self.refuse_next = ""
            raise SubmitUnavailable("simulated: no answer")
        assert request.token not in self.starts, f"{request.token} was submitted twice"
        self.starts[request.token] = 1
        self.live[request.token] = request
        if self.refuse_next == "after":
            self.refuse_next = ""
            raise SubmitUnavailable("simulated: the answer was lost")
        return f"id-{request.token}"

    def poll(self, jobs: Sequence[JobRef]) -> dict[str, JobStatus]:
        self.polls += 1
        if self.deaf:
            return {job.token: JobStatus(JobState.UNKNOWN) for job in jobs}
        return {
            job.token: JobStatus(JobState.QUEUED, f"id-{job.token}", "job requeued in held state")
            if job.token in self.waiting
            else JobStatus(JobState.RUNNING, f"id-{job.token}", host="sim")
            if job.token in self.live
            else JobStatus(JobState.ENDED, f"id-{job.token}", "CANCELLED by 1000")
            if job.token in self.cancelled
            else JobStatus(JobState.ENDED, f"id-{job.token}", "CANCELLED by 0", "sim")
            if job.token in self.taken_back
            else JobStatus(JobState.ABSENT)
            for job in jobs
        }

    def cancel(self, jobs: Sequence[JobRef]) -> None:
        for job in jobs:
            self.live.pop(job.token, None)

    def slots(self) -> int:
        return 4

    def render(self, request: JobRequest) -> str:
        return request.token

    def finish(self, token: str, *, failure: FailureClass | None = None) -> None:
        """Let a job write its result and end."""
        request = self.live.pop(token)
        spec = JobSpec.model_validate_json(request.spec.read_bytes())
        write_record(request.directory / "result.json", result_of(spec, failure))

    def lose(self, token: str) -> None:
        """Let a job vanish without a result."""
        self.live.pop(token)

    def finish_all(self) -> None:
        for token in list(self.live):
            self.finish(token)


def result_of(spec: JobSpec, failure: FailureClass | None) -> JobResult:
    """A result whose score depends on the experiment alone, with a little noise from the seed."""
    if failure is not None:
        return JobResult(token=spec.token, state="failed", failure=failure, message="simulated", seconds=1.0)
    scores = {}
    if spec.kind is JobKind.TEST:
        scores = {name: _score(0.3 if name == "base" else 0.6) for name in spec.compare} | {"difference": _score(0.3)}
    elif spec.kind in (JobKind.BASELINE, JobKind.TRAIN):
        scores = {"main": _score(0.3 if spec.train is None else _quality(spec))}
    return JobResult(
        token=spec.token,
        state="succeeded",
        scores=scores,
        model=ModelRef(name="m", path=str(Path(spec.attempt_dir) / "model")),
        seconds=2.0,
        cpu_seconds=2.0,
        steps=10,
    )


def _quality(spec: JobSpec) -> float:
    assert spec.train is not None
    key = f"{spec.train.learning_rate}/{spec.train.epochs}/{spec.train.method}/{spec.data_dir}"
    return min(1.0, 0.3 + 0.4 * random.Random(key).random() + random.Random(f"{key}/{spec.seed}").gauss(0, 0.01))


def _score(value: float) -> Score:
    value = max(0.0, value)
    return Score(metric="exact_match", value=value, low=max(0.0, value - 0.05), high=value + 0.05, n=200)
