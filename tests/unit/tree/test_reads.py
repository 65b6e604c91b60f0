"""What the store answers: views, known experiments, costs, status."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_trex.errors import NotFound
from hpc_trex.models import AttemptState, FailureClass, Insight, JobKind, LossPoint, NodeState, Score, TrialState
from hpc_trex.tree import events as ev
from hpc_trex.tree.store import Store
from tests.unit.tree.building import (
    add,
    add_trial,
    config,
    done,
    fail,
    finish,
    intend,
    new_store,
    plan,
    result,
    run_trial,
)


def test_a_trial_is_planned_then_active_then_done_with_its_result(store: Store) -> None:
    add(store, None)
    add_trial(store, 0, 1, kind=JobKind.BASELINE, seed=7, identity="i")
    assert store.trial(0, 1).state == TrialState.PLANNED
    token = intend(store, 0, 1, kind=JobKind.BASELINE)
    assert store.trial(0, 1).state == TrialState.ACTIVE
    assert [attempt.token for attempt in store.live_attempts()] == [token]
    outcome = result(token, 0.6, curve=[LossPoint(step=1, loss=2.0, lr=0.1, tokens=5)], host="n7")
    store.record(ev.AttemptEnded(token=token, succeeded=True, result=outcome, seconds=36))
    store.record(ev.TrialEnded(node=0, trial=1, state=TrialState.DONE, score=0.6, result=outcome))
    trial = store.trial(0, 1)
    assert (trial.state, trial.score, trial.seed) == (TrialState.DONE, 0.6, 7)
    assert trial.result == outcome.model_copy(update={"curve": ()})
    assert store.live_attempts() == []
    attempt = store.attempt(token)
    assert attempt is not None
    assert (attempt.state, attempt.host) == (AttemptState.SUCCEEDED, "n7")
    assert store.attempt("nobody") is None


def test_a_repeat_that_scored_nothing_counts_in_the_mean_of_the_chosen_trial(store: Store) -> None:
    """The choice may fall on another trial than the round's best: then its own seeds are averaged."""
    done(store, None, 0.1)
    node = add(store, 0)
    for trial, score in ((1, 0.3), (2, 0.8)):
        run_trial(store, node, trial, score)
    run_trial(store, node, 3, 0.0, replicate_of=2)
    finish(store, node, 0.3)
    store.record(ev.Chosen(node=node, trial=2, dev=0.4, seeds=2))
    chosen = store.status().chosen
    assert chosen is not None
    assert (chosen.dev, chosen.dev_seeds) == (pytest.approx(0.4), 2)


def test_an_attempt_passes_through_its_states(store: Store) -> None:
    add(store, None)
    add_trial(store, 0, 1)
    token = intend(store, 0, 1, gpus=2)
    seen = []
    for event in (
        ev.AttemptQueued(token=token, job_id="77"),
        ev.AttemptRunning(token=token, host="n1"),
        ev.AttemptEnded(token=token, succeeded=False, failure=FailureClass.LOST, message="gone", seconds=1800),
    ):
        store.record(event)
        seen.append(store.attempts(0, 1)[0].state)
    assert seen == [AttemptState.QUEUED, AttemptState.RUNNING, AttemptState.FAILED]
    view = store.attempts(0, 1)[0]
    assert (view.job_id, view.host, view.failure, view.message) == ("77", "n1", FailureClass.LOST, "gone")
    assert view.gpus == 2  # a lost job held its GPUs, though it could not say so
    assert store.cost().gpu_hours == pytest.approx(1.0)
    assert store.costs()[0].gpu_hours == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no live attempt"):
        store.record(ev.AttemptRunning(token=token))


def test_attempts_are_listed_by_node_and_trial_oldest_first(store: Store) -> None:
    add(store, None)
    add_trial(store, 0, 1)
    for trial, attempt in ((0, 1), (1, 1), (1, 2)):
        store.record(ev.AttemptEnded(token=intend(store, 0, trial, attempt), succeeded=False))
    assert [(one.trial, one.attempt) for one in store.attempts()] == [(0, 1), (1, 1), (1, 2)]
    assert [one.attempt for one in store.attempts(0, 1)] == [1, 2]
    assert [one.trial for one in store.attempts(trial=0)] == [0]


def test_an_oom_repair_is_remembered_on_the_trial(store: Store) -> None:
    add(store, None)
    add_trial(store, 0, 1)
    for attempt, size in ((1, None), (2, 8), (3, None)):
        event = ev.AttemptIntended(
            node=0, trial=1, attempt=attempt, kind="train", token=str(attempt), directory="d", micro_batch_size=size
        )
        store.record(event)
        store.record(ev.AttemptEnded(token=str(attempt), succeeded=False, failure=FailureClass.OOM))
    assert store.trial(0, 1).micro_batch_size == 8


