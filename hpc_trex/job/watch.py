"""When a job is asked to stop, when it is killed, and what that is called. Pure: time and signals come in as values."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from hpc_trex.job.signals import WARNINGS
from hpc_trex.models import FailureClass, JobSpec

#: Seconds that a worker gets to save its checkpoint, and to stop where it has nothing to save. Slurm's KillWait is
#: 30 s by default: without a checkpoint to gain, the supervisor must be done before it.
SAVE_SECONDS = 120.0
STOP_SECONDS = 25.0


class Action(StrEnum):
    """What the supervisor does next."""

    NONE = "none"
    ASK = "ask"
    KILL = "kill"


class Verdict(NamedTuple):
    """Why a job was stopped."""

    failure: FailureClass
    message: str


class Limits(NamedTuple):
    """Times of one job in seconds."""

    total: float
    margin: float
    """How long before ``total`` the worker is asked to save and stop."""
    stall: float

    @classmethod
    def of(cls, spec: JobSpec) -> Limits:
        """Return the limits of a job: its time limit, warned two minutes or a tenth before, whichever is less."""
        total = spec.resources.minutes * 60.0
        return cls(total=total, margin=min(120.0, total / 10), stall=spec.stall_seconds)


class Watch:
    """The stop rules of one job, from its start to its end.

    Call :meth:`progress` for every new heartbeat and :meth:`look` now and then; ASK is returned once.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.verdict: Verdict | None = None
        self._began = now
        self._progress = now
        self._kill_at = now + limits.total
        self._signals = 0

    def progress(self, now: float) -> None:
        """The worker got further."""
        self._progress = now

    def look(self, now: float, received: Sequence[signal.Signals], *, saves: bool, idle: str = "") -> Action:
        """Return what to do. ``saves``: the worker is in a phase that has a checkpoint to write; ``idle``: why the job
        is to be ended though nobody asked for it, or nothing.
        """
        first = self.verdict is None
        if len(received) > self._signals:
            self._signals = len(received)
            self.verdict = self._judge(now, received)
            if first:
                self._kill_at = min(self._kill_at, now + (SAVE_SECONDS if saves else STOP_SECONDS))
        elif first and now - self._began >= self.limits.total - self.limits.margin:
            self.verdict = self._out_of_time()
        elif first and idle:
            self.verdict = Verdict(FailureClass.TIMEOUT, idle)
            self._kill_at = min(self._kill_at, now + (SAVE_SECONDS if saves else STOP_SECONDS))
        if now - self._progress > self.limits.stall:
            self.verdict = self.verdict or Verdict(
                FailureClass.TIMEOUT, f"the worker hung: no heartbeat for {self.limits.stall:.0f} s, so it was ended"
            )
            return Action.KILL
        if self.verdict and now >= self._kill_at:
            return Action.KILL
        return Action.ASK if first and self.verdict else Action.NONE

    def _out_of_time(self) -> Verdict:
        return Verdict(FailureClass.TIMEOUT, f"time limit of {self.limits.total / 60:.0f} minutes reached")

    def _judge(self, now: float, received: Sequence[signal.Signals]) -> Verdict:
        """A warning signal means the time limit; TERM means it only near the limit, else the job was pushed out.

        Both together far from the limit are a preemption: Slurm sends the warning signal there as well.
        """
        names = "+".join(dict.fromkeys(number.name for number in received))
        left = self.limits.total - (now - self._began)
        if left <= max(self.limits.margin, 60.0):
            return self._out_of_time()
        if all(number in WARNINGS for number in received):
            return Verdict(FailureClass.TIMEOUT, f"warned by {names} that the time limit is near")
        return Verdict(FailureClass.PREEMPTED, f"ended by {names}, {left / 60:.0f} minutes before its time limit")
