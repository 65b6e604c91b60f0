"""Which node is expanded next (DESIGN section 6). A policy sees numbers only, never a plan.

``uct`` chooses over all expandable nodes, not by a walk from the root: ``Q(v) + c * sqrt(ln N / n(v))`` with Q the mean
backed-up reward of v's subtree, n(v) its visits and N the root's. Rounds under way count as visits in n and N but
leave Q alone ("watching the unobserved", Liu et al. 2020): the bonus of a subtree that is being explored shrinks, so
parallel rounds spread out. A virtual loss (reward 0 until the result is there) would also pull Q down, and so punish the
best subtree for being tried.

The cap on children, ``ceil(k * n ** alpha)``, keeps one node from taking all rounds. It orders the choice and never ends a
search: when every candidate stands at its cap, the best of them is taken all the same.
"""

# ruff: noqa: ARG002 # all rules have one signature
from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from hpc_trex.models import NodeState, PolicySettings


class NodeStat(NamedTuple):
    """One node as a policy sees it. ``visits`` and ``pending`` are those of its subtree, itself included."""

    node: int
    parent: int | None
    depth: int
    order: int
    """Number of the event that ended the round: the order of arrival; 0 while it is under way."""
    state: NodeState
    visits: int
    pending: int
    children: int
    """Own children that are under way, finished or failed by their own fault."""
    q: float
    """Mean backed-up reward, 0 to 1; 0.5 before the first visit."""
    reward: float | None
    """Its own; 0 of a charged failure, None before the end and of a round lost to the infrastructure."""
    expandable: bool


class Policy(Protocol):
    """A rule that chooses the node which gets the next child."""

    def select(
        self, stats: Sequence[NodeStat], settings: PolicySettings, rng: random.Random, exclude: frozenset[int]
    ) -> int | None:
        """Return a node, or None when no expandable one is left outside ``exclude``.

        ``stats`` holds every node, in order of its number. ``exclude``: nodes for which the Researcher has no idea.
        """
        ...


def children_cap(stat: NodeStat, settings: PolicySettings) -> int:
    """Return how many children a node may have by now."""
    return math.ceil(settings.widen_k * math.pow(stat.visits + stat.pending, settings.widen_alpha))


def _candidates(stats: Sequence[NodeStat], settings: PolicySettings, exclude: frozenset[int]) -> list[NodeStat]:
    """Return the expandable nodes below their cap; where there is none, the expandable nodes."""
    expandable = [stat for stat in stats if stat.expandable and stat.node not in exclude]
    return [stat for stat in expandable if stat.children < children_cap(stat, settings)] or expandable


class Uct:
    """The highest upper confidence bound; of equal ones the lowest number."""

    def select(
        self, stats: Sequence[NodeStat], settings: PolicySettings, rng: random.Random, exclude: frozenset[int]
    ) -> int | None:
        candidates = _candidates(stats, settings, exclude)
        if not candidates:
            return None
        root = stats[0]
        bonus = settings.c * math.sqrt(math.log(max(1, root.visits + root.pending)))
        # max keeps the first of equals, and stats are in order of number
        return max(candidates, key=lambda stat: stat.q + bonus / math.sqrt(stat.visits + stat.pending)).node


class Greedy:
    """The best own reward; of equal ones the lowest number."""

    def select(
        self, stats: Sequence[NodeStat], settings: PolicySettings, rng: random.Random, exclude: frozenset[int]
    ) -> int | None:
        candidates = _candidates(stats, settings, exclude)
        return max(candidates, key=lambda stat: stat.reward or 0.0).node if candidates else None


class Sequential:
    """The round that ended last, or its parent if it failed; no cap on children."""

    def select(
        self, stats: Sequence[NodeStat], settings: PolicySettings, rng: random.Random, exclude: frozenset[int]
    ) -> int | None:
        for stat in sorted((stat for stat in stats if stat.order), key=lambda stat: -stat.order):
            target = stat if stat.expandable or stat.parent is None else stats[stat.parent]
            if target.expandable and target.node not in exclude:
                return target.node
        return None


class Uniform:
    """Any expandable node, each with equal chance: what the other rules must beat."""

    def select(
        self, stats: Sequence[NodeStat], settings: PolicySettings, rng: random.Random, exclude: frozenset[int]
    ) -> int | None:
        nodes = [stat.node for stat in stats if stat.expandable and stat.node not in exclude]
        return rng.choice(nodes) if nodes else None


POLICIES: dict[str, Policy] = {"uct": Uct(), "greedy": Greedy(), "sequential": Sequential(), "random": Uniform()}