def test_a_view_of_a_node_is_the_same_alone_and_among_all(store: Store) -> None:
    add(store, None)
    run_trial(store, 0, 1, 0.5, kind=JobKind.BASELINE)
    finish(store, 0, 0.5)
    add(store, 0, move="probe:epochs")
    run_trial(store, 1, 1, 0.7, plan=plan().trials[0], identity="a")
    run_trial(store, 1, 2, 0.6, identity="b", reused_from=(0, 1))
    finish(store, 1, 0.7)
    fail(store, add(store, 0), charged=True)
    store.record(ev.NodeDiagnosed(node=1, report="better", insights=(Insight(text="longer is better", nodes=(0, 1)),)))
    assert store.nodes() == [store.node(number) for number in range(3)]
    root, one, two = store.nodes()
    assert (root.children, root.visits, root.reward, root.depth) == ((1, 2), 3, 0.0, 0)
    assert (one.move, one.reward, one.best_trial, one.report, one.visits) == ("probe:epochs", 1.0, 1, "better", 1)
    assert (one.trials[0].plan, one.trials[1].reused_from) == (plan().trials[0], (0, 1))
    assert one.cost_cpu_hours == pytest.approx(18 / 3600)
    assert (two.state, two.reward, two.failure) == (NodeState.FAILED, 0.0, FailureClass.DIVERGED)
    assert store.insights() == [Insight(text="longer is better", nodes=(0, 1))]


def test_a_second_diagnosis_replaces_the_first(store: Store) -> None:
    done(store, None, 0.5)
    for text in ("first", "second"):
        store.record(ev.NodeDiagnosed(node=0, report=text, insights=(Insight(text=text, nodes=(0,)),)))
    assert store.node(0).report == "second"
    assert [lesson.text for lesson in store.insights()] == ["second"]


def test_unknown_nodes_and_trials_are_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="no node 4"):
        store.node(4)
    with pytest.raises(NotFound, match="no trial 1"):
        store.trial(0, 1)


def test_nodes_and_trials_are_found_and_counted_by_state(store: Store) -> None:
    done(store, None, 0.5)
    add(store, 0)
    fail(store, add(store, 0), charged=False)
    run_trial(store, 1, 1, 0.5)
    add_trial(store, 1, 2)
    assert store.node_ids(NodeState.PENDING) == [1]
    assert store.node_ids(NodeState.DONE, NodeState.FAILED) == [0, 2]
    assert store.node_ids() == [0, 1, 2]
    assert [one.trial for one in store.trials(TrialState.PLANNED)] == [2]
    assert len(store.trials()) == 2
    assert store.counts() == ({"done": 1, "failed": 1, "pending": 1}, {"done": 1, "planned": 1})


def test_the_same_experiment_is_found_once_it_is_planned_and_its_result_is_preferred(store: Store) -> None:
    done(store, None, 0.5)
    add(store, 0)
    assert store.find_identity("same") is None
    add_trial(store, 1, 1, identity="same")
    assert store.find_identity("same") == store.trial(1, 1)
    run_trial(store, 1, 2, 0.6, identity="same")
    found = store.find_identity("same")
    assert found is not None
    assert (found.trial, found.state) == (2, TrialState.DONE)


@pytest.mark.parametrize(
    "more", [{"replicate_of": 1}, {"kind": JobKind.TEST}, {"identity": ""}], ids=["repeat", "test", "no identity"]
)
def test_repeats_and_tests_are_not_the_same_experiment(store: Store, more: dict[str, object]) -> None:
    done(store, None, 0.5)
    run_trial(store, 0, 2, 0.6, **({"identity": "same"} | more))
    assert store.find_identity("same") is None
    assert store.find_identity("") is None


@pytest.mark.parametrize(("failure", "tried"), [(FailureClass.DIVERGED, True), (FailureClass.NODE_FAIL, False)])
def test_what_failed_by_its_design_was_tried_but_has_no_result_to_reuse(
    store: Store, failure: FailureClass, *, tried: bool
) -> None:
    done(store, None, 0.5)
    add_trial(store, 0, 1, identity="same")
    store.record(ev.TrialEnded(node=0, trial=1, state=TrialState.FAILED, failure=failure))
    assert store.find_identity("same") is None
    assert store.is_tried("same") is tried


