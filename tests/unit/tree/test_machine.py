"""Any tree, grown in any order: visits, pending rounds and sums are always what the finished rounds make them."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hpc_trex.layout import SearchPaths
from hpc_trex.models import NodeState, PolicySettings
from hpc_trex.tree import events as ev
from hpc_trex.tree.check import _sums, rebuild
from hpc_trex.tree.policies import POLICIES, NodeStat
from hpc_trex.tree.store import Store
from tests.unit.tree.building import MEMORY, add, dump, fail, finish, new_store

pytestmark = pytest.mark.slow

SCORES = st.integers(min_value=-8, max_value=8).map(lambda number: number / 8)  # sums of these are exact
SETTINGS = PolicySettings()


class Tree(RuleBasedStateMachine):
    """A search beside a model of it in a few dictionaries."""

    @initialize(higher=st.booleans())
    def begin(self, higher: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hpc-trex-test-", dir=MEMORY))
        self.higher = higher
        self.store = new_store(self.folder, higher_is_better=higher)
        self.parent: dict[int, int | None] = {add(self.store, None): None}
        self.score: dict[int, float] = {}
        self.charged: set[int] = set()
        self.lost: set[int] = set()
        self.struck: set[int] = set()
        self.end(0, 0.5)

    def end(self, node: int, score: float) -> None:
        finish(self.store, node, score)
        self.score[node] = score

    def pending(self) -> list[int]:
        return [node for node in self.parent if node not in self.score.keys() | self.charged | self.lost]

    def below(self, node: int) -> set[int]:
        return {node}.union(*(self.below(child) for child, parent in self.parent.items() if parent == node))

    @rule(name=st.sampled_from(sorted(POLICIES)), seed=st.integers(0, 99))
    def expand(self, name: str, seed: int) -> None:
        chosen = POLICIES[name].select(self.store.stats(), SETTINGS, random.Random(seed), frozenset())
        assert chosen in self.score
        self.parent[add(self.store, chosen)] = chosen

    @precondition(lambda self: self.pending())
    @rule(data=st.data(), score=SCORES)
    def done(self, data: st.DataObject, score: float) -> None:
        self.end(data.draw(st.sampled_from(self.pending())), score)

    @precondition(lambda self: self.pending())
    @rule(data=st.data(), charged=st.booleans())
    def failed(self, data: st.DataObject, charged: bool) -> None:
        node = data.draw(st.sampled_from(self.pending()))
        fail(self.store, node, charged=charged)
        (self.charged if charged else self.lost).add(node)

    @precondition(lambda self: self.pending())
    @rule(data=st.data())
    def cancelled(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(self.pending()))
        self.store.record(ev.NodeEnded(node=node, state=NodeState.CANCELLED, charged=True))
        self.lost.add(node)

    @precondition(lambda self: (self.charged | self.lost) - self.struck)
    @rule(data=st.data())
    def reopened(self, data: st.DataObject) -> None:
        """``hpc-trex retry``: whatever the end of the round did to the sums is undone."""
        node = data.draw(st.sampled_from(sorted((self.charged | self.lost) - self.struck)))
        self.store.record(ev.NodeReopened(node=node))
        self.charged.discard(node)
        self.lost.discard(node)

    @rule(data=st.data(), score=SCORES)
    def rescored(self, data: st.DataObject, score: float) -> None:
        node = data.draw(st.sampled_from(sorted(self.score)))
        self.store.record(ev.NodeRescored(node=node, score=score, best_trial=2))
        self.score[node] = score

    @precondition(lambda self: len(self.score) > 1)
    @rule(data=st.data(), charged=st.booleans(), user=st.sampled_from(["", "eve"]))
    def strike(self, data: st.DataObject, charged: bool, user: str) -> None:
        """A round that is struck is as one that failed, charged or lost; the baseline stays."""
        node = data.draw(st.sampled_from(sorted(self.score.keys() - {0})))
        self.store.record(ev.NodeStruck(node=node, charged=charged, user=user))
        del self.score[node]
        self.struck.add(node)
        (self.charged if charged else self.lost).add(node)

    @precondition(lambda self: self.struck)
    @rule(data=st.data(), score=SCORES, user=st.sampled_from(["", "eve"]))
    def restored(self, data: st.DataObject, score: float, user: str) -> None:
        node = data.draw(st.sampled_from(sorted(self.struck)))
        self.store.record(ev.NodeRestored(node=node, score=score, best_trial=1, user=user))
        self.score[node] = score
        for found in (self.struck, self.charged, self.lost):
            found.discard(node)

    @rule(data=st.data(), score=SCORES)
    def restored_in_part(self, data: st.DataObject, score: float) -> None:
        """A trial of a round that stands was restored: its score moves, its visit stays."""
        node = data.draw(st.sampled_from(sorted(self.score)))
        self.store.record(ev.NodeRestored(node=node, score=score, best_trial=2, user="eve"))
        self.score[node] = score

    @rule()
    def crashed(self) -> None:
        self.store.close()
        self.store = Store.open(SearchPaths(self.folder))

    @invariant()
    def counts_are_right(self) -> None:
        if not hasattr(self, "store"):
            return
        low, high = min(self.score.values()), max(self.score.values())
        assert self.store.extremes() == (low, high)
        stats = self.store.stats()
        assert [stat.node for stat in stats] == sorted(self.parent)
        for stat in stats:
            below = self.below(stat.node)
            rewards = [self.reward(self.score[node], low, high) for node in below & self.score.keys()]
            visits = len(rewards) + len(below & self.charged)
            assert (stat.visits, stat.pending) == (visits, len(below & set(self.pending())))
            assert stat.q == pytest.approx(sum(rewards) / visits if visits else 0.5)
            assert stat.expandable == (stat.node in self.score)
            counted = [child for child, parent in self.parent.items() if parent == stat.node and child not in self.lost]
            assert stat.children == len(counted)
            own = int(stat.node in self.score or stat.node in self.charged)
            assert stat.visits == own + sum(child.visits for child in stats if child.parent == stat.node)

    @invariant()
    def rounds_in_memory_are_those_on_disk(self) -> None:
        if hasattr(self, "store"):
            assert self.store.nodes() == self.store.read_nodes()

    def reward(self, score: float, low: float, high: float) -> float:
        if low == high:
            return 0.5
        share = (score - low) / (high - low)
        return share if self.higher else 1 - share

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        try:
            self.end_all_and_rebuild()
        finally:
            self.store.close()
            shutil.rmtree(self.folder)

    def end_all_and_rebuild(self) -> None:
        for node in self.pending():
            self.end(node, 0.25)
        assert {stat.pending for stat in self.store.stats()} == {0}
        before, stats = dump(self.store), self.store.stats()
        assert list(_sums(self.store.db)) == [], "the sums are not what a recount makes them"
        self.store.close()
        rebuild(SearchPaths(self.folder))
        self.store = Store.open(SearchPaths(self.folder))
        assert dump(self.store) == before
        assert self.store.stats() == stats


Tree.TestCase.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
test_a_tree_grown_in_any_way_keeps_its_counts = Tree.TestCase


def test_a_rescored_round_moves_the_sums_by_the_difference_and_keeps_its_visit(store: Store) -> None:
    finish(store, add(store, None), 0.5)
    finish(store, add(store, 0), 1.0)
    finish(store, add(store, 1), 0.0)
    store.record(ev.NodeRescored(node=1, score=0.75, best_trial=1))
    assert store.extremes() == (0.0, 0.75)
    rewards = [0.5 / 0.75, 1.0, 0.0]
    assert [stat.reward for stat in store.stats()] == pytest.approx(rewards)
    assert [stat.q for stat in store.stats()] == pytest.approx([sum(rewards) / 3, 0.5, 0.0])
    assert [stat.visits for stat in store.stats()] == [3, 2, 1]


def sums(stats: list[NodeStat]) -> list[tuple[object, ...]]:
    """What must not depend on the order of arrival."""
    return [(stat.visits, stat.pending, stat.children, stat.q, stat.reward) for stat in stats]


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_order_in_which_results_arrive_changes_nothing(data: st.DataObject) -> None:
    """Six rounds at once, a charged and an uncharged failure among them, in two orders of arrival."""
    parents = [data.draw(st.integers(0, 2)) for _ in range(6)]
    scores = [data.draw(SCORES) for _ in range(6)]
    seen = []
    for order in (range(6), data.draw(st.permutations(range(6)))):
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder, new_store(Path(folder)) as store:
            finish(store, add(store, None), 0.0)
            for score in (0.5, -0.5):
                finish(store, add(store, 0), score)
            nodes = [add(store, parent) for parent in parents]
            for index in order:
                if index < 2:
                    fail(store, nodes[index], charged=index == 0)
                else:
                    finish(store, nodes[index], scores[index])
            seen.append(sums(store.stats()))
    assert seen[0] == seen[1]
