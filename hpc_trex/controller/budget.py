"""The caps of a search. A cap stops new work; it never kills a running job."""

from __future__ import annotations

import time

from hpc_trex.controller.context import Work
from hpc_trex.models import Resources

#: How the message of a search begins that a cap other than the number of rounds has ended (exit code 7).
REACHED = "budget reached: "


def gpu_hours(resources: Resources) -> float:
    """Return the worst case of one job: all its GPUs for its whole time limit, in hours."""
    return resources.gpus * resources.minutes / 60


def reserve_allows(work: Work, resources: Resources) -> bool:
    """Tell whether one more such job fits under the GPU-hour cap, the live jobs counted at their worst."""
    cap = work.config.budget.gpu_hours
    if cap is None or resources.gpus == 0:
        return True
    limit = work.config.profile.train.minutes / 60
    reserved = sum(attempt.gpus * limit for attempt in work.store.live_attempts())
    return work.store.cost().gpu_hours + reserved + gpu_hours(resources) <= cap


def reached(work: Work) -> str:
    """Return which cap is reached, in words; empty when none is. Rounds are counted by the caller."""
    budget, cost = work.config.budget, work.store.cost()
    if budget.cpu_hours is not None and cost.cpu_hours >= budget.cpu_hours:
        return f"{cost.cpu_hours:.2f} of {budget.cpu_hours:g} CPU-hours used"
    # What runs may end below its worst case, so it holds back further jobs (reserve_allows) but ends no search.
    one = gpu_hours(work.config.profile.train)
    if budget.gpu_hours is not None and one and cost.gpu_hours + one > budget.gpu_hours:
        return f"{cost.gpu_hours:.2f} of {budget.gpu_hours:g} GPU-hours used; one more training may exceed the cap"
    minutes = (time.monotonic() - work.started) / 60
    if budget.wall_minutes is not None and minutes >= budget.wall_minutes:
        return f"{minutes:.1f} of {budget.wall_minutes:g} minutes passed"
    return ""
