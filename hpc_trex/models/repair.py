"""A repair of a trial, or of a round's data recipe, that failed: what the Executor changed, or why it did not."""

from __future__ import annotations

from typing import Literal

from hpc_trex.models.base import Record
from hpc_trex.models.states import FailureClass

#: Fields of ``TrainConfig`` that say how a training is computed and not what comes out of it, with their values.
How = dict[str, bool | int | str]
HOW = frozenset({"micro_batch_size", "gradient_checkpointing", "attention"})


class RepairView(Record):
    """One repair. ``trial`` 0: the round's data recipe."""

    node: int
    trial: int
    number: int
    attempt: int
    """The job that failed."""
    by: Literal["rule", "model"]
    outcome: Literal["repaired", "refused", "given up"]
    failure: FailureClass
    changes: str = ""
    """What was changed, in words; empty of a refusal."""
    reason: str = ""
    superseded: bool = False
    """The trial was opened again since: it counts against no bound."""


class RepairedTrial(Record):
    """What a repair made of a trial that is another experiment now."""

    trial: int
    identity: str
    reused_from: tuple[int, int] | None = None
    """(node, trial) that is the same experiment."""
