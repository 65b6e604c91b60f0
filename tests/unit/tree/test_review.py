"""Struck results in the tree: a trial, a round, what a person says, and what no longer stands on them."""

from __future__ import annotations

import pytest

from hpc_trex.models import ClaimFinding, FailureClass, Insight, NodeState
from hpc_trex.tree import events as ev
from hpc_trex.tree.check import check, rebuild
from hpc_trex.tree.review import reviewed_nodes, taken_over, unread_claims, verdicts
from hpc_trex.tree.review_events import ClaimChecked, NodeRestored, NodeStruck
from hpc_trex.tree.store import Store
from tests.unit.tree.building import add, add_trial, done, dump, fail, finish, run_trial

BAD = ClaimFinding(check="score", severity="strike", text="the answers give 0.1, not 0.9", record="nodes/x")
ODD = ClaimFinding(check="answers", severity="note", text="all answers are empty")


@pytest.fixture
def grown(store: Store) -> Store:
    """A baseline and a round of two trials, 0.6 and 0.9, that has ended."""
    add(store, None)
    run_trial(store, 0, 1, 0.5, kind="baseline")
    finish(store, 0, 0.5)
    add(store, 0)
    run_trial(store, 1, 1, 0.6, identity="one")
    run_trial(store, 1, 2, 0.9, identity="two")
    store.record(ev.NodeEnded(node=1, state=NodeState.DONE, score=0.9, best_trial=2))
    return store


def test_a_struck_trial_has_no_score_and_is_not_reused(grown: Store) -> None:
    assert unread_claims(grown) == [(0, 1), (1, 1), (1, 2)]
    grown.record(ClaimChecked(node=1, trial=2, findings=(BAD, ODD)))
    trial = grown.trial(1, 2)
    assert (trial.struck, trial.score, trial.claimed, trial.findings) == (True, None, 0.9, (BAD, ODD))
    assert grown.find_identity("two") is None
    assert not grown.is_tried("two")
    assert grown.is_tried("one")
    assert reviewed_nodes(grown) == [1]
    grown.record(ClaimChecked(node=1, trial=1, findings=(ODD,)))
    assert (grown.trial(1, 1).score, grown.trial(1, 1).findings) == (0.6, (ODD,))
    assert unread_claims(grown) == [(0, 1)]


def test_the_last_look_counts(grown: Store) -> None:
    grown.record(ClaimChecked(node=1, trial=2, findings=(BAD,)))
    grown.record(ClaimChecked(node=1, trial=2))
    assert grown.trial(1, 2).score == 0.9


def test_a_struck_round_is_no_best_no_extreme_and_no_parent(grown: Store) -> None:
    grown.record(NodeStruck(node=1, note="a leak", user="eve", message="a leak"))
    view = grown.node(1)
    assert (view.state, view.struck, view.score, view.reward, view.message) == ("struck", True, None, None, "a leak")
    assert all(trial.struck for trial in view.trials)
    assert grown.best_node() == 0
    assert grown.extremes() == (0.5, 0.5)
    assert [stat.expandable for stat in grown.stats()] == [True, False]
    assert [stat.visits for stat in grown.stats()] == [1, 0]
    assert grown.stats()[0].children == 0
    assert grown.counts()[0] == {"done": 1, "struck": 1}
    assert grown.moves()[0].gain is None


def test_a_charged_strike_is_a_visit_of_reward_0(grown: Store) -> None:
    grown.record(NodeStruck(node=1, charged=True))
    assert (grown.stats()[1].visits, grown.stats()[1].reward, grown.stats()[0].children) == (1, 0.0, 1)


def test_a_persons_restore_overrules_what_is_found_later(grown: Store) -> None:
    grown.record(ClaimChecked(node=1, trial=2, findings=(BAD,)))
    grown.record(NodeRestored(node=1, score=0.9, best_trial=2, note="I looked", user="eve"))
    assert grown.trial(1, 2).score == 0.9
    run_trial(grown, 1, 3, 0.8, replicate_of=2)
    grown.record(ClaimChecked(node=1, trial=3, findings=(BAD,)))
    assert grown.trial(1, 3).score == 0.8
    assert [(one.struck, one.note, one.user) for one in verdicts(grown, 1)] == [(False, "I looked", "eve")]


