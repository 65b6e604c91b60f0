"""The seam between the controller and whatever runs jobs: Slurm or local processes.

A back end submits, looks up and cancels; it decides nothing. Results and progress never come from here: they are
files in the attempt's folder (DESIGN section 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol

from hpc_trex.errors import ClusterRefused, TrexError
from hpc_trex.models import JobKind, Resources

#: How the controller's note of a submit that failed for now begins; ``status`` looks for it.
TAKES_NO_JOBS = "the scheduler takes no jobs now"


class JobRequest(NamedTuple):
    """One job to be started: the fixed entry function is called with the path of ``spec``."""

    token: str
    """Unique name of the attempt: job name and comment in Slurm."""
    directory: Path
    """The attempt's folder; it exists already."""
    spec: Path
    kind: JobKind
    resources: Resources
    folders: tuple[Path, ...] = ()
    """What the job reads and writes: a container must see these folders under their own paths."""


class JobRef(NamedTuple):
    """A job that may exist. ``job_id`` is None when the controller died before it could record it."""

    token: str
    job_id: str | None
    directory: Path


class JobState(StrEnum):
    """What the scheduler says of a job.

    ``ABSENT``: asked, and it knows no such job. ``UNKNOWN``: it could not be asked; never a reason to act.
    """

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class JobStatus(NamedTuple):
    """One job as the scheduler sees it now."""

    state: JobState
    job_id: str | None = None
    reason: str = ""
    """Scheduler's word: the pending reason, or the final state such as ``TIMEOUT``, ``NODE_FAIL``, ``FAILED 0:9``."""
    host: str = ""


class SubmitUnavailable(TrexError):
    """The scheduler did not answer, or refused for now (queue limits): it may have taken the job all the same.

    The caller looks the token up before it tries again.
    """

    exit_code = 5


class CancelUnavailable(TrexError):
    """The scheduler could not be asked to end jobs; they go on until it is asked again."""


class SubmitRefused(ClusterRefused):
    """The scheduler refused this request for good: wrong partition, too many GPUs, unknown account."""


class Scheduler(Protocol):
    """A back end. All calls are quick; none waits for a job."""

    name: str

    def submit(self, request: JobRequest) -> str:
        """Start one job and return its id. Raises :class:`SubmitUnavailable` or :class:`SubmitRefused`."""
        ...

    def poll(self, jobs: Sequence[JobRef]) -> dict[str, JobStatus]:
        """Return the status by token of every job asked for, with one query however many there are."""
        ...

    def cancel(self, jobs: Sequence[JobRef]) -> None:
        """End the jobs, waiting or running; those that are gone are passed over. Raises :class:`CancelUnavailable`."""
        ...

    def slots(self) -> int:
        """Jobs at once that this machine or site bears by itself (a default for ``--parallel``)."""
        ...

    def render(self, request: JobRequest) -> str:
        """Return the script or command that :meth:`submit` would start, for ``--dry-run``; it starts nothing."""
        ...
