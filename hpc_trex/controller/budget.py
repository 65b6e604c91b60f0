"""The caps of a search: what a job may cost at worst is reserved before it is asked for, and settled when it is over.

At every instant what was used plus what is reserved is within the caps. The sealed test is reserved from the start: a
search that spends all it has still ends with its choice tested. A cap stops new work; it never kills a running job.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from hpc_trex.controller.context import Work
from hpc_trex.controller.spec import resources_of
from hpc_trex.models import JobKind, Resources, TrialState
from hpc_trex.tree.spending import spent

#: How the message of a search begins that a cap other than the number of rounds has ended (exit code 7).
REACHED = "budget reached: "
#: Sums of hours are compared with so much room: 0.1 ten times is not quite 1.
ROUNDING = 1e-9
#: Jobs after which answers may have to be scored.
ANSWERING = (JobKind.BASELINE, JobKind.TRAIN, JobKind.TEST)


class Hours(NamedTuple):
    """GPU-hours and CPU-hours."""

    gpu: float
    cpu: float

    def __add__(self, other: object) -> Hours:
        assert isinstance(other, Hours)
        return Hours(self.gpu + other.gpu, self.cpu + other.cpu)


NOTHING = Hours(0.0, 0.0)


def cpus(resources: Resources) -> int:
    """Return the CPUs of a whole job."""
    return resources.nodes * resources.cpus_per_task


def worst(resources: Resources) -> Hours:
    """Return the worst case of one job: all its GPUs and CPUs for its whole time limit."""
    hours = resources.minutes / 60
    return Hours(resources.gpus * hours, cpus(resources) * hours)


def fits(work: Work, kind: JobKind, *, beside: int = 0, again: bool = False) -> bool:
    """Tell whether one more job of this kind fits under the caps, with the live jobs and the sealed test at their worst;
    ``beside``: so many more of its kind that wait for a slot. ``again``: of a trial under way, whose scoring is kept already.
    """
    one = worst(resources_of(work, kind))
    if kind in ANSWERING and not again:
        one += _scoring(work)
    jobs = Hours(one.gpu * (1 + beside), one.cpu * (1 + beside))
    return not _over(work, jobs + _kept(work, kind))


def fits_beside(work: Work, resources: Resources) -> bool:
    """Tell whether a job that is no trial's (a served language model) fits under the caps, all others at their worst."""
    return not _over(work, worst(resources) + _kept(work, JobKind.TRAIN))


def reached(work: Work) -> str:
    """Return which cap is reached, in words; empty when none is. Rounds are counted by the caller.

    What runs may end below its worst case, so it holds back further jobs (:func:`fits`) but ends no search.
    """
    budget, cost = work.config.budget, work.store.cost()
    one = worst(work.config.profile.train) + worst(resources_of(work, JobKind.TEST)) + _scoring(work) + _scoring(work)
    for cap, used, more, unit in (
        (budget.gpu_hours, cost.gpu_hours, one.gpu, "GPU"),
        (budget.cpu_hours, cost.cpu_hours, one.cpu, "CPU"),
    ):
        if cap is not None and more and used + more > cap + ROUNDING:
            return f"{used:.2f} of {cap:g} {unit}-hours used; one more training may exceed the cap"
    minutes = (time.monotonic() - work.started) / 60
    if budget.wall_minutes is not None and minutes >= budget.wall_minutes:
        return f"{minutes:.1f} of {budget.wall_minutes:g} minutes passed"
    return ""


def too_small(work: Work, kind: JobKind) -> str:
    """Return, in words, how a job of this kind does not fit under the caps although nothing runs."""
    hours, budget, cost = worst(resources_of(work, kind)) + _kept(work, kind), work.config.budget, work.store.cost()
    held = ", with the sealed test, " if _kept(work, kind) != NOTHING else " "
    if budget.gpu_hours is not None and cost.gpu_hours + hours.gpu > budget.gpu_hours + ROUNDING:
        return (
            f"{cost.gpu_hours:.2f} of {budget.gpu_hours:g} GPU-hours used; the next job{held}may need {hours.gpu:.2f}"
        )
    return (
        f"{cost.cpu_hours:.2f} of {budget.cpu_hours or 0:g} CPU-hours used; the next job{held}may need {hours.cpu:.2f}"
    )


def _kept(work: Work, kind: JobKind) -> Hours:
    """Return what is kept for the sealed test: nothing once its job has been asked for, or is what is asked for now."""
    budget = work.config.budget
    if budget.gpu_hours is None and budget.cpu_hours is None:
        return NOTHING
    owed = _owed(work, kind)
    if kind is JobKind.TEST or work.store.has_attempt(JobKind.TEST):
        return owed
    return owed + worst(resources_of(work, JobKind.TEST)) + _scoring(work)


def _scoring(work: Work) -> Hours:
    """Return the worst case of scoring one trial's answers, where that is a job of its own."""
    own = work.config.evaluate.scoring == "own-job" or work.config.profile.score is not None
    return worst(resources_of(work, JobKind.SCORE)) if own else NOTHING


def _owed(work: Work, kind: JobKind) -> Hours:
    """Return what is kept for the scoring of trials that are under way; without the one that is asked for now."""
    one = _scoring(work)
    if one == NOTHING:
        return NOTHING
    scored = sum(1 for live in work.store.live_attempts() if live.kind is JobKind.SCORE)
    waiting = max(0, len(work.store.trials(TrialState.ACTIVE)) - scored - int(kind is JobKind.SCORE))
    return Hours(one.gpu * waiting, one.cpu * waiting)


def _over(work: Work, more: Hours) -> bool:
    """Tell whether ``more`` beside what is used and reserved passes a cap."""
    budget = work.config.budget
    if budget.gpu_hours is None and budget.cpu_hours is None:
        return False
    now = spent(work.store)
    gpu = now.gpu_hours + now.reserved_gpu_hours + more.gpu
    cpu = now.cpu_hours + now.reserved_cpu_hours + more.cpu
    return _passes(gpu, budget.gpu_hours, more.gpu) or _passes(cpu, budget.cpu_hours, more.cpu)


def _passes(total: float, cap: float | None, more: float) -> bool:
    return cap is not None and more > 0 and total > cap + ROUNDING
