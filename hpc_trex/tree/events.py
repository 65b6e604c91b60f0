"""The events of a search: the truth from which ``tree.db`` can be rebuilt (DESIGN section 5). One JSON object a line in
``events.jsonl``, numbered by ``seq`` without gaps, written and flushed before anything else changes on its account.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from hpc_trex.models import (
    FailureClass,
    GateName,
    Insight,
    JobKind,
    JobResult,
    LlmUsage,
    NodeState,
    Record,
    RoundPlan,
    Score,
    SearchConfig,
    SearchState,
    TrialPlan,
    TrialState,
)
from hpc_trex.tree.openings import TestOpened
from hpc_trex.tree.repairs import RepairDecided
from hpc_trex.tree.review_events import ClaimChecked, NodeRestored, NodeStruck


class SearchCreated(Record):
    """The first event."""

    type: Literal["search_created"] = "search_created"
    config: SearchConfig
    task_digest: str
    base_digest: str
    higher_is_better: bool = True
    """Direction of the task's main metric."""


class ConfigChanged(Record):
    """``resume`` raised a budget or moved the search to another profile."""

    type: Literal["config_changed"] = "config_changed"
    config: SearchConfig


class SearchStateChanged(Record):
    """The search went on, paused, began to finish, or ended."""

    type: Literal["search_state"] = "search_state"
    state: SearchState
    message: str = ""


class NodeAdded(Record):
    """A round was designed. It is pending, which counts as a visit of it and of all its ancestors."""

    type: Literal["node_added"] = "node_added"
    node: int
    parent: int | None
    plan: RoundPlan | None
    recipe_digest: str = ""
    """Digest of the resolved data recipe with its seed; empty for the baseline."""
    data_from: int | None = None
    """The node whose prepared data is used: the node itself, or an earlier one with the same recipe."""


class TrialAdded(Record):
    """A trial of a round: planned, a repeat with another seed, or the sealed test of the chosen node."""

    type: Literal["trial_added"] = "trial_added"
    node: int
    trial: int
    kind: JobKind
    plan: TrialPlan | None = None
    seed: int = 0
    identity: str = ""
    replicate_of: int | None = None
    reused_from: tuple[int, int] | None = None


class AttemptIntended(Record):
    """A job is about to be submitted under this token. Trial 0 is the round's preparation."""

    type: Literal["attempt_intended"] = "attempt_intended"
    node: int
    trial: int
    attempt: int
    kind: JobKind
    token: str
    directory: str
    """Relative to the search directory."""
    gpus: int = 0
    cpus: int = 0
    minutes: int = 0
    """The time limit: ``gpus`` and ``cpus`` times this is reserved until the attempt ends."""
    micro_batch_size: int | None = None
    user: str = ""
    account: str = ""
    """Who asked for the job, and the account that it was asked for under; empty in old logs."""


class AttemptQueued(Record):
    """The scheduler has the job."""

    type: Literal["attempt_queued"] = "attempt_queued"
    token: str
    job_id: str


class AttemptRunning(Record):
    """The job was seen running."""

    type: Literal["attempt_running"] = "attempt_running"
    token: str
    host: str = ""


class AttemptEnded(Record):
    """The job is over: ``result`` (without its curve) where it wrote one, else the failure read from the scheduler."""

    type: Literal["attempt_ended"] = "attempt_ended"
    token: str
    succeeded: bool
    result: JobResult | None = None
    failure: FailureClass | None = None
    message: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpus: int = 0
    progress_step: int = 0


class TrialEnded(Record):
    """A trial has its final state; no attempt of it will follow."""

    type: Literal["trial_ended"] = "trial_ended"
    node: int
    trial: int
    state: TrialState
    score: float | None = None
    result: JobResult | None = None
    failure: FailureClass | None = None
    message: str = ""


class TrialReopened(Record):
    """A person wants a trial that failed or was cancelled to run again (trial 0: the round's preparation). Its attempts
    are counted anew. Also: a trial whose job a pause has ended.
    """

    type: Literal["trial_reopened"] = "trial_reopened"
    node: int
    trial: int


class NodeReopened(Record):
    """A round that failed or was cancelled is under way again: what its end did to the sums of its ancestors is undone."""

    type: Literal["node_reopened"] = "node_reopened"
    node: int


