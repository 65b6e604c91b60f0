"""The seam between the controller and whoever designs rounds: playbook, LLM, TPE, random."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from hpc_trex.agents.mending import Failed, GivesUp, Repaired
from hpc_trex.models import GateView, Insight, LlmCall, NodeView, RoundPlan, SearchConfig, TaskCard
from hpc_trex.models.asking import AnsweredRows
from hpc_trex.models.cases import CaseReport
from hpc_trex.samples import EvaluatedRow
from hpc_trex.tree.reads import MoveRow

#: One evaluated dev row of a trial.
Sample = EvaluatedRow

#: What a kind of change did, round by round.
MoveOutcome = MoveRow


class TreeView(Protocol):
    """The tree as a Researcher may see it: dev scores only, never the sealed test."""

    @property
    def config(self) -> SearchConfig: ...

    @property
    def task(self) -> TaskCard: ...

    @property
    def source_rows(self) -> dict[str, int]:
        """Rows of each training source."""
        ...

    @property
    def noise_sd(self) -> float | None:
        """Measured standard deviation of a score between seeds; None before it is measured."""
        ...

    def node(self, node: int) -> NodeView:
        """Return one round with its trials."""
        ...

    def path(self, node: int) -> list[NodeView]:
        """Return the rounds from the root to ``node``, both included: P(v) of the paper."""
        ...

    def siblings(self, node: int) -> list[NodeView]:
        """Return the other children of ``node``'s parent: S(v)."""
        ...

    def children(self, node: int) -> list[NodeView]:
        """Return the rounds that were tried from ``node``, pending ones included."""
        ...

    def key_nodes(self, count: int = 6) -> list[NodeView]:
        """Return the marked successes and failures of the whole tree: C(T)."""
        ...

    def moves(self) -> list[MoveOutcome]:
        """Return the outcome of every move so far, pending ones included, in the order of design."""
        ...

    def insights(self) -> list[Insight]:
        """Return the lessons that hold now, in the order in which they were drawn."""
        ...

    def best(self) -> NodeView | None:
        """Return the round with the best dev score so far (the baseline when nothing is better)."""
        ...

    def nodes(self) -> list[NodeView]:
        """Return all rounds in the order of design."""
        ...

    def gates(self) -> list[GateView]:
        """Return what persons were asked (``launch --approve``) and what they said, oldest first."""
        ...

    def is_known(self, plan: RoundPlan) -> bool:
        """Tell whether every trial of the plan has run, or is running, already, or a person has rejected the plan."""
        ...


class Diagnosis(NamedTuple):
    """What a Researcher reads from a finished round."""

    report: str
    insights: Sequence[Insight]


class Researcher(Protocol):
    """Designs rounds and reads their results. Called from one thread only; none of the calls but ``wait`` may wait."""

    name: str

    listens: bool
    """Whether it hears what a person says at a gate: it asks for its direction by itself (``AwaitsApproval``), and its
    next reading of the baseline is another one after the first was rejected.
    """

    @property
    def thinking(self) -> bool:
        """Whether an answer is on its way for which the tick must look again, though nothing else came in."""
        ...

    @property
    def asking(self) -> bool:
        """Whether somebody is being asked just now, whose answer would be lost with this process."""
        ...

    def begun(self, view: TreeView) -> int | None:
        """Return the parent of the next round where its design has begun already (perhaps by an earlier controller)."""
        ...

    def wait(self, seconds: float) -> None:
        """Sleep so long, or until an answer has come in."""
        ...

    def close(self) -> None:
        """End what is under way: the controller stops."""
        ...

    def new_calls(self, known: Container[str]) -> list[LlmCall]:
        """Return the calls to a language model that have come to an end and whose names are not ``known``."""
        ...

    def propose(self, view: TreeView, parent: int, *, seed: int) -> RoundPlan:
        """Design one new child of ``parent``. ``seed`` makes it repeatable; a new seed follows a refused plan.

        Raises ``NothingToPropose`` when it has no idea left for this parent, ``StillThinking`` while it works on it,
        ``AwaitsApproval`` when a person must agree to its direction first, and
        ``TrexError`` when it cannot work now (an endpoint that is away, a cap that is reached).
        """
        ...

    def repair(self, view: TreeView, failed: Failed) -> Repaired | GivesUp:
        """Mend a job that failed by its own settings or recipe, where no rule does; the Executor's part.

        Raises ``StillThinking`` while it works on it, and ``TrexError`` when it cannot work now.
        """
        ...

    def ask_rows(self, node: int, attempt: int, file: Path) -> AnsweredRows:
        """Have a language model answer the questions that the preparation of a round's data has left in ``file``.

        Raises ``NothingToPropose`` where nobody may be asked, ``StillThinking`` meanwhile, ``BudgetReached`` at a cap, and
        other ``TrexError`` when nobody can be asked now.
        """
        ...

    def diagnose(
        self, view: TreeView, node: int, samples: Iterable[Sample], cases: CaseReport | None = None
    ) -> Diagnosis:
        """Read a finished round's best trial: its bad cases, what they were in the parent, lessons.

        ``cases``: the bad rows by group, and how they moved; None for a round without evaluated rows.
        Raises ``StillThinking`` while it works on it.
        """
        ...


class StillThinking(Exception):
    """The Researcher works on it beside the jobs; the next tick asks again."""


class AwaitsApproval(Exception):
    """The Researcher goes on when a person has approved this direction, or this plan that stands for it."""

    def __init__(self, text: str, plan: RoundPlan | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.plan = plan


class NothingToPropose(Exception):
    """The Researcher has no new round for this parent; the controller tries another parent."""
