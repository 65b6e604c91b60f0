"""What a Researcher sees of the tree: the path from the root, the siblings, the key results; dev scores only.

The shape is that of ``hpc_trex.agents.protocol.TreeView``, by structure, so that the tree needs to know nothing of agents.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from hpc_trex.layout import SearchPaths
from hpc_trex.models import (
    FATES,
    GateView,
    Insight,
    JobKind,
    NodeView,
    RoundPlan,
    SearchConfig,
    TaskCard,
    trial_identity,
)
from hpc_trex.models.knowledge import Lesson
from hpc_trex.tree.gates import gates, is_rejected
from hpc_trex.tree.known import starting_knowledge

if TYPE_CHECKING:
    from hpc_trex.tree.reads import MoveRow, TreeReads

#: Of the key nodes, at most one in so many is a failure.
FAILURE_SHARE = 3


def _unsealed(node: NodeView) -> NodeView:
    """Return a round without its sealed test, which is out of every Researcher's sight."""
    trials = tuple(trial for trial in node.trials if trial.kind is not JobKind.TEST)
    return node if len(trials) == len(node.trials) else node.model_copy(update={"trials": trials})


class StoreView:
    """The tree of a store as a Researcher may see it."""

    def __init__(self, store: TreeReads, task: TaskCard, source_rows: Mapping[str, int]) -> None:
        self._store = store
        self._task = task
        self._source_rows = dict(source_rows)
        self._nodes: list[NodeView] = []
        self._clean: list[NodeView] = []

    @property
    def config(self) -> SearchConfig:
        return self._store.config

    @property
    def task(self) -> TaskCard:
        return self._task

    @property
    def source_rows(self) -> dict[str, int]:
        return dict(self._source_rows)

    @cached_property
    def prior_lessons(self) -> tuple[Lesson, ...]:
        """What earlier searches taught: frozen at launch, empty for a search that started from nothing."""
        known = starting_knowledge(SearchPaths(self._store.root))
        return known.lessons if known else ()

    @property
    def noise_sd(self) -> float | None:
        noise = self._store.noise()
        return noise[0] if noise else None

    def node(self, node: int) -> NodeView:
        """Return one round with its trials."""
        return _unsealed(self._store.node(node))

    def path(self, node: int) -> list[NodeView]:
        """Return the rounds from the root to ``node``, both included."""
        return [self.node(one) for one in self._store.path(node)]

    def siblings(self, node: int) -> list[NodeView]:
        """Return the other children of ``node``'s parent."""
        parent = self._store.node(node).parent
        return [] if parent is None else [one for one in self.children(parent) if one.id != node]

    def children(self, node: int) -> list[NodeView]:
        """Return the rounds that were tried from ``node``, those under way included."""
        return [self.node(child) for child in self._store.node(node).children]

    def nodes(self) -> list[NodeView]:
        """Return all rounds in the order of design; one that did not change is the same object as the last time."""
        nodes = self._store.nodes()
        same = map(operator.is_, nodes, self._nodes)  # ends with the shorter of the two
        for number in [number for number, kept in enumerate(same) if not kept]:
            self._clean[number] = _unsealed(nodes[number])
        self._clean += [_unsealed(node) for node in nodes[len(self._nodes) :]]
        self._nodes = nodes
        return list(self._clean)

    def moves(self) -> list[MoveRow]:
        """Return the outcome of every round's kind of change, in the order of design."""
        return self._store.moves()

    def insights(self) -> list[Insight]:
        """Return the lessons that hold now, in the order in which they were drawn."""
        return self._store.insights()

    def best(self) -> NodeView | None:
        """Return the round with the best dev score so far."""
        best = self._store.best_node()
        return None if best is None else self.node(best)

    def key_nodes(self, count: int = 6) -> list[NodeView]:
        """Return the marked results of the whole tree: rounds by the size of their gain or loss over their parent, most
        telling first, then one round for each class of failure that is its design's fault, the newest of its class.

        Gains and losses within twice the noise, where that is known, are no results and left out.
        """
        moves = self._store.moves()
        floor = 2 * (self.noise_sd or 0.0)
        marked = sorted(
            (move for move in moves if move.gain is not None and abs(move.gain) > floor),
            key=lambda move: (-abs(move.gain or 0.0), move.node),
        )
        failures = self._failures()[: count // FAILURE_SHARE]
        chosen = [move.node for move in marked[: count - len(failures)]] + failures
        return [self.node(node) for node in chosen]

    def _failures(self) -> list[int]:
        """Return the newest failed round of each class that a Researcher is shown, newest first."""
        newest = {failure: node for node, failure in self._store.failures() if FATES[failure].shown}
        return sorted(newest.values(), reverse=True)

    def gates(self) -> list[GateView]:
        """Return what persons were asked, and what they said, oldest first."""
        return gates(self._store)

    def is_known(self, plan: RoundPlan) -> bool:
        """Tell whether every trial of the plan has run, or is running, already, or a person has rejected the plan."""
        if is_rejected(self._store, plan):
            return True
        base, task = self._store.digests()
        return all(
            self._store.is_tried(trial_identity(plan.data, trial, base=base, task=task)) for trial in plan.trials
        )
