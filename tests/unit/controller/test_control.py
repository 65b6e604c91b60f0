"""Pause, cancel of subtrees and retry on the simulated cluster: what is recorded, and what a kill in between costs."""

from __future__ import annotations

import contextlib

import pytest

from hpc_trex.controller import Controller
from hpc_trex.controller.requests import Request, place, waiting
from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.models import AttemptState, FailureClass, JobKind, NodeState, SearchState, TrialState
from hpc_trex.tree.check import check
from hpc_trex.tree.events import NodeAdded, NodeEnded, Note
from hpc_trex.tree.store import Store
from tests.unit.controller.conftest import drive, until
from tests.unit.controller.simulation import Killed

pytestmark = pytest.mark.slow


def trains(controller):
    return [item for item in controller.store.live_attempts() if item.kind is JobKind.TRAIN]


def fail_round(controller, cluster, failure=FailureClass.DIVERGED):
    """Let the first round fail with all its trials, and return its number."""
    until(controller, cluster, lambda: len(trains(controller)) >= 2)
    node = trains(controller)[0].node
    for _ in range(30):
        for token in [token for token in cluster.live if f"-n{node}-" in token]:
            cluster.finish(token, failure=failure)
        controller.tick()
        if controller.store.node(node).state is NodeState.FAILED:
            return node
    raise AssertionError("the round did not fail")


def test_a_paused_search_starts_nothing_and_resume_collects_what_ran_meanwhile(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: len(trains(controller)) >= 2)
        place(paths, Request(action="pause"))
        live = set(cluster.live)
        report = controller.tick()
        assert (report.state, report.finished) == (SearchState.PAUSED, True)
        assert set(cluster.live) == live, "jobs that run go on"
        assert not waiting(paths)
    cluster.finish_all()
    with Controller(paths) as controller:  # cron: hpc-trex tick
        assert controller.run(lambda report: None, once=True) is SearchState.PAUSED
        assert not cluster.live
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE
        assert all(item.attempt == 1 for item in controller.store.attempts())
    assert check(paths) == []


def test_jobs_that_a_pause_has_ended_run_again_and_count_anew(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        for _ in range(3):
            until(controller, cluster, lambda: len(trains(controller)) >= 2)
            ended = {(item.node, item.trial) for item in trains(controller)}
            lines = controller.ask(Request(action="pause", cancel_jobs=True))
            assert sum("cancelled" in line for line in lines) >= 2
            assert not cluster.live
            assert controller.store.state()[0] is SearchState.PAUSED
            assert all(controller.store.trial(*key).state is TrialState.PLANNED for key in ended)
            controller.start()
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE
        again = [item for item in controller.store.attempts() if item.superseded]
        assert len(again) >= 6
        assert all(trial.state is TrialState.DONE for node in controller.store.nodes() for trial in node.trials)
    assert check(paths) == []


def test_a_result_that_lies_there_when_the_jobs_are_cancelled_is_not_thrown_away(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: len(trains(controller)) >= 2)
        done = trains(controller)[0]
        cluster.finish(done.token)
        controller.ask(Request(action="pause", cancel_jobs=True))
        assert controller.store.attempt(done.token).state is AttemptState.SUCCEEDED


def test_a_resume_overrules_a_pause_that_nobody_obeyed_to_the_end(search, cluster):
    """The controller died after it had recorded the pause and before it removed the request."""
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        controller.tick()
        controller.work.change_state(SearchState.PAUSED, "paused by the user")
        place(paths, Request(action="pause"))
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE


def test_requests_are_obeyed_in_the_order_in_which_they_came_and_none_is_lost(search, cluster):
    paths = search(max_nodes=2, trials=2, parallel=4)
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: {item.node for item in trains(controller)} >= {1, 2})
        first, second = place(paths, Request(action="cancel", node=2)), place(paths, Request(action="cancel", node=1))
        assert place(paths, Request(action="cancel", node=2)) == first, "the same request is left once"
        assert [path for path, _ in waiting(paths)] == [first, second]
        controller.tick()
        assert {controller.store.node(node).state for node in (1, 2)} == {NodeState.CANCELLED}
        assert not waiting(paths)


