"""The seam between the training and the job that it runs in: progress goes out, a request to stop comes in."""

from __future__ import annotations

from typing import Protocol

from hpc_trex.errors import JobFailure
from hpc_trex.models import FailureClass, Heartbeat


class Interrupted(JobFailure):
    """The worker was asked to stop. ``step`` is what its last checkpoint holds."""

    def __init__(self, message: str = "stopped on request", *, step: int = 0) -> None:
        super().__init__(message, failure=FailureClass.PREEMPTED)
        self.step = step


class Stop(Protocol):
    """A request to stop, as all ranks can see it."""

    def asked(self) -> bool:
        """Tell whether a stop was asked for; cheap enough for every step."""
        ...


class Beat(Protocol):
    """The job's heartbeat. Raises :class:`Interrupted` outside the training, where a stop was asked for."""

    @property
    def rank(self) -> int: ...

    @property
    def stop(self) -> Stop: ...

    def __call__(self, heartbeat: Heartbeat) -> None: ...
