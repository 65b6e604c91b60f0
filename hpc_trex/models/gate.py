"""What waits for a person before a search goes on, and what the person said (``launch --approve``)."""

from __future__ import annotations

from typing import Literal

from hpc_trex.models.base import Record
from hpc_trex.models.plan import RoundPlan

GateName = Literal["requirements", "strategy", "data"]
GATES: tuple[GateName, ...] = ("requirements", "strategy", "data")


class GateView(Record):
    """One question to a person, with the answer once there is one."""

    node: int
    """The round that it is about; that of ``strategy`` and ``data`` is not in the tree yet."""
    gate: GateName
    number: int
    """Counts the questions of this gate and round: a rejected proposal is followed by another."""
    parent: int | None = None
    """The round that the next one is to be built on."""
    text: str
    """What is to be judged."""
    plan: RoundPlan | None = None
    """What runs when all gates are passed; None while there is only a direction."""
    asked_at: str = ""
    approved: bool | None = None
    """None: it waits."""
    note: str = ""
    user: str = ""
    decided_at: str = ""
    counts: bool = True
    """Whether a rejection counts against its parent: until the next time that the search is set going."""


class PersonTime(Record):
    """How long gates waited for a person, from question to answer by the clock of the search's log."""

    seconds: float = 0.0
    decisions: int = 0
    by_gate: dict[str, float] = {}
