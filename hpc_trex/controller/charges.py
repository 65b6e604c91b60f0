"""What an attempt is charged with: never more than was reserved for it, never nothing for one that ran.

A result tells the job's own seconds. Of an attempt that left none only its files tell: the claim that it made when it
started, the last heartbeat, the time limit that Slurm enforced.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from hpc_trex.controller.context import Work
from hpc_trex.files import read_record, server_now
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import AttemptView, FailureClass, Heartbeat, JobResult


class Charge(NamedTuple):
    """Seconds of wall time, and of CPU time."""

    seconds: float
    cpu_seconds: float


def of_result(attempt: AttemptView, result: JobResult) -> Charge:
    """Return what a job with a result used; a clock that ran on after its limit does not pass what was reserved."""
    limit = _limit(attempt)
    seconds = min(result.seconds, limit)
    return Charge(seconds, min(result.cpu_seconds, attempt.cpus * limit) if attempt.cpus else result.cpu_seconds)


def without_result(work: Work, attempt: AttemptView, failure: FailureClass) -> Charge:
    """Return what a job without a result used, at worst: all its CPUs for as long as it can have run.

    Never started: nothing. Ended by Slurm at its time limit: the limit. Else until its last heartbeat; without any, until
    now by the file server's clock.
    """
    paths = work.attempt_paths(attempt)
    limit, seconds = _limit(attempt), _alive(paths)
    if failure is FailureClass.TIMEOUT and seconds and math.isfinite(limit):
        seconds = limit
    seconds = max(0.0, min(limit, seconds))
    return Charge(seconds, seconds * attempt.cpus)


def _alive(paths: AttemptPaths) -> float:
    """Return for how long a job is known, or must be believed, to have run; 0 when it never started."""
    beat = read_record(paths.heartbeat, Heartbeat)
    try:
        began = paths.started.stat().st_mtime
    except FileNotFoundError:
        return beat.seconds if beat else 0.0
    if beat is None:
        return max(server_now(paths.started) - began, 0.001)
    return max(beat.seconds, paths.heartbeat.stat().st_mtime - began)


def _limit(attempt: AttemptView) -> float:
    return attempt.minutes * 60.0 if attempt.minutes else math.inf
