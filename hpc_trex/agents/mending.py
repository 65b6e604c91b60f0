"""What passes between the controller and the Executor: a job that failed, and what is changed of it."""

from __future__ import annotations

from typing import NamedTuple

from hpc_trex.models import FailureClass, RoundPlan, TrainConfig
from hpc_trex.models.repair import How


class Failed(NamedTuple):
    """A job that failed, as those see it who may repair it."""

    node: int
    trial: int
    """0: the preparation of the round's data."""
    number: int
    """Of this repair among those of the trial: 1 and up."""
    failure: FailureClass
    message: str
    plan: RoundPlan
    """Of the round, with the repairs so far."""
    train: TrainConfig | None = None
    """What the job was given; None of a preparation."""
    log: str = ""
    """The end of its output."""
    earlier: tuple[str, ...] = ()
    """Repairs of the round so far, and answers that were refused, in words."""
    left: int = 0
    """Answers of a model that may follow, this one counted."""


class Repaired(NamedTuple):
    """A change: of how a trial is computed, of the plan, or of both."""

    reason: str
    how: How = {}
    """Fields of ``TrainConfig`` that leave the experiment the same, with their new values."""
    plan: RoundPlan | None = None
    """The round's plan with another experiment in it; None: it stays."""


class GivesUp(NamedTuple):
    """No change, and why."""

    reason: str
    refused: bool = False
    """There was an answer, which could not be used: another may be asked for."""