def test_a_file_that_is_no_request_is_removed_with_a_note(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        paths.stop_request.write_text('{"action": "explode"}')
        assert controller.tick().state is SearchState.RUNNING
        assert not paths.stop_request.exists()
        assert any("no request" in text for _, text, _ in controller.store.notes())


def test_cancel_of_a_subtree_ends_the_round_and_all_that_was_built_on_it(search, cluster):
    paths = search(max_nodes=8, parallel=4)
    with Controller(paths) as controller:
        controller.start()
        store = controller.store

        def parents():
            return [store.node(item.node).parent for item in trains(controller) if store.node(item.node).parent]

        until(controller, cluster, parents)
        top = parents()[0]
        doomed, others = set(store.below(top)), set(store.node_ids()) - set(store.below(top))
        assert len(doomed) > 1
        before = {node: store.node(node).state for node in others}
        controller.cancel(top, subtree=True)
        assert not [item for item in store.live_attempts() if item.node in doomed]
        pending = [node for node in doomed if store.node(node).state is NodeState.PENDING]
        assert not pending
        assert {node: store.node(node).state for node in others} == before
    assert check(paths) == []
    with drive(paths, cluster) as controller:
        cancelled = [item for item in controller.store.attempts() if item.failure is FailureClass.CANCELLED]
        assert all(controller.store.attempts(item.node, item.trial)[-1] == item for item in cancelled), "run again"


def test_a_failed_round_is_run_again_with_its_attempts_counted_anew(search, cluster):
    paths = search(max_nodes=3, trials=2, parallel=8)
    with Controller(paths) as controller:
        controller.start()
        node = fail_round(controller, cluster, FailureClass.LOST)
        spent = len(controller.store.attempts(node, 1))
        assert spent > 1
        stat = controller.store.stats()[0]
        controller.ask(Request(action="retry", node=node))
        view = controller.store.node(node)
        assert (view.state, view.failure, view.message, view.report) == (NodeState.PENDING, None, "", "")
        assert controller.store.stats()[0].pending == stat.pending + 1
        controller.tick()
        assert controller.store.attempts(node, 1)[-1].attempt == spent + 1
        for _ in range(spent - 1):  # as many failures again as the first time, and it is still tried
            for token in [token for token in cluster.live if f"-n{node}-t1-" in token]:
                cluster.finish(token, failure=FailureClass.LOST)
            controller.tick()
        assert controller.store.trial(node, 1).state is TrialState.ACTIVE
    with drive(paths, cluster) as controller:
        assert controller.store.node(node).state is NodeState.DONE
        assert controller.store.node(node).report
    assert check(paths) == []


def test_one_trial_of_a_failed_round_is_run_again(search, cluster):
    paths = search(max_nodes=3, trials=2, parallel=8)
    with Controller(paths) as controller:
        controller.start()
        node = fail_round(controller, cluster)
        controller.ask(Request(action="retry", node=node, trial=2))
    with drive(paths, cluster) as controller:
        states = [trial.state for trial in controller.store.node(node).trials[:2]]
        assert states == [TrialState.FAILED, TrialState.DONE]
        assert controller.store.node(node).best_trial == 2
    assert check(paths) == []


def test_a_training_that_diverged_does_not_go_on_from_its_own_checkpoint(search, cluster):
    from hpc_trex.models import JobSpec

    paths = search(max_nodes=3, trials=2, parallel=8)
    with Controller(paths) as controller:
        controller.start()
        node = fail_round(controller, cluster)
        controller.ask(Request(action="retry", node=node, trial=1))
        controller.tick()
        spec = JobSpec.model_validate_json(paths.attempt(node, 1, 2).spec.read_bytes())
        assert spec.resume_from == ()


def test_data_that_could_not_be_prepared_are_prepared_again(search, cluster):
    paths = search(max_nodes=6)
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: any(r.kind is JobKind.PREPARE for r in cluster.live.values()))
        token = next(token for token, request in cluster.live.items() if request.kind is JobKind.PREPARE)
        node = controller.store.attempt(token).node
        cluster.finish(token, failure=FailureClass.DATA)
        controller.tick()
        assert controller.store.node(node).state is NodeState.FAILED
        controller.ask(Request(action="retry", node=node))
    with drive(paths, cluster) as controller:
        assert controller.store.node(node).state is NodeState.DONE
        assert [item.superseded for item in controller.store.attempts(node, 0)] == [True, False]
    assert check(paths) == []


def test_a_cancelled_round_and_a_cancelled_search_can_be_taken_up_again(search, cluster):
    paths = search(max_nodes=2)
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: len(trains(controller)) >= 2)
        node = trains(controller)[0].node
        controller.cancel()
        assert controller.store.state()[0] is SearchState.CANCELLED
        controller.ask(Request(action="retry", node=node))
        assert controller.store.state()[0] is SearchState.RUNNING
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE
        assert controller.store.node(node).state is NodeState.DONE
    assert check(paths) == []


