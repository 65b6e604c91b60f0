"""The messages of every question, built from the tree within a token budget. Signatures first; bodies follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from hpc_trex.agents.protocol import Sample, TreeView
from hpc_trex.models import RoundPlan

Message = dict[str, str]


def design_messages(
    view: TreeView,
    parent: int,
    *,
    settings_budget: int,
    stage: Literal["direction", "plan"],
    brief: str,
    direction: str | None,
    notes: Sequence[str] = (),
) -> list[Message]:
    """Return the question for a direction, or for a round plan, of a new child of ``parent``."""
    raise NotImplementedError


def diagnosis_messages(
    view: TreeView, node: int, samples: Iterable[Sample], *, budget: int, rule_report: str
) -> list[Message]:
    """Return the question that reads a finished round."""
    raise NotImplementedError


def brief_messages(view: TreeView, samples: Iterable[Sample], *, budget: int) -> list[Message]:
    """Return the question for the brief; ``samples`` are the baseline's dev rows."""
    raise NotImplementedError


def revise_messages(previous: Sequence[Message], answer_json: str, refusals: Sequence[str]) -> list[Message]:
    """Return the earlier question, its answer, and why it was refused."""
    raise NotImplementedError


def review_messages(view: TreeView, parent: int, plan: RoundPlan, *, budget: int) -> list[Message]:
    """Return the question for a second opinion on a plan."""
    raise NotImplementedError
