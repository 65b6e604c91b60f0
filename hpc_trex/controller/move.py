"""Moving a search to another scheduler: what the old one still has must be settled first.

A job of the old scheduler is unknown to the new one, which would take it for lost and start it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from hpc_trex.controller.collect import collect, presumed_gone
from hpc_trex.controller.context import Work
from hpc_trex.errors import UsageProblem
from hpc_trex.models import Profile
from hpc_trex.slurm.scheduler import JobRef, JobState, JobStatus, Scheduler

#: A job whose node failed is believed to be over only when it has been so for some seconds (slurm/queue.py).
PATIENCE_SECONDS = 8.0
PAUSE_SECONDS = 0.5


def settle(work: Work, old: Profile, make: Callable[[Profile], Scheduler], *, assume_gone: bool = False) -> None:
    """Record what became of the jobs of the ``old`` profile. ``work`` is bound to the new scheduler; ``make`` makes the old.

    Raises UsageProblem while one of them lives, or nobody can say; ``assume_gone`` records those as lost instead.
    """
    if not work.store.live_attempts():
        return
    new, work.scheduler = work.scheduler, make(old)
    try:
        found = _watch(work)
    finally:
        work.scheduler = new
        work.suspects.clear()
    states = {token: status.state for token, status in found.items()}
    live = [token for token, state in states.items() if state is not JobState.ABSENT]
    if not live:
        return
    if assume_gone:
        for attempt in work.store.live_attempts():
            if attempt.token in live:
                work.record(presumed_gone(work, attempt, f"presumed gone: the search left profile {old.name}"))
                work.say(f"job {attempt.job_id or attempt.token} of profile {old.name} is presumed gone")
        return
    refuse(work, old, {token: found[token] for token in live})


def refuse_strangers(work: Work, profile: Profile) -> None:
    """Collect what the jobs have left; then raise UsageProblem when one of them was submitted to another Slurm cluster.

    Two clusters may share a file system, and a job of one is absent in the other, which would start it again.
    """
    strange = getattr(work.scheduler, "elsewhere", None)
    if strange is None:
        return

    def others() -> list[JobRef]:
        live = work.store.live_attempts()
        refs = [JobRef(item.token, item.job_id, work.paths.root / item.directory) for item in live]
        return [ref for ref in refs if strange(ref)]

    # While Slurm does not tell its name the jobs are unknown to it, as they would be in any outage: the search waits.
    if others() and str(getattr(work.scheduler, "cluster", "")):
        collect(work)
        left = others()
        if left:
            found = work.scheduler.poll(left)
            refuse(work, profile, {ref.token: found[ref.token] for ref in left})


def refuse(work: Work, old: Profile, live: dict[str, JobStatus]) -> None:
    """Raise UsageProblem: these jobs of the ``old`` profile live, or cannot be asked about."""
    silent = all(status.state is JobState.UNKNOWN for status in live.values())
    why = sorted({status.reason for status in live.values() if status.reason and silent})
    raise UsageProblem(
        f"{len(live)} job(s) of this search under profile {old.name} ({old.scheduler}) "
        + ("cannot be asked about here" if silent else "still run or wait")
        + (f" ({'; '.join(why)})" if why else ""),
        hint="if they are surely gone, add --assume-gone"
        if silent
        else f"resume without --profile until they are over, or end them: hpc-trex cancel {work.paths.root}",
    )


def _watch(work: Work) -> dict[str, JobStatus]:
    """Collect until nothing is in doubt, or time is up; return the old scheduler's word on what is still recorded as live."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        collect(work)
        left = work.store.live_attempts()
        refs = [JobRef(item.token, item.job_id, work.paths.root / item.directory) for item in left]
        found = work.scheduler.poll(refs) if refs else {}
        # A job that was submitted and is not known is recorded as lost at the next look; one that was only intended stays.
        doubtful = [
            item
            for item in left
            if (found[item.token].state is JobState.ABSENT and item.job_id is not None)
            or found[item.token].state is JobState.ENDED
            or "to be confirmed" in found[item.token].reason
        ]
        if not doubtful or time.monotonic() > until:
            return found
        time.sleep(PAUSE_SECONDS)