def test_a_failed_baseline_is_what_must_be_tried_first(search, cluster):
    paths = search(max_nodes=1)
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: any(r.kind is JobKind.BASELINE for r in cluster.live.values()))
        cluster.finish(next(iter(cluster.live)), failure=FailureClass.CONFIG)
        assert controller.tick().state is SearchState.FAILED
        controller.ask(Request(action="retry", node=0))
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE


def test_what_is_done_runs_or_has_been_tested_is_refused_with_words(search, cluster):
    paths = search(max_nodes=2)
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: len(trains(controller)) >= 2)
        running = trains(controller)[0]
        with pytest.raises(UsageProblem, match="under way"):
            controller.ask(Request(action="retry", node=running.node))
        with pytest.raises(UsageProblem, match="is active"):
            controller.ask(Request(action="retry", node=running.node, trial=running.trial))
        with pytest.raises(UsageProblem, match="node 0 is done"):
            controller.ask(Request(action="retry", node=0))
        with pytest.raises(NotFound):
            controller.ask(Request(action="retry", node=77))
        with pytest.raises(NotFound):
            controller.ask(Request(action="retry", node=running.node, trial=77))
        assert not waiting(paths), "a refused request is not left behind"
        place(paths, Request(action="retry", node=0))
        controller.tick()
        assert any("refused: node 0 is done" in text for _, text, _ in controller.store.notes())
    with drive(paths, cluster) as controller, pytest.raises(UsageProblem, match="sealed test has been opened"):
        controller.ask(Request(action="retry", node=1))


def test_a_search_whose_models_gc_has_removed_is_not_taken_up_again(search, cluster):
    paths = search(max_nodes=2)
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: len(trains(controller)) >= 2)
        node = trains(controller)[0].node
        controller.cancel()
        controller.store.record(Note(text="gc: models removed; the best 3 rounds keep theirs"))
        with pytest.raises(UsageProblem, match="gc has removed"):
            controller.ask(Request(action="retry", node=node))


@pytest.mark.parametrize("at", range(1, 12))
@pytest.mark.parametrize("action", ["pause", "retry"])
def test_a_request_that_was_broken_off_anywhere_is_carried_out_by_the_next_controller(
    search, cluster, monkeypatch, action, at
):
    paths = search(max_nodes=2, trials=2)
    with Controller(paths) as controller:
        controller.start()
        node = fail_round(controller, cluster)
        request = Request(action="retry", node=node) if action == "retry" else Request(action="pause", cancel_jobs=True)
        left = [at]
        record = Store.record

        def dying(self, event):
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return record(self, event)

        with monkeypatch.context() as patch:
            patch.setattr(Store, "record", dying)
            with contextlib.suppress(Killed):
                controller.ask(request)
    with Controller(paths) as controller:
        if waiting(paths):
            controller.tick()
        assert not waiting(paths)
        if action == "retry":
            assert controller.store.node(node).state is NodeState.PENDING
            live = (TrialState.PLANNED, TrialState.ACTIVE)
            assert all(trial.state in live for trial in controller.store.node(node).trials)
        else:
            assert controller.store.state()[0] is SearchState.PAUSED
            assert not controller.store.trials(TrialState.ACTIVE)
    assert check(paths) == []
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE


def test_a_reopened_round_counts_for_its_ancestors_as_if_it_had_never_ended(search):
    """By hand, besides the state machine of tests/unit/tree: charged and uncharged, two levels below the root."""
    from hpc_trex.tree.events import NodeReopened

    paths = search()
    with Store.open(paths) as store:
        for node, parent in ((0, None), (1, 0)):
            store.record(NodeAdded(node=node, parent=parent, plan=None))
            store.record(NodeEnded(node=node, state=NodeState.DONE, score=0.5, best_trial=1))
        store.record(NodeAdded(node=2, parent=1, plan=None))
        before = store.stats()
        for charged in (True, False):
            store.record(
                NodeEnded(node=2, state=NodeState.FAILED, failure=FailureClass.DIVERGED, charged=charged, message="x")
            )
            assert store.stats() != before
            store.record(NodeReopened(node=2))
            assert store.stats() == before
        with pytest.raises(ValueError, match="did not fail"):
            store.record(NodeReopened(node=2))
        with pytest.raises(ValueError, match="did not fail"):
            store.record(NodeReopened(node=1))
