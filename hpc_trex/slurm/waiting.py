"""Why jobs wait, as Slurm says it now and in plain words: for ``hpc-trex status``.

Asked of Slurm and not of the tree: nothing is recorded of a reason that changes by the minute, and it is wanted most when
no controller is alive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

from hpc_trex.models import AttemptState, AttemptView, Profile
from hpc_trex.slurm import parsing
from hpc_trex.slurm.commands import Ask, ask
from hpc_trex.slurm.failures import pending_hint
from hpc_trex.slurm.queue import SQUEUE
from hpc_trex.slurm.scheduler import JobState

#: A reader does not wait longer for a Slurm that does not answer.
SECONDS = 5.0
_QUICK = partial(ask, seconds=SECONDS)


class Waiting(NamedTuple):
    """Jobs that wait for the same reason."""

    reason: str
    """Slurm's own word; empty when it does not answer."""
    words: str
    """The same for a person; empty where we do not know the word."""
    jobs: tuple[str, ...]

    def __str__(self) -> str:
        count = "1 job" if len(self.jobs) == 1 else f"{len(self.jobs)} jobs"
        return f"{count}, {self.reason}" + (f": {self.words}" if self.words else "")


def why_waiting(
    profile: Profile, attempts: Iterable[AttemptView], *, refused: str = "", ask: Ask = _QUICK
) -> list[Waiting]:
    """Return why the jobs that are recorded as waiting do so, by reason: one ``squeue``, and none where no job waits.

    What the answer does not name has begun or is over, and is left out: the controller will see it. A job that sbatch
    did not take is in no queue: ``refused`` is what the controller last noted of such a one.
    """
    attempts = list(attempts)
    tokens = {item.token for item in attempts if item.state in (AttemptState.INTENT, AttemptState.QUEUED)}
    if profile.scheduler != "slurm" or not tokens:
        return []
    answer = ask(SQUEUE)
    if not answer.ok:
        return [Waiting("Slurm does not answer", answer.words, tuple(sorted(tokens)))]
    rows = [row for row in parsing.parse_squeue(answer.out) if row.name in tokens and not parsing.never_ran(row)]
    known = {row.name for row in rows}
    missing = [item.token for item in attempts if item.state is AttemptState.INTENT and item.token not in known]
    unsent = [Waiting("not submitted yet", refused, tuple(missing))] if missing and refused else []
    return _by_reason(rows) + unsent


def _by_reason(rows: Sequence[parsing.Row]) -> list[Waiting]:
    found: dict[str, list[str]] = {}
    for row in rows:
        status = parsing.status_of(row)
        if status.state is JobState.QUEUED:
            found.setdefault(status.reason or "None", []).append(row.job_id)
    return [Waiting(reason, pending_hint(reason), tuple(jobs)) for reason, jobs in found.items()]