def test_prepared_data_is_found_by_its_recipe_unless_the_preparation_failed(store: Store) -> None:
    done(store, None, 0.5)
    assert store.find_recipe("r") is None
    first, second = add(store, 0, recipe="r"), add(store, 0, recipe="r")
    assert store.find_recipe("r") == first  # about to be prepared
    token = intend(store, first, 0, kind=JobKind.PREPARE)
    assert store.find_recipe("r") == first
    store.record(ev.AttemptEnded(token=token, succeeded=False, failure=FailureClass.DATA))
    assert store.find_recipe("r") == second
    token = intend(store, second, 0, kind=JobKind.PREPARE)
    outcome = result(token, 0.0, scores={}, data_manifest={"rows": 3})
    store.record(ev.AttemptEnded(token=token, succeeded=True, result=outcome))
    token = intend(store, first, 0, 2, kind=JobKind.PREPARE)
    assert store.find_recipe("r") == second  # what is there comes before what is coming
    assert store.preparation(first).token == token  # type: ignore[union-attr]
    assert store.preparation_result(second) == outcome
    assert store.preparation(0) is None


def test_a_round_that_ended_before_it_was_prepared_has_no_data(store: Store) -> None:
    done(store, None, 0.5)
    fail(store, add(store, 0, recipe="r"), charged=False)
    assert store.find_recipe("r") is None
    assert store.find_recipe("") is None


def test_moves_have_the_gain_over_the_parent_signed_so_that_more_is_better(tmp_path: Path) -> None:
    with new_store(tmp_path, higher_is_better=False) as store:
        done(store, None, 2.0)
        done(store, 0, 1.5, move="a")
        add(store, 1, move="b")
        fail(store, add(store, 1, move="c"), charged=True)
        assert [tuple(move) for move in store.moves()] == [
            ("a", 1, 0, 0.5, False),
            ("b", 2, 1, None, True),
            ("c", 3, 1, None, False),
        ]
        assert store.best_node() == 1


def test_notes_keep_time_text_and_node(store: Store) -> None:
    add(store, None)
    store.record(ev.Note(text="the queue was down", node=0))
    store.record(ev.Note(text="again"))
    assert [(text, node) for _, text, node in store.notes()] == [("the queue was down", 0), ("again", None)]
    assert store.notes()[-1][0] == store.last_event_time()


def test_the_configuration_is_the_last_one_recorded(store: Store) -> None:
    store.record(ev.ConfigChanged(config=config("other")))
    assert store.config.name == "other"
    store.record(ev.SearchStateChanged(state="paused", message="by hand"))
    assert store.state() == ("paused", "by hand")


def test_status_has_baseline_best_choice_test_and_cost(store: Store) -> None:
    add(store, None)
    run_trial(store, 0, 1, 0.5, kind=JobKind.BASELINE)
    finish(store, 0, 0.5)
    add(store, 0)
    run_trial(store, 1, 1, 0.7)
    run_trial(store, 1, 2, 0.6)
    finish(store, 1, 0.7)
    run_trial(store, 1, 3, 0.9, replicate_of=1, seed=1)
    store.record(ev.NodeRescored(node=1, score=0.8, best_trial=1))
    store.record(ev.NoiseMeasured(sd=0.02, groups=1))
    store.record(ev.Chosen(node=1, trial=1, dev=0.8, seeds=2))
    test = {
        name: Score(metric="exact_match", value=value, low=value, high=value, n=9)
        for name, value in (("base", 0.4), ("chosen", 0.75), ("difference", 0.35))
    }
    store.record(ev.TestScored(node=1, trial=1, scores=test))
    status = store.status()
    assert (status.search, status.task, status.model, status.max_nodes) == ("demo", "mini", "builtin:tiny", 6)
    assert status.directory == str(store.paths.root)
    assert (status.nodes, status.trials) == ({"done": 2}, {"done": 4})
    assert status.noise_sd == 0.02
    assert status.baseline is not None
    assert (status.baseline.node, status.baseline.dev, status.baseline.test) == (0, 0.5, test["base"])
    assert (status.baseline.dev_low, status.baseline.dev_high) == pytest.approx((0.4, 0.6))
    assert status.best is not None
    assert (status.best.node, status.best.trial, status.best.dev, status.best.dev_seeds) == (1, 1, 0.8, 2)
    assert (status.best.dev_low, status.best.dev_high, status.best.gain) == pytest.approx((0.7, 0.9, 0.3))
    assert status.chosen is not None
    assert (status.chosen.node, status.chosen.test) == (1, test["chosen"])
    assert status.test_difference == test["difference"]
    assert status.cost.cpu_hours == pytest.approx(4 * 9 / 3600)
    assert store.noise() == (0.02, 1)
    assert store.chosen() == ev.Chosen(node=1, trial=1, dev=0.8, seeds=2)
    assert store.test_score() == ev.TestScored(node=1, trial=1, scores=test)
    with Store.read(store.paths) as reader:
        assert reader.status() == status
