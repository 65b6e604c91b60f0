"""The numbers that a policy reads, kept in memory and brought up to date by what changed.

The sums live in the database (:mod:`hpc_trex.tree.apply`). The reward of a score is affine, ``(score - low) / (high -
low)``, mirrored where less is better, so the mean reward of a subtree follows from its sums and the search's extremes:
a new best or worst score moves every Q without any sum being touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hpc_trex.models import NodeState
from hpc_trex.tree.policies import NodeStat

if TYPE_CHECKING:
    from sqlite_utils import Database

_COLUMNS = "id, parent, depth, state, score, charged, scored, score_sum, failures, pending, children, ended_seq"
_ALL = f"SELECT {_COLUMNS} FROM nodes ORDER BY id"  # noqa: S608
_PATH = f"""
WITH RECURSIVE up (id) AS (
    SELECT ? UNION ALL SELECT nodes.parent FROM nodes JOIN up ON nodes.id = up.id WHERE nodes.parent IS NOT NULL
)
SELECT {_COLUMNS} FROM nodes WHERE id IN up ORDER BY id
"""  # noqa: S608


class Scale(NamedTuple):
    """The lowest and highest score of the search so far, and which end is the good one."""

    low: float
    high: float
    higher_is_better: bool

    def mean(self, total: float, count: int) -> float:
        """Return the mean reward of ``count`` scores that add up to ``total``; 0.5 where all scores are equal.

        It is held within 0 and 1, which rounding of a long sum could leave by a hair.
        """
        if self.high <= self.low:
            return 0.5
        share = (total / count - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, share if self.higher_is_better else 1 - share))

    def reward(self, score: float) -> float:
        """Return the reward of one score."""
        return self.mean(score, 1)


class _Sums(NamedTuple):
    """One row of the database."""

    node: int
    parent: int | None
    depth: int
    state: str
    score: float | None
    charged: int
    scored: int
    score_sum: float
    failures: int
    pending: int
    children: int
    ended_seq: int | None

    def stat(self, scale: Scale) -> NodeStat:
        visits = self.scored + self.failures
        q = scale.mean(self.score_sum, self.scored) * self.scored / visits if self.scored else 0.0
        reward = None if self.score is None else scale.reward(self.score)
        return NodeStat(
            node=self.node,
            parent=self.parent,
            depth=self.depth,
            order=self.ended_seq or 0,
            state=NodeState(self.state),
            visits=visits,
            pending=self.pending,
            children=self.children,
            q=q if visits else 0.5,
            reward=0.0 if self.charged else reward,
            expandable=self.state == NodeState.DONE,
        )


class Standing:
    """All nodes' numbers: read once, then refreshed along the path of each node that changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sums: list[_Sums] | None = None
        self._stats: list[NodeStat] = []
        self._scale: Scale | None = None
        self._changed: set[int] = set()

    def changed(self, node: int) -> None:
        """Note that a node's sums, and so its ancestors', are no longer what was read."""
        if self._sums is not None:
            self._changed.add(node)

    def forget(self) -> None:
        """Read everything again next time."""
        self._sums = None
        self._changed.clear()

    def stats(self, scale: Scale) -> list[NodeStat]:
        """Return all nodes in order of their numbers."""
        if self._sums is None:
            self._sums = [_Sums(*row) for row in self._database.conn.execute(_ALL)]
            self._scale = None
        touched = self._refresh(self._sums)
        if scale != self._scale:
            self._stats = [sums.stat(scale) for sums in self._sums]
            self._scale = scale
        else:
            for node in sorted(touched):
                self._stats[node : node + 1] = [self._sums[node].stat(scale)]
        return list(self._stats)

    def _refresh(self, sums: list[_Sums]) -> set[int]:
        touched = set()
        for node in sorted(self._changed):
            for row in self._database.conn.execute(_PATH, [node]):
                fresh = _Sums(*row)
                sums[fresh.node : fresh.node + 1] = [fresh]  # numbers have no gaps: replaces, or appends a new last one
                touched.add(fresh.node)
        self._changed.clear()
        return touched
