"""What readers get out of the tree: the records behind ``--json``, the report and the Researcher's context."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hpc_trex.models.base import Record
from hpc_trex.models.gate import GateView, PersonTime
from hpc_trex.models.job import JobResult, Score
from hpc_trex.models.plan import RoundPlan, TrainConfig, TrialPlan
from hpc_trex.models.repair import How
from hpc_trex.models.review import ClaimFinding, OpeningView
from hpc_trex.models.states import AttemptState, FailureClass, JobKind, NodeState, SearchState, TrialState


class AttemptView(Record):
    """One job."""

    node: int
    trial: int
    attempt: int
    kind: JobKind
    token: str
    state: AttemptState
    job_id: str | None = None
    failure: FailureClass | None = None
    message: str = ""
    reason: str = ""
    """The scheduler's own word while it waits, e.g. ``Resources``."""
    host: str = ""
    running_at: str | None = None
    """When it was last recorded to run; one that waits all the same was put back into the queue."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpus: int = 0
    cpus: int = 0
    minutes: int = 0
    """The time limit that it was given."""
    progress_step: int = 0
    """The last step that a checkpoint of this attempt holds."""
    directory: str = ""
    user: str = ""
    account: str = ""
    superseded: bool = False
    """The trial was opened again since (``hpc-trex retry``): what follows is counted anew."""


class TrialView(Record):
    """One trial with its outcome. ``replicate_of``: the trial whose configuration it repeats with another seed."""

    node: int
    trial: int
    state: TrialState
    kind: JobKind
    plan: TrialPlan | None = None
    seed: int = 0
    identity: str = ""
    replicate_of: int | None = None
    reused_from: tuple[int, int] | None = None
    """(node, trial) whose result was taken over, because it is the same experiment."""
    score: float | None = None
    result: JobResult | None = None
    failure: FailureClass | None = None
    message: str = ""
    micro_batch_size: int | None = None
    """What an OOM repair set it to."""
    how: How = {}
    """What repairs set of how it is computed: fields of ``TrainConfig`` that leave the experiment the same."""
    repaired_from: str = ""
    """Identity of the planned experiment, where a repair made it another one."""
    findings: tuple[ClaimFinding, ...] | None = None
    """What its raw records say of its score; None: nobody has looked."""
    struck: bool = False
    """It is no evidence; then ``score`` is None."""
    claimed: float | None = None
    """The score of one that is struck."""

    @property
    def effective(self) -> TrainConfig | None:
        """What its next job is given: its plan, with what repairs set of how it is computed."""
        if self.plan is None:
            return None
        micro = {} if self.micro_batch_size is None else {"micro_batch_size": self.micro_batch_size}
        return self.plan.train.model_copy(update=micro | self.how)


class NodeView(Record):
    """One round."""

    id: int
    parent: int | None
    depth: int
    state: NodeState
    plan: RoundPlan | None = None
    """None for the baseline."""
    move: str = ""
    score: float | None = None
    """Best trial's mean over its seeds."""
    best_trial: int | None = None
    reward: float | None = None
    """The score normalised within the search, 0 to 1; 0 of a charged failure."""
    visits: int = 0
    pending: int = 0
    children: tuple[int, ...] = ()
    data_from: int | None = None
    """The node whose prepared data this round uses (itself, or an earlier one with the same recipe)."""
    failure: FailureClass | None = None
    message: str = ""
    report: str = ""
    """The Researcher's diagnosis."""
    trials: tuple[TrialView, ...] = ()
    cost_gpu_hours: float = 0.0
    cost_cpu_hours: float = 0.0
    struck: bool = False
    """The round as a whole is no evidence (state ``struck``)."""


class Insight(Record):
    """A lesson, with the nodes that support it."""

    text: str
    nodes: tuple[int, ...]
    kind: str = ""
    """``move:NAME``: measured by rules; ``llm:WORD``: told by a language model."""
    direction: Literal["", "helps", "hurts", "depends", "neutral", "withdrawn"] = ""
    """What it claims of its kind; empty where that is not told. ``withdrawn``: no claim is made any more."""
    effect: float | None = None
    """Mean gain in points of the score, signed so that more is better."""
    errors: float | None = None
    """The same in standard errors of a difference: effect, pairs and noise in one figure."""
    pairs: int | None = None
    """Observations behind it."""


class BestView(Record):
    """The best (or chosen) node against the baseline."""

    node: int
    trial: int
    dev: float
    dev_seeds: int = 1
    dev_low: float | None = None
    dev_high: float | None = None
    test: Score | None = None
    gain: float | None = None


class CostView(Record):
    """What a search has used so far."""

    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    tokens: int = 0
    money: float = 0.0


class Spent(Record):
    """What a search, or a part of it, has used, and what its jobs that are not over may still use at worst."""

    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    reserved_gpu_hours: float = 0.0
    reserved_cpu_hours: float = 0.0
    jobs: int = 0


class SpentRow(Spent):
    """A line of ``hpc-trex budget``: one round, user or account."""

    key: str


class StatusView(Record):
    """``hpc-trex status --json`` without its ``schema`` key."""

    search: str
    directory: str
    task: str
    model: str
    state: SearchState
    message: str = ""
    nodes: dict[str, int] = {}
    trials: dict[str, int] = {}
    baseline: BestView | None = None
    best: BestView | None = None
    chosen: BestView | None = None
    test_difference: Score | None = None
    """Chosen minus baseline on the sealed test, paired bootstrap."""
    test_openings: tuple[OpeningView, ...] = ()
    """Each time that a job was let at the sealed test."""
    noise_sd: float | None = None
    cost: CostView = CostView()
    spent: Spent = Spent()
    gpu_hours_cap: float | None = None
    cpu_hours_cap: float | None = None
    max_nodes: int = 0
    waits_for: GateView | None = None
    """What a person must decide before another round is designed."""
    person: PersonTime = PersonTime()
    running: tuple[AttemptView, ...] = ()
    insights: tuple[Insight, ...] = Field(default=())
