"""Jobs that the scheduler does not know: those that live on are waited for, those that started are never started again."""

from __future__ import annotations

import json

import pytest

from hpc_trex.controller import Controller, collect
from hpc_trex.files import temporary_name, write_record
from hpc_trex.models import AttemptState, FailureClass, Heartbeat, JobSpec, SearchState
from hpc_trex.tree.check import check
from tests.unit.controller.conftest import drive
from tests.unit.controller.simulation import Killed, result_of


def forgotten(controller, cluster):
    """Tick until a job runs, have slurmctld forget it while its processes go on, and return its request."""
    controller.start()
    controller.tick()
    controller.tick()
    (token,) = list(cluster.live)
    request = cluster.live[token]
    cluster.lose(token)
    return request


def test_a_forgotten_job_that_beats_is_waited_for_and_its_result_counts(search, cluster):
    paths = search(max_nodes=1)
    with Controller(paths) as controller:
        request = forgotten(controller, cluster)
        for step in range(6):
            write_record(request.directory / "heartbeat.json", Heartbeat(phase="training", step=step))
            controller.tick()
        (attempt,) = controller.store.attempts()
        assert attempt.state is AttemptState.RUNNING
        write_record(
            request.directory / "result.json", result_of(JobSpec.model_validate_json(request.spec.read_bytes()), None)
        )
        controller.tick()
        assert controller.store.attempts()[0].state is AttemptState.SUCCEEDED
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE
        assert all(item.attempt == 1 for item in controller.store.attempts())


def test_a_job_that_an_administrator_put_back_into_the_queue_is_shown_as_waiting_and_not_as_running(search, cluster):
    with Controller(search(max_nodes=1)) as controller:
        controller.start()
        controller.tick()
        controller.tick()
        (attempt,) = controller.store.live_attempts()
        assert (attempt.state, attempt.host) == (AttemptState.RUNNING, "sim")
        cluster.waiting.add(attempt.token)
        events = controller.store.last_seq() + 1
        for _ in range(2):
            controller.tick()
        (attempt,) = controller.store.live_attempts()
        assert (attempt.state, attempt.host, controller.store.last_seq()) == (AttemptState.QUEUED, "", events)
        cluster.waiting.clear()
        controller.tick()
        assert controller.store.live_attempts()[0].state is AttemptState.RUNNING


def test_half_files_of_a_job_that_failed_with_a_result_go_too(search, cluster):
    with Controller(search(max_nodes=1)) as controller:
        request = forgotten(controller, cluster)
        half = temporary_name(request.directory / "heartbeat.json")
        half.write_text("{")
        spec = JobSpec.model_validate_json(request.spec.read_bytes())
        write_record(request.directory / "result.json", result_of(spec, FailureClass.TIMEOUT))
        controller.tick()
        assert controller.store.attempts()[0].failure is FailureClass.TIMEOUT
        assert not half.exists()


@pytest.mark.parametrize(("begun", "failure"), [(False, FailureClass.LOST), (True, FailureClass.CANCELLED)])
def test_a_job_that_slurm_took_back_before_it_began_is_tried_again_and_one_that_had_begun_is_not(
    search, cluster, begun, failure
):
    with Controller(search(max_nodes=1)) as controller:
        request = forgotten(controller, cluster)
        cluster.taken_back.add(request.token)
        if begun:
            (request.directory / "job.err").write_text("slurmstepd: error: *** JOB 5 ON sim CANCELLED AT 2026 ***")
        for _ in range(collect.AGREEING_LOOKS):
            controller.tick()
        attempts = controller.store.attempts()
        assert attempts[0].failure is failure
        assert len(attempts) == (1 if begun else 2)


@pytest.mark.parametrize("result", [False, True])
@pytest.mark.parametrize(
    ("seen_again", "by_hand"), [(False, False), (True, False), (False, True)], ids=["waiting", "runs-again", "by-hand"]
)
def test_a_job_that_slurm_put_back_and_cancelled_over_its_own_first_start_is_tried_again(
    search, cluster, seen_again, by_hand, result
):
    """A slurmctld that forgot only the start of a job starts it again; the node refuses that, and the first run is ended."""
    with Controller(search(max_nodes=1)) as controller:
        controller.start()
        controller.tick()
        controller.tick()
        (attempt,) = controller.store.live_attempts()
        request = cluster.live[attempt.token]
        (request.directory / "started.json").write_text(json.dumps({"token": attempt.token}))
        cluster.waiting.add(attempt.token)
        controller.tick()
        cluster.waiting.clear()
        if seen_again:
            controller.tick()
        if result:
            cluster.finish(attempt.token, failure=FailureClass.PREEMPTED)
        else:
            cluster.lose(attempt.token)
        (cluster.cancelled if by_hand else cluster.taken_back).add(attempt.token)
        for _ in range(collect.AGREEING_LOOKS):
            controller.tick()
        attempts = controller.store.attempts()
        final = seen_again or by_hand
        again = FailureClass.PREEMPTED if result else FailureClass.LOST
        assert attempts[0].failure is (FailureClass.CANCELLED if final else again)
        assert len(attempts) == (1 if final else 2)


def test_a_forgotten_job_whose_heart_stands_still_is_lost_and_its_half_files_go(search, cluster, monkeypatch):
    monkeypatch.setattr(collect, "SILENT_SECONDS", 0.0)
    with Controller(search(max_nodes=1)) as controller:
        request = forgotten(controller, cluster)
        write_record(request.directory / "heartbeat.json", Heartbeat(phase="training", step=1))
        half = temporary_name(request.directory / "heartbeat.json")
        half.write_text("{")
        for _ in range(collect.AGREEING_LOOKS):
            controller.tick()
        first, second = controller.store.attempts()
        assert (first.failure, second.attempt) == (FailureClass.LOST, 2)
        assert not half.exists()


@pytest.mark.parametrize("started", [True, False])
def test_a_job_that_started_is_not_submitted_again_though_nobody_knows_it_any_more(
    search, cluster, monkeypatch, started
):
    """Without accounting Slurm forgets a job minutes after its end; meanwhile no controller may have lived to record its id."""
    paths = search(max_nodes=1)
    submit = type(cluster).submit

    def die_behind(self, request):
        submit(self, request)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(cluster), "submit", die_behind)
        controller = Controller(paths)
        with pytest.raises(Killed):
            controller.tick()
        controller.close()
    ((token, request),) = cluster.live.items()
    cluster.lose(token)
    if started:
        (request.directory / "started.json").write_text(json.dumps({"token": token}))
    else:
        cluster.starts.clear()  # sbatch was killed before it came through
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE
        assert max(cluster.starts.values()) == 1  # the simulation refuses a second submit of a token by itself
        failures = [item.failure for item in controller.store.attempts() if item.token == token]
        assert failures == ([FailureClass.LOST] if started else [None])
    assert check(paths) == []
