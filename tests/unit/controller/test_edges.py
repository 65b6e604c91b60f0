"""Edges of a search's life: what a cancel, a cap, a broken environment or a resume leaves for the rounds beside it."""

from __future__ import annotations

import os

import pytest

from hpc_trex.controller import Controller
from hpc_trex.errors import EnvironmentProblem, UsageProblem
from hpc_trex.files import write_record
from hpc_trex.launch import LaunchOptions, create_search, plan_launch
from hpc_trex.models import (
    AttemptState,
    FailureClass,
    Heartbeat,
    JobKind,
    NodeState,
    Resources,
    SearchState,
    TrialState,
)
from hpc_trex.slurm.scheduler import CancelUnavailable
from hpc_trex.tree.check import check
from hpc_trex.tree.events import NodeAdded, TrialAdded
from tests.unit.controller.conftest import drive, until


def with_gpus(config, minutes=60, **budget):
    """The same search on one GPU a training and evaluation."""
    gpu = Resources(gpus_per_node=1, minutes=minutes)
    profile = config.profile.model_copy(update={"train": gpu, "evaluate": gpu})
    return config.model_copy(update={"profile": profile, "budget": config.budget.model_copy(update=budget)})


def test_an_environment_that_fails_once_costs_one_attempt_and_one_that_stays_broken_pauses(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        controller.tick()
        for number in (1, 2):
            (token,) = cluster.live
            cluster.finish(token, failure=FailureClass.ENVIRONMENT)
            controller.tick()
            assert len(controller.store.attempts(0, 0)) == number + 1
        (token,) = cluster.live
        cluster.finish(token, failure=FailureClass.ENVIRONMENT)
        with pytest.raises(EnvironmentProblem, match="3 times"):
            controller.tick()
        assert controller.store.state()[0] is SearchState.PAUSED
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE


def test_a_result_of_a_newer_program_is_neither_lost_nor_run_again(search, cluster):
    """The program is changed while a controller runs: jobs that start then write what the controller does not know."""
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        controller.tick()
        (token,) = cluster.live
        cluster.finish(token)
        (attempt,) = controller.store.attempts()
        result = controller.paths.root / attempt.directory / "result.json"
        told = result.read_text()
        result.write_text(told.replace("{", '{"more": true, ', 1))
        for _ in range(3):
            with pytest.raises(EnvironmentProblem, match=r"result\.json was written by a newer hpc-trex"):
                controller.tick()
        result.write_text(told)
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE
        assert len(controller.store.attempts(0, 0)) == 1


def test_a_gpu_cap_that_bears_no_single_job_ends_the_search(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        config = with_gpus(controller.store.config, gpu_hours=0.5)
    with Controller(paths, config=config) as controller:
        controller.start()
        for _ in range(20):
            report = controller.tick()
            if report.finished:
                break
            cluster.finish_all()
        assert report.state is SearchState.FAILED
        assert "budget reached" in controller.store.state()[1]


def test_planned_trials_over_the_gpu_cap_are_given_up_and_the_choice_is_made(search, cluster):
    paths = search(parallel=2)
    with Controller(paths) as controller:
        config = with_gpus(controller.store.config, minutes=60, gpu_hours=3.0 + 2 / 3600)
    with Controller(paths, config=config) as controller:
        controller.start()
        for _ in range(60):
            report = controller.tick()
            if report.finished:
                break
            for token, request in list(cluster.live.items()):
                cluster.finish(token)
                if request.kind is JobKind.TRAIN:
                    spend(request, 3600.0)
        assert report.state is SearchState.DONE, report
        assert controller.store.state()[1].startswith("budget reached")
        assert controller.store.test_score() is not None
    assert check(paths) == []


def spend(request, seconds):
    """Have a job's result say that it took so long on one GPU."""
    from hpc_trex.models import JobResult

    path = request.directory / "result.json"
    result = JobResult.model_validate_json(path.read_bytes())
    write_record(path, result.model_copy(update={"seconds": seconds, "gpus": 1}))


def test_a_gpu_cap_that_only_running_jobs_could_fill_ends_no_search(search, cluster):
    paths = search(parallel=4, max_nodes=4)
    with Controller(paths) as controller:
        config = with_gpus(controller.store.config, minutes=60, gpu_hours=2.5)
    with Controller(paths, config=config) as controller:
        controller.start()
        for _ in range(100):
            report = controller.tick()
            if report.finished:
                break
            assert sum(attempt.gpus for attempt in controller.store.live_attempts()) <= 2
            cluster.finish_all()
        assert controller.store.next_node() == 5, "seconds of a job are no hour"
        assert report.state is SearchState.DONE


def test_two_launches_of_one_name_leave_the_first_search_alone(search, tmp_path):
    plan = plan_launch(LaunchOptions(name="twice", max_nodes=2))
    paths = create_search(plan)
    before = paths.events.read_bytes()
    with pytest.raises(UsageProblem):
        create_search(plan)
    assert paths.events.read_bytes() == before


def twin_of(controller, node):
    """Add a round beside ``node`` with the same data, whose first trial is the same and whose second is another."""
    view = controller.store.node(node)
    plan = view.plan
    other = plan.trials[0].model_copy(
        update={"train": plan.trials[0].train.model_copy(update={"learning_rate": 1.234e-5})}
    )
    twin = plan.model_copy(update={"trials": (plan.trials[0], other)})
    from hpc_trex.controller.design import add_node

    return add_node(controller.work, view.parent, twin)


def test_cancelling_a_round_spares_the_round_that_shares_its_data_and_trial(search, cluster):
    paths = search(parallel=1, max_nodes=2)
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: any(a.kind is JobKind.PREPARE for a in controller.store.live_attempts()))
        twin = twin_of(controller, 1)
        assert controller.store.node(twin).data_from == 1
        assert controller.store.trial(twin, 1).reused_from == (1, 1)
        controller.cancel(1)
        assert controller.store.node(1).state is NodeState.CANCELLED
        assert controller.store.node(twin).state is NodeState.PENDING
        until(controller, cluster, lambda: controller.store.node(twin).state is not NodeState.PENDING)
        view = controller.store.node(twin)
        assert view.state is NodeState.DONE
        assert [trial.state for trial in view.trials[:2]] == [TrialState.DONE, TrialState.DONE]


def test_a_round_that_a_cancel_ends_with_a_score_is_read_by_the_researcher(search, cluster):
    paths = search(parallel=2)
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: sum("-n1-t" in token for token in cluster.live) == 2)
        cluster.finish(next(token for token in cluster.live if "-n1-t1-" in token))
        controller.tick()
        controller.cancel(1)
        assert controller.store.node(1).state is NodeState.DONE
        controller.tick()
        assert controller.store.undiagnosed() == []


