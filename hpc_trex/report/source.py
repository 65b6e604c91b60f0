"""What the report is made from, and how its numbers are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hpc_trex.models import (
    AttemptView,
    Insight,
    NodeView,
    Score,
    SearchConfig,
    StatusView,
    TaskCard,
)
from hpc_trex.models.llm import AgentSpent

#: Stands where there is no number.
DASH = "\u2013"


class ReportSource(NamedTuple):
    """The records of one search as the store gives them. ``attempts`` hold those of preparations (trial 0) too."""

    status: StatusView
    nodes: list[NodeView]
    insights: list[Insight]
    attempts: list[AttemptView]
    task: TaskCard
    config: SearchConfig
    agents: Sequence[AgentSpent] = ()
    """What the questions of each agent used; empty where no language model is asked."""


def points(value: float | None) -> str:
    """Return a score with three decimals; a dash where there is none."""
    return DASH if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """Return a difference with its sign."""
    return DASH if value is None else f"{value:+.3f}"


def interval(low: float | None, high: float | None) -> str:
    """Return an interval in brackets; empty where it is not known."""
    return "" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"


def signed_interval(score: Score) -> str:
    """Return the interval of a difference."""
    return f"[{score.low:+.3f}, {score.high:+.3f}]"


def span(seconds: float) -> str:
    """Return a length of time as one or two units: ``8 s``, ``2 min 05 s``, ``1 h 12 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def hours(value: float) -> str:
    """Return hours; a small number of them as minutes."""
    return f"{value * 60:.1f} min" if 0 < value < 0.2 else f"{value:.2f} h"