class NodeEnded(Record):
    """A round is over. ``DONE`` has a score and is backed up; ``FAILED`` (or ``STRUCK``) and charged is backed up with
    reward 0; not charged it leaves no visit.
    """

    type: Literal["node_ended"] = "node_ended"
    node: int
    state: NodeState
    score: float | None = None
    best_trial: int | None = None
    failure: FailureClass | None = None
    charged: bool = False
    message: str = ""


class NodeRescored(Record):
    """Repeats with other seeds changed the score of a finished round; visits stay."""

    type: Literal["node_rescored"] = "node_rescored"
    node: int
    score: float
    best_trial: int


class NodeDiagnosed(Record):
    """The Researcher's reading of a finished round."""

    type: Literal["node_diagnosed"] = "node_diagnosed"
    node: int
    report: str
    insights: tuple[Insight, ...] = ()


class AgentCalled(Record):
    """An agent has asked a language model. Question and answer stand in ``llm/`` of the search under the same name."""

    type: Literal["agent_called"] = "agent_called"
    call: str
    node: int
    role: str
    model: str
    usage: LlmUsage = LlmUsage()
    error: str = ""


class ServerIntended(Record):
    """A job that serves the agents' language model is about to be submitted under this token (``--llm-serve``)."""

    type: Literal["server_intended"] = "server_intended"
    number: int
    token: str
    directory: str
    """Relative to the search directory."""
    gpus: int = 0
    cpus: int = 0
    minutes: int = 0
    user: str = ""
    account: str = ""


class ServerQueued(Record):
    """The scheduler has the server's job."""

    type: Literal["server_queued"] = "server_queued"
    token: str
    job_id: str


class ServerEnded(Record):
    """The server's job is over."""

    type: Literal["server_ended"] = "server_ended"
    token: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    message: str = ""


class NoiseMeasured(Record):
    """Pooled standard deviation of the score between seeds, over ``groups`` repeated trials."""

    type: Literal["noise_measured"] = "noise_measured"
    sd: float
    groups: int


class Chosen(Record):
    """The final choice, by dev mean over seeds; the test follows."""

    type: Literal["chosen"] = "chosen"
    node: int
    trial: int
    dev: float
    seeds: int


class TestScored(Record):
    """The sealed test of the chosen node against the baseline."""

    type: Literal["test_scored"] = "test_scored"
    node: int
    trial: int
    scores: dict[str, Score]
    """``base``, ``chosen`` and ``difference`` (paired bootstrap)."""


class GateAsked(Record):
    """The search waits for a person (``--approve``). ``plan``: what was proposed, so that nobody proposes it anew."""

    type: Literal["gate_asked"] = "gate_asked"
    node: int
    gate: GateName
    number: int
    parent: int | None = None
    text: str
    plan: RoundPlan | None = None
    identity: str = ""
    """Of the plan: the digest of its trials' identities."""


class GateDecided(Record):
    """A person has approved or rejected what a gate asked."""

    type: Literal["gate_decided"] = "gate_decided"
    node: int
    gate: GateName
    number: int
    approved: bool
    note: str = ""
    user: str = ""


class Note(Record):
    """Something a person should find in the history, e.g. a refused plan or an outage."""

    type: Literal["note"] = "note"
    text: str
    node: int | None = None


Event = Annotated[
    SearchCreated
    | ConfigChanged
    | SearchStateChanged
    | NodeAdded
    | TrialAdded
    | AttemptIntended
    | AttemptQueued
    | AttemptRunning
    | AttemptEnded
    | TrialEnded
    | TrialReopened
    | RepairDecided
    | NodeReopened
    | NodeEnded
    | NodeRescored
    | ClaimChecked
    | NodeStruck
    | NodeRestored
    | NodeDiagnosed
    | AgentCalled
    | ServerIntended
    | ServerQueued
    | ServerEnded
    | NoiseMeasured
    | Chosen
    | TestOpened
    | TestScored
    | GateAsked
    | GateDecided
    | Note,
    Field(discriminator="type"),
]


class EventLine(Record):
    """One line of ``events.jsonl``. ``time`` (UTC, ISO 8601) is for people; nothing is decided by it."""

    seq: int
    time: str
    event: Event


EVENT_LINE: TypeAdapter[EventLine] = TypeAdapter(EventLine)
