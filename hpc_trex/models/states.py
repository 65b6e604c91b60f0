"""The states of a search, node, trial and attempt, and the classes of failure with what each one means."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class SearchState(StrEnum):
    """State of a search. ``FINISHING``: no new rounds; repeats, the final choice and the sealed test are left."""

    RUNNING = "running"
    PAUSED = "paused"
    FINISHING = "finishing"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class NodeState(StrEnum):
    """State of a round. ``PENDING`` covers all from the design to the last result: it counts as a visit in UCT.
    ``STRUCK``: it has run, and its score is no evidence (docs/review.md).
    """

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STRUCK = "struck"


class TrialState(StrEnum):
    """State of a trial."""

    PLANNED = "planned"
    ACTIVE = "active"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AttemptState(StrEnum):
    """State of one job. ``INTENT``: the token is on disk, the scheduler may or may not have the job yet."""

    INTENT = "intent"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


#: The attempt states in which a job may still exist.
LIVE = (AttemptState.INTENT, AttemptState.QUEUED, AttemptState.RUNNING)


class JobKind(StrEnum):
    """What a job does. ``BASE`` makes a built-in base model; ``TEST`` is the only kind that sees the sealed test, and ``SCORE``
    where it judges the answers to it.
    """

    BASE = "base"
    PREPARE = "prepare"
    BASELINE = "baseline"
    TRAIN = "train"
    TEST = "test"
    SCORE = "score"


class FailureClass(StrEnum):
    """Why a job failed (DESIGN section 7)."""

    CONFIG = "CONFIG"
    DATA = "DATA"
    OOM = "OOM"
    DIVERGED = "DIVERGED"
    TIMEOUT = "TIMEOUT"
    PREEMPTED = "PREEMPTED"
    NODE_FAIL = "NODE_FAIL"
    LOST = "LOST"
    CANCELLED = "CANCELLED"
    AGENT = "AGENT"
    ASKS = "ASKS"
    ENVIRONMENT = "ENVIRONMENT"


class Fate(NamedTuple):
    """What follows from a failure: is the round charged with reward 0, how often is it tried again, and how.

    ``repairs``: so often something may be changed of what failed, by rules of each trial, by the Executor's model of
    the round.
    """

    charged: bool
    retries: int
    change: str
    shown: bool
    repairs: int = 0


#: retries of -1: as long as each attempt gets further than the one before it.
FATES: dict[FailureClass, Fate] = {
    FailureClass.CONFIG: Fate(charged=True, retries=0, change="", shown=True, repairs=2),
    FailureClass.DATA: Fate(charged=True, retries=0, change="", shown=True, repairs=2),
    FailureClass.OOM: Fate(
        charged=True,
        retries=5,
        change="half the micro-batch, same effective batch; of 1, gradient checkpointing",
        shown=True,
    ),
    FailureClass.DIVERGED: Fate(charged=True, retries=0, change="", shown=True),
    FailureClass.TIMEOUT: Fate(charged=True, retries=-1, change="resume from the checkpoint", shown=True),
    FailureClass.PREEMPTED: Fate(charged=False, retries=-1, change="resume from the checkpoint", shown=False),
    FailureClass.NODE_FAIL: Fate(charged=False, retries=3, change="resume from the checkpoint", shown=False),
    FailureClass.LOST: Fate(charged=False, retries=3, change="resume from the checkpoint", shown=False),
    FailureClass.CANCELLED: Fate(charged=False, retries=0, change="", shown=False),
    FailureClass.AGENT: Fate(charged=True, retries=0, change="", shown=True),
    # No failure of anything: a preparation has questions for the language model, which its job cannot ask.
    FailureClass.ASKS: Fate(charged=False, retries=0, change="the model is asked, and the recipe goes on", shown=True),
    FailureClass.ENVIRONMENT: Fate(charged=False, retries=2, change="", shown=False),
}
