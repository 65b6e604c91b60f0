"""A search from launch to the sealed test, and what happens when jobs or the controller fail on the way."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from hpc_trex.controller import Controller
from hpc_trex.errors import ClusterRefused, LeaseHeld
from hpc_trex.models import AttemptState, FailureClass, JobKind, NodeState, SearchState, TrialState
from hpc_trex.slurm.scheduler import SubmitRefused
from hpc_trex.tree.check import check
from hpc_trex.tree.store import Store
from tests.unit.controller.conftest import drive

pytestmark = pytest.mark.slow


def test_a_search_runs_its_rounds_repeats_the_best_and_opens_the_test_once(search, cluster):
    paths = search()
    with drive(paths, cluster) as controller:
        store = controller.store
        status = store.status()
        assert status.state is SearchState.DONE
        assert store.next_node() == 5
        tests = [trial for node in store.nodes() for trial in node.trials if trial.kind is JobKind.TEST]
        assert len(tests) == 1
        assert status.chosen is not None
        assert status.chosen.dev_seeds >= 3
        assert status.test_difference is not None
        assert status.chosen.test is not None
        if status.best.node == status.chosen.node:
            assert status.best.test == status.chosen.test
        assert store.noise() is not None
        assert max(Counter(cluster.starts).values()) == 1
    assert check(paths) == []


def test_a_second_controller_is_refused_while_the_first_lives(search, cluster):
    paths = search()
    with Controller(paths), pytest.raises(LeaseHeld):
        Controller(paths)


def test_a_job_that_vanishes_is_lost_after_two_looks_and_tried_again(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        controller.tick()
        (first,) = cluster.live
        cluster.lose(first)
        controller.tick()
        assert controller.store.attempt(first).state is not AttemptState.FAILED
        controller.tick()
        assert controller.store.attempt(first).failure is FailureClass.LOST
        controller.tick()
        assert any(token.endswith("-a2") for token in cluster.live)


def test_a_deaf_scheduler_never_makes_a_job_lost(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        controller.tick()
        (first,) = cluster.live
        cluster.deaf = True
        for _ in range(10):
            controller.tick()
        assert controller.store.attempt(first).state in (AttemptState.QUEUED, AttemptState.RUNNING)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_submit_without_an_answer_is_looked_up_and_never_doubled(search, cluster, when):
    paths = search()
    cluster.refuse_next = when
    with Controller(paths) as controller:
        controller.start()
        controller.tick()
        assert [item.state for item in controller.store.live_attempts()] == [AttemptState.INTENT]
        for _ in range(4):
            controller.work.not_before = 0.0
            controller.tick()
        assert len(cluster.starts) == 1
        assert controller.store.live_attempts()[0].job_id is not None


def test_a_refused_job_pauses_the_search_and_resume_submits_it(search, cluster, monkeypatch):
    paths = search()

    def refuse(request):
        raise SubmitRefused("invalid partition specified: nope")

    with Controller(paths) as controller:
        monkeypatch.setattr(cluster, "submit", refuse, raising=False)
        controller.start()
        with pytest.raises(ClusterRefused, match="nope"):
            controller.tick()
        assert Store.read(paths).state()[0] is SearchState.PAUSED
    monkeypatch.undo()
    monkeypatch.setattr("hpc_trex.controller.loop.make_scheduler", lambda profile: cluster)
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE
    assert check(paths) == []


def test_a_diverged_trial_is_charged_and_the_search_goes_on(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        broken = 0
        for _ in range(200):
            report = controller.tick()
            if report.finished:
                break
            for token, request in list(cluster.live.items()):
                diverges = request.kind is JobKind.TRAIN and "-n1-" in token
                broken += diverges
                cluster.finish(token, failure=FailureClass.DIVERGED if diverges else None)
        node = controller.store.node(1)
        assert broken == 2
        assert (node.state, node.failure, node.reward) == (NodeState.FAILED, FailureClass.DIVERGED, 0.0)
        assert controller.store.state()[0] is SearchState.DONE


def test_out_of_memory_is_tried_again_with_half_the_micro_batch(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        for _ in range(200):
            if controller.tick().finished:
                break
            for token, request in list(cluster.live.items()):
                first = request.kind is JobKind.TRAIN and token.endswith("-n1-t1-a1")
                cluster.finish(token, failure=FailureClass.OOM if first else None)
        trial = controller.store.trial(1, 1)
        assert trial.state is TrialState.DONE
        spec = json.loads((paths.attempt(1, 1, 2).spec).read_text())
        assert spec["train"]["micro_batch_size"] == spec["train"]["batch_size"] // 2


def test_a_training_that_times_out_without_progress_ends_and_one_with_progress_goes_on(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        for _ in range(200):
            if controller.tick().finished:
                break
            for token, request in list(cluster.live.items()):
                stuck = request.kind is JobKind.TRAIN and "-n1-t1-" in token
                cluster.finish(token, failure=FailureClass.TIMEOUT if stuck else None)
        assert len(controller.store.attempts(1, 1)) == 1
        assert controller.store.trial(1, 1).failure is FailureClass.TIMEOUT


def test_cancel_ends_the_jobs_and_the_search(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        controller.tick()
        assert cluster.live
        controller.cancel()
        assert not cluster.live
        assert controller.store.state()[0] is SearchState.CANCELLED
        assert controller.tick().finished
    assert check(paths) == []


def test_a_result_cut_in_half_is_no_result(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        controller.tick()
        (first,) = cluster.live
        directory = cluster.live[first].directory
        cluster.finish(first)
        whole = (directory / "result.json").read_bytes()
        (directory / "result.json").write_bytes(whole[: len(whole) // 2])
        for _ in range(3):
            controller.tick()
        assert controller.store.attempt(first).failure is FailureClass.LOST


def test_equal_experiments_are_run_once(search, cluster):
    paths = search(max_nodes=6)
    with drive(paths, cluster) as controller:
        seen = Counter(
            (trial.identity, trial.seed)
            for node in controller.store.nodes()
            for trial in node.trials
            if trial.kind is JobKind.TRAIN and trial.reused_from is None
        )
        assert max(seen.values()) == 1


def test_a_cap_in_cpu_hours_ends_the_rounds_but_not_the_choice_and_the_test(search, cluster):
    paths = search(cpu_hours=1.503)
    with drive(paths, cluster) as controller:
        state, message = controller.store.state()
        assert state is SearchState.DONE
        assert message.startswith("budget reached: ")
        assert controller.store.next_node() < 5
        assert controller.store.test_score() is not None


def test_a_quiet_tick_asks_the_scheduler_and_nothing_else(search, cluster, monkeypatch):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        for _ in range(3):
            controller.tick()
        monkeypatch.setattr("hpc_trex.controller.loop.advance", None)
        polls = cluster.polls
        controller.tick()
        assert cluster.polls == polls + 1


def test_jobs_that_had_to_wait_for_the_scheduler_are_submitted_when_the_pause_is_over(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        controller.tick()
        cluster.finish_all()
        controller.work.not_before = float("inf")
        for _ in range(4):
            controller.tick()
        assert not cluster.live
        controller.work.not_before = 0.0
        controller.tick()
        assert cluster.live


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_job_told_to_end_is_tried_again_unless_a_person_cancelled_it(search, cluster, by_hand):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        while not any(request.kind is JobKind.TRAIN for request in cluster.live.values()):
            cluster.finish_all()
            controller.tick()
        told = next(token for token, request in cluster.live.items() if request.kind is JobKind.TRAIN)
        cluster.finish(told, failure=FailureClass.PREEMPTED)
        if by_hand:
            cluster.cancelled.add(told)
        for _ in range(3):
            controller.tick()
        attempt = controller.store.attempt(told)
        assert attempt.failure is (FailureClass.CANCELLED if by_hand else FailureClass.PREEMPTED)
        assert len(controller.store.attempts(attempt.node, attempt.trial)) == (1 if by_hand else 2)


def test_the_researcher_never_sees_the_sealed_test(search, cluster):
    paths = search()
    with drive(paths, cluster) as controller:
        view, chosen = controller.work.view, controller.store.chosen()
        assert any(trial.kind is JobKind.TEST for trial in controller.store.node(chosen.node).trials)
        seen = [view.node(chosen.node), *view.nodes(), *view.path(chosen.node), *view.key_nodes(20), view.best()]
        assert not any(trial.kind is JobKind.TEST for node in seen for trial in node.trials)