def test_a_persons_strike_holds_for_repeats_that_come_in_later(grown: Store) -> None:
    grown.record(NodeStruck(node=1, user="eve"))
    run_trial(grown, 1, 3, 0.8, replicate_of=2)
    grown.record(ClaimChecked(node=1, trial=3))
    assert grown.trial(1, 3).struck


def test_events_that_do_not_fit_are_refused(grown: Store) -> None:
    fail(grown, add(grown, 0), charged=False, failure=FailureClass.LOST)
    pending = add(grown, 0)
    add_trial(grown, pending, 1)
    for event in (
        NodeStruck(node=2),
        NodeStruck(node=pending),
        NodeStruck(node=9),
        NodeRestored(node=2, score=1.0, best_trial=1),
        NodeRestored(node=pending, score=1.0, best_trial=1),
        ClaimChecked(node=pending, trial=1),
        ClaimChecked(node=1, trial=9),
    ):
        with pytest.raises(ValueError, match=r"node \d"):
            grown.record(event)
    grown.record(NodeStruck(node=1))
    with pytest.raises(ValueError, match="struck already"):
        grown.record(NodeStruck(node=1))


def test_a_trial_that_took_over_a_result_follows_it(grown: Store) -> None:
    add(grown, 1)
    add_trial(grown, 2, 1, identity="two", reused_from=(1, 2))
    result = grown.trial(1, 2).result
    grown.record(ev.TrialEnded(node=2, trial=1, state="done", score=0.9, result=result))
    assert [(one.node, one.struck) for one in taken_over(grown)] == [(2, False)]
    grown.record(ClaimChecked(node=2, trial=1))
    assert taken_over(grown) == []
    grown.record(NodeStruck(node=1, user="eve"))
    assert [(one.node, one.source, one.struck) for one in taken_over(grown)] == [(2, (1, 2), True)]


def test_data_of_a_struck_round_are_not_used_again(store: Store) -> None:
    add(store, None)
    finish(store, 0, 0.5)
    add(store, 0, recipe="r")
    assert store.find_recipe("r") == 1
    finish(store, 1, 0.6)
    store.record(NodeStruck(node=1))
    assert store.find_recipe("r") is None


def test_an_insight_falls_with_a_round_that_it_stands_on_and_the_one_before_comes_back(store: Store) -> None:
    add(store, None)
    finish(store, 0, 0.5)
    for score in (0.6, 0.7):
        done(store, 0, score)

    def says(node: int, text: str, *nodes: int) -> None:
        insight = Insight(text=text, nodes=nodes, kind="move:lr-up")
        store.record(ev.NodeDiagnosed(node=node, report="r", insights=(insight,)))

    says(1, "first", 1)
    says(2, "second", 1, 2)
    assert [one.text for one in store.insights()] == ["second"]
    store.record(NodeStruck(node=2))
    assert [one.text for one in store.insights()] == ["first"]
    store.record(NodeStruck(node=1))
    assert store.insights() == []
    store.record(NodeRestored(node=2, score=0.7, best_trial=1))
    assert store.insights() == [], "it stands on node 1 too"
    store.record(NodeRestored(node=1, score=0.6, best_trial=1))
    assert [one.text for one in store.insights()] == ["second"]


def test_a_rebuild_gives_the_same_tree(grown: Store) -> None:
    grown.record(ClaimChecked(node=1, trial=2, findings=(BAD,)))
    grown.record(ev.NodeRescored(node=1, score=0.6, best_trial=1))
    grown.record(NodeStruck(node=1, user="eve", note="n"))
    grown.record(NodeRestored(node=1, score=0.9, best_trial=2, user="bob", note="m"))
    before, paths = dump(grown), grown.paths
    grown.close()
    assert [one for one in check(paths) if "missing" not in one] == []
    rebuild(paths)
    with Store.open(paths) as again:
        assert dump(again) == before
