"""The bad cases of a round and how they moved against its parent: ``cases.json`` of a round's folder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hpc_trex.models.base import Record

CaseGroup = Literal["format", "truncation", "refusal", "language", "knowledge", "reasoning", "content"]
"""Why an answer is wrong, as far as rules can tell; ``content``: it is in good form, and no more can be told."""

RIGHT = "right"
"""What stands for the group of a row that is not bad."""


class GroupView(Record):
    """The bad rows of one group, with an example; its texts are cut."""

    group: CaseGroup
    rows: int
    row_id: str
    prompt: str
    answer: str
    reference: str


class Transition(Record):
    """Rows that were in one group in the parent and are in another now; ``right`` stands for no group."""

    before: Literal[CaseGroup, "right"]
    now: Literal[CaseGroup, "right"]
    rows: int


class ChangedRow(Record):
    """A row that was right in the parent and is bad now; its texts are cut."""

    row_id: str
    group: CaseGroup
    prompt: str
    before: str
    """The parent's answer."""
    now: str
    reference: str


class Movement(Record):
    """The dev rows of a round's best trial against the same rows of its parent's best trial."""

    parent: int
    parent_trial: int
    pairs: int
    """Rows that both answered."""
    unpaired: int = 0
    """Rows that only one of the two answered: they are not compared."""
    fixed: int
    broken: int
    still_bad: int
    still_right: int
    gain: float
    """Mean of the row scores' differences; above 0: better, whatever the metric's direction."""
    test: Literal["mcnemar", "sign"]
    """``mcnemar``: fixed against broken rows; ``sign``, of a graded metric: rows that rose against rows that fell."""
    up: int
    """Rows that the test counts for the round."""
    down: int
    p_value: float = Field(ge=0, le=1)
    """Exact, two-sided: how often a change without effect would move the rows so unequally."""
    transitions: tuple[Transition, ...] = ()
    """What changed and what stayed bad, the most frequent first; rows that stayed right are in ``still_right``."""
    examples: tuple[ChangedRow, ...] = Field(default=(), max_length=5)
    """Broken rows, each group in turn."""


class CaseReport(Record):
    """``cases.json``: the bad dev rows of a round's best trial by group, and how they moved."""

    schema_version: Literal[1] = 1
    node: int
    trial: int
    rows: int
    """Rows that were read; at most the first 2,000 of the file."""
    bad: int
    bar: float
    """A row is bad that does not reach this score (for a metric where less is better: that is above it)."""
    groups: tuple[GroupView, ...] = ()
    movement: Movement | None = None
    not_compared: str = ""
    """Why there is no ``movement``."""
