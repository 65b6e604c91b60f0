"""What a Researcher sees of the tree."""

from __future__ import annotations

import pytest

from hpc_trex.models import FailureClass, RoundPlan, Source, TaskCard, trial_identity
from hpc_trex.tree import events as ev
from hpc_trex.tree.context import StoreView
from hpc_trex.tree.store import Store
from tests.unit.tree.building import add, add_trial, done, fail, plan

CARD = TaskCard(name="mini", sources={"train": Source(path="a.jsonl")}, dev=Source(path="b"), test=Source(path="c"))


@pytest.fixture
def view(store: Store) -> StoreView:
    """0 (0.5) has children 1 (0.8) and 2 (0.45); 1 has 3 (0.82), a failure 4 and 5 under way; 2 has failures 6 and 7."""
    for parent, score in ((None, 0.5), (0, 0.8), (0, 0.45), (1, 0.82)):
        done(store, parent, score)
    fail(store, add(store, 1), charged=True, failure=FailureClass.OOM)
    add(store, 1)
    fail(store, add(store, 2), charged=True, failure=FailureClass.OOM)
    fail(store, add(store, 2), charged=False, failure=FailureClass.NODE_FAIL)
    return StoreView(store, CARD, {"train": 9})


def ids(nodes: list) -> list[int]:
    return [node.id for node in nodes]


def test_path_siblings_and_children_are_the_tree_around_a_node(view: StoreView) -> None:
    assert ids(view.path(5)) == [0, 1, 5]
    assert ids(view.siblings(1)) == [2]
    assert ids(view.siblings(0)) == []
    assert ids(view.children(1)) == [3, 4, 5]
    assert view.best().id == 3  # type: ignore[union-attr]
    assert ids(view.nodes()) == list(range(8))


def test_key_nodes_are_the_largest_gains_and_losses_and_one_failure_of_each_class(view: StoreView) -> None:
    assert ids(view.key_nodes()) == [1, 2, 3, 6]
    assert ids(view.key_nodes(2)) == [1, 2]


def test_what_is_within_the_noise_is_no_result(store: Store, view: StoreView) -> None:
    assert view.noise_sd is None
    store.record(ev.NoiseMeasured(sd=0.02, groups=1))
    assert view.noise_sd == 0.02
    assert ids(view.key_nodes()) == [1, 2, 6]


def test_a_plan_is_known_when_every_trial_of_it_is(store: Store, view: StoreView) -> None:
    wanted: RoundPlan = plan(trials=2)
    base, task = store.digests()
    for number, trial in enumerate(wanted.trials, start=1):
        assert not view.is_known(wanted)
        add_trial(store, 5, number, identity=trial_identity(wanted.data, trial, base=base, task=task))
    assert view.is_known(wanted)
    assert not view.is_known(plan(learning_rate=0.5))


def test_the_view_follows_the_tree(store: Store, view: StoreView) -> None:
    assert len(view.nodes()) == 8
    done(store, 3, 0.9)
    assert len(view.nodes()) == 9
    assert view.best().id == 8  # type: ignore[union-attr]
    assert view.moves()[-1].gain == pytest.approx(0.08)
    assert (view.task.name, view.source_rows, view.config.name) == ("mini", {"train": 9}, "demo")


def test_the_view_has_the_shape_that_researchers_are_given(view: StoreView) -> None:
    """By structure: the tree imports nothing of the agents."""
    from hpc_trex.agents.protocol import MoveOutcome, TreeView

    wanted = {name for name in vars(TreeView) if not name.startswith("_")}
    assert {name for name in wanted if not hasattr(view, name)} == set()
    assert view.moves()[0]._fields == MoveOutcome._fields
