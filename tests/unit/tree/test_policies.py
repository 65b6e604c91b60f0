"""Each policy's rule, and that no expandable node is out of its reach."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.models import NodeState, PolicySettings
from hpc_trex.tree.policies import POLICIES, NodeStat, children_cap

SETTINGS = PolicySettings(c=0.5, widen_k=2, widen_alpha=0.5)


def stat(node: int, q: float = 0.5, **more: object) -> NodeStat:
    values: dict[str, object] = {
        "parent": 0 if node else None,
        "depth": int(node > 0),
        "order": node + 1,
        "state": NodeState.DONE,
        "visits": 1,
        "pending": 0,
        "children": 0,
        "reward": q,
        "expandable": True,
    }
    return NodeStat(node=node, q=q, **(values | more))  # type: ignore[arg-type]


def select(name: str, stats: list[NodeStat], *, settings: PolicySettings = SETTINGS, exclude: tuple[int, ...] = ()):
    return POLICIES[name].select(stats, settings, random.Random(0), frozenset(exclude))


def test_uct_takes_the_highest_bound_by_the_formula() -> None:
    stats = [stat(0, 0.4, visits=9, pending=1), stat(1, 0.6, visits=6), stat(2, 0.5, visits=1, pending=1)]
    bounds = [one.q + 0.5 * math.sqrt(math.log(10) / (one.visits + one.pending)) for one in stats]
    assert select("uct", stats) == bounds.index(max(bounds)) == 2


def test_uct_without_exploration_is_greedy_on_subtrees() -> None:
    stats = [stat(0, 0.4, visits=3), stat(1, 0.6), stat(2, 0.5)]
    assert select("uct", stats, settings=PolicySettings(c=0)) == 1


def test_uct_spreads_rounds_that_run_at_once() -> None:
    """Each pending round lowers the bonus where it runs, so that the next one goes elsewhere."""
    stats = [stat(0, 0.0, visits=3), stat(1, 0.6), stat(2, 0.55)]
    first = select("uct", stats)
    assert first == 1
    stats[1] = stat(1, 0.6, pending=1, children=1)
    assert select("uct", stats) == 2


def test_uct_takes_the_lowest_number_of_equals() -> None:
    assert select("uct", [stat(0, 0.2, visits=3), stat(1), stat(2)]) == 1


@pytest.mark.parametrize("name", ["uct", "greedy"])
def test_a_node_at_its_cap_is_passed_over_until_all_are(name: str) -> None:
    best = stat(1, 0.9, children=2)
    assert children_cap(best, SETTINGS) == 2
    assert select(name, [stat(0, 0.1, visits=3), best]) == 0
    full = [stat(0, 0.1, visits=4, children=4), best]
    assert select(name, full) == 1


def test_greedy_takes_the_best_own_reward() -> None:
    assert select("greedy", [stat(0, 0.9, reward=0.2), stat(1, 0.1, reward=0.8)]) == 1


def test_sequential_goes_on_from_what_ended_last_or_from_its_parent_if_that_failed() -> None:
    stats = [stat(0, order=1), stat(1, order=9), stat(2, order=5)]
    assert select("sequential", stats) == 1
    stats.append(stat(3, parent=2, order=10, state=NodeState.FAILED, expandable=False, reward=0.0))
    assert select("sequential", stats) == 2
    stats.append(stat(4, parent=3, order=0, state=NodeState.PENDING, expandable=False, reward=None))
    assert select("sequential", stats) == 2
    assert select("sequential", stats, exclude=(2,)) == 1


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_nothing_is_chosen_where_nothing_can_be(name: str) -> None:
    failed = stat(0, state=NodeState.FAILED, expandable=False)
    for stats, exclude in (([], ()), ([failed], ()), ([stat(0)], (0,))):
        assert select(name, stats, exclude=exclude) is None


@pytest.mark.parametrize("name", sorted(POLICIES))
@given(data=st.data())
def test_every_expandable_node_can_be_reached(name: str, data: st.DataObject) -> None:
    """As the ideas for one node after another run out, each is chosen once, and none that cannot be expanded."""
    stats = [
        stat(
            node,
            data.draw(st.floats(0, 1)),
            parent=None if node == 0 else data.draw(st.integers(0, node - 1)),
            visits=data.draw(st.integers(1, 30)),
            pending=data.draw(st.integers(0, 4)),
            children=data.draw(st.integers(0, 9)),
            expandable=node == 0 or data.draw(st.booleans()),
        )
        for node in range(data.draw(st.integers(1, 8)))
    ]
    reached: list[int] = []
    while (chosen := select(name, stats, exclude=tuple(reached))) is not None:
        reached.append(chosen)
    assert sorted(reached) == [one.node for one in stats if one.expandable]
