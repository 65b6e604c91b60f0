"""The one result of an attempt, made from what the worker said, or from how it died when it said nothing."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import NamedTuple

from hpc_trex.job.files import Outcome
from hpc_trex.job.watch import Verdict
from hpc_trex.models import FailureClass, JobResult, JobSpec
from hpc_trex.training.progress import newest_checkpoint

_OOM_SIGNS = (
    "CUDA out of memory",
    "torch.OutOfMemoryError",
    "can't allocate memory",
    "Cannot allocate memory",
    "MemoryError",
    "oom-kill",
    "oom_kill",
    "Out Of Memory",
)


class Death(NamedTuple):
    """How a worker ended."""

    code: int
    """Exit code; negative: the signal."""
    lines: list[str]
    """The last lines that it printed."""
    oom_kills: int
    """Kills for memory that the kernel counted in this job's control group meanwhile."""
    peak_gb: float
    """The most memory that the processes were seen to hold together."""


def conclude(spec: JobSpec, outcome: Outcome | None, verdict: Verdict | None, death: Death) -> JobResult:
    """Return the result without the supervisor's own figures (seconds, host, versions)."""
    if outcome and not outcome.interrupted:
        return outcome.result
    if outcome and verdict:
        message = f"{verdict.message}; {outcome.result.message}"
        return outcome.result.model_copy(update={"failure": verdict.failure, "message": message})
    if outcome:
        return outcome.result
    failure, message = _verdict_on(verdict, death, spec)
    saved = newest_checkpoint([Path(folder) for folder in (f"{spec.attempt_dir}/checkpoints", *spec.resume_from)])
    return JobResult(
        token=spec.token, state="failed", failure=failure, message=message[:4000], steps=saved.step if saved else 0
    )


def _verdict_on(verdict: Verdict | None, death: Death, spec: JobSpec) -> tuple[FailureClass, str]:
    """Class a worker that ended without a word."""
    last = "\n".join(death.lines)
    if verdict:
        return verdict.failure, f"{verdict.message}; the worker was killed\n{last}".rstrip()
    full = death.peak_gb >= 0.9 * spec.resources.mem_gb
    # The launcher above several workers does not die of the signal that killed one of them; it reports it.
    killed = death.code in (-signal.SIGKILL, 128 + signal.SIGKILL) or "Signal 9 (SIGKILL)" in last
    held = f"its processes held up to {death.peak_gb:.1f} GiB, the job has {spec.resources.mem_gb:g} GiB"
    if death.oom_kills or (killed and full) or any(sign in last for sign in _OOM_SIGNS):
        return FailureClass.OOM, f"out of memory: {held}\n{last}".rstrip()
    if killed:
        return FailureClass.ENVIRONMENT, f"the worker was killed (signal 9) from outside; {held}\n{last}".rstrip()
    if death.code < 0:
        return FailureClass.ENVIRONMENT, f"the worker died of {signal.Signals(-death.code).name}\n{last}".rstrip()
    return FailureClass.ENVIRONMENT, f"the worker ended with exit code {death.code} and no result\n{last}".rstrip()