def test_a_raised_cap_on_rounds_wakes_a_search_that_was_finishing(search, cluster):
    paths = search(max_nodes=1)
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: controller.store.state()[0] is SearchState.FINISHING)
        config = controller.store.config
    more = config.model_copy(update={"budget": config.budget.model_copy(update={"max_nodes": 3})})
    with Controller(paths, config=more) as controller:
        controller.start()
        assert controller.store.state()[0] is SearchState.RUNNING
    with drive(paths, cluster) as controller:
        assert controller.store.next_node() == 4


def test_a_search_with_live_jobs_does_not_move_to_another_scheduler(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        controller.tick()
        (token,) = cluster.live
        config = controller.store.config
    other = config.model_copy(update={"profile": config.profile.model_copy(update={"scheduler": "slurm"})})
    with pytest.raises(UsageProblem, match="1 job"):
        Controller(paths, config=other)
    cluster.finish(token)
    with Controller(paths) as controller:  # the old scheduler's jobs are brought home first
        controller.tick()
        controller.cancel(0)
        assert not controller.store.live_attempts()
    Controller(paths, config=other).close()


def test_a_round_whose_samples_were_removed_is_read_without_them(search, cluster):
    from hpc_trex.models import JobResult

    paths = search(max_nodes=1)
    with Controller(paths) as controller:
        controller.start()
        for _ in range(60):
            if controller.tick().finished:
                break
            for token, request in list(cluster.live.items()):
                cluster.finish(token)
                path = request.directory / "result.json"
                result = JobResult.model_validate_json(path.read_bytes())
                write_record(path, result.model_copy(update={"samples": str(request.directory / "gone.jsonl")}))
        assert controller.store.state()[0] is SearchState.DONE
        assert controller.store.node(1).report


def test_a_cancelled_job_is_charged_for_the_time_it_ran(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        config = with_gpus(controller.store.config)
    with Controller(paths, config=config) as controller:
        controller.start()
        until(controller, cluster, lambda: any(a.gpus for a in controller.store.live_attempts()))
        controller.tick()
        (attempt,) = controller.store.live_attempts()
        assert attempt.state is AttemptState.RUNNING
        beat = Heartbeat(phase="training", step=3, seconds=1800.0)
        write_record(controller.work.attempt_paths(attempt).heartbeat, beat)
        controller.cancel()
        assert controller.store.cost().gpu_hours == pytest.approx(0.5)


def test_a_plan_that_is_refused_again_and_again_is_noted_once(search, cluster, monkeypatch):
    paths = search(parallel=3)
    monkeypatch.setattr("hpc_trex.controller.design.review", lambda plan, view: ["no good"])
    with Controller(paths) as controller:
        controller.start()
        controller.tick()
        cluster.finish_all()  # the base model
        controller.tick()
        controller.store.record(
            NodeAdded(node=1, parent=0, plan=None, data_from=0)
        )  # a round under way: the search cannot end
        controller.store.record(TrialAdded(node=1, trial=1, kind=JobKind.BASELINE))
        token = next(token for token in cluster.live if "-n0-" in token)
        cluster.finish(token)
        for _ in range(3):
            controller.tick()
        notes = len(controller.store.notes())
        for _ in range(5):
            controller.tick()
        assert len(controller.store.notes()) == notes > 0


def test_a_request_to_cancel_is_kept_while_the_scheduler_is_away(search, cluster, monkeypatch):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        controller.tick()

        def away(jobs):
            raise CancelUnavailable("cannot cancel: squeue says: no answer")

        with monkeypatch.context() as patch:
            patch.setattr(cluster, "cancel", away, raising=False)
            paths.stop_request.write_text('{"action": "cancel", "node": null}')
            assert controller.tick().state is SearchState.RUNNING
            assert paths.stop_request.exists()
        assert controller.tick().state is SearchState.CANCELLED
        assert not paths.stop_request.exists()


def test_a_resumed_controller_keeps_its_files_private(search, cluster):
    paths = search()
    old = os.umask(0o022)
    try:
        with Controller(paths) as controller:
            controller.start()
            controller.tick()
            (request,) = cluster.live.values()
        assert request.directory.stat().st_mode & 0o077 == 0
    finally:
        os.umask(old)


def test_a_job_that_succeeded_without_a_score_fails_its_round(search, cluster):
    from hpc_trex.models import JobResult

    paths = search()
    with Controller(paths) as controller:
        controller.start()
        for _ in range(10):
            report = controller.tick()
            if report.finished:
                break
            for token, request in list(cluster.live.items()):
                cluster.finish(token)
                path = request.directory / "result.json"
                result = JobResult.model_validate_json(path.read_bytes())
                write_record(path, result.model_copy(update={"scores": {}}))
        assert report.state is SearchState.FAILED
        assert controller.store.node(0).state is NodeState.FAILED


def test_the_reached_cap_is_still_told_after_the_sealed_test_had_to_pause(search, cluster):
    paths = search(cpu_hours=1.503)
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: any(a.kind is JobKind.TEST for a in controller.store.live_attempts()))
        controller.work.change_state(SearchState.PAUSED, "the environment failed")
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE
        assert controller.store.state()[1].startswith("budget reached")


def test_two_thousand_submits_that_nobody_answers_are_tried_on(search, cluster):
    paths = search()
    with Controller(paths) as controller:
        controller.start()
        controller.work.submit_failures = 2000
        cluster.refuse_next = "before"
        assert not controller.tick().finished
        assert controller.work.submit_failures == 2001
