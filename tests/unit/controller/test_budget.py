"""Caps in GPU- and CPU-hours: reserved before a job is asked for, settled with what it used, never passed at any instant."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpc_trex.controller import Controller, loop
from hpc_trex.controller import charges as charging
from hpc_trex.files import write_record
from hpc_trex.launch import LaunchOptions, create_search, plan_launch
from hpc_trex.layout import AttemptPaths, SearchPaths
from hpc_trex.models import (
    AttemptView,
    FailureClass,
    Heartbeat,
    JobKind,
    JobResult,
    Resources,
    SearchState,
)
from hpc_trex.tree.events import AttemptEnded, AttemptIntended
from hpc_trex.tree.spending import spent, spent_by
from tests.unit.controller.simulation import Cluster
from tests.unit.tree.building import MEMORY

pytestmark = pytest.mark.slow

OUTCOMES = ("done", "result beyond the limit", "lost with a beat", "lost without a beat", "never started", "failed")


def sized(config, *, gpus=1, cpus=2, minutes=30, **budget):
    """The same search with these resources for every job, under these caps."""
    some = Resources(gpus_per_node=gpus, cpus_per_task=cpus, minutes=minutes)
    profile = config.profile.model_copy(
        update={
            "train": some,
            "evaluate": some,
            "prepare": some.model_copy(update={"gpus_per_node": 0}),
            "account": "lab7",
        }
    )
    return config.model_copy(update={"profile": profile, "budget": config.budget.model_copy(update=budget)})


def made(root: Path, **options: object) -> SearchPaths:
    given_options = {"max_nodes": 4, "parallel": 4, "directory": str(root / "search")} | options
    return create_search(plan_launch(LaunchOptions.model_validate(given_options)))


def play(cluster: Cluster, token: str, outcome: str, share: float) -> None:
    """Let one job end as drawn; ``share``: of its limit."""
    request = cluster.live[token]
    limit, paths = request.resources.minutes * 60.0, AttemptPaths(request.directory)
    if outcome == "never started":
        cluster.lose(token)
        return
    paths.started.touch()
    if outcome == "lost with a beat":
        write_record(paths.heartbeat, Heartbeat(phase="training", step=1, seconds=share * limit * 2))
        os.utime(paths.heartbeat, (1, 1))  # so long ago that the job does not look alive
    if outcome.startswith("lost"):
        cluster.lose(token)
        return
    cluster.finish(token, failure=FailureClass.LOST if outcome == "failed" else None)
    seconds = limit * (1 + share) if outcome == "result beyond the limit" else limit * share
    result = JobResult.model_validate_json(paths.result.read_bytes())
    busy = result.model_copy(update={"seconds": seconds, "cpu_seconds": seconds * 16, "gpus": request.resources.gpus})
    write_record(paths.result, busy)


def within_caps(paths: SearchPaths, *, gpu: float, cpu: float) -> int:
    """Replay the log: after each event, what is used and reserved is under both caps; return how many jobs there were."""
    live: dict[str, AttemptIntended] = {}
    used = [0.0, 0.0]
    count = 0
    from hpc_trex.tree.log import EventReader

    for entry in EventReader(paths.events):
        event = entry.line.event
        if isinstance(event, AttemptIntended):
            live[event.token] = event
            count += 1
        elif isinstance(event, AttemptEnded):
            intent = live.pop(event.token)
            used[0] += (event.gpus or intent.gpus) * event.seconds / 3600
            used[1] += event.cpu_seconds / 3600
        held = [sum(item.gpus * item.minutes / 60 for item in live.values())]
        held.append(sum(item.cpus * item.minutes / 60 for item in live.values()))
        for name, cap, one, more in zip(("GPU", "CPU"), (gpu, cpu), used, held, strict=True):
            assert one + more <= cap + 1e-6, (
                f"{name}: {one} used and {more} reserved of {cap} after event {entry.line.seq}"
            )
    return count


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), gpu=st.floats(1.0, 8.0), cpu=st.floats(2.0, 14.0))
def test_used_and_reserved_never_pass_a_cap_whatever_becomes_of_the_jobs(data, gpu, cpu):
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, pytest.MonkeyPatch.context() as patch:
        root = Path(folder)
        patch.setenv("HPC_TREX_CACHE", str(root / "cache"))
        cluster = Cluster()
        patch.setattr(loop, "make_scheduler", lambda profile: cluster)
        patch.setattr("hpc_trex.controller.collect.SILENT_SECONDS", 0.0)
        paths = made(root)
        with Controller(paths) as controller:
            config = sized(controller.store.config, gpu_hours=gpu, cpu_hours=cpu)
        with Controller(paths, config=config) as controller:
            controller.start()
            for _ in range(60):
                report = controller.tick()
                if report.finished:
                    break
                for token in list(cluster.live):
                    if data.draw(st.booleans()):
                        play(cluster, token, data.draw(st.sampled_from(OUTCOMES)), data.draw(st.floats(0, 1)))
            now, rows = spent(controller.store), spent_by(controller.store, "node")
            assert sum(row.gpu_hours for row in rows) == pytest.approx(now.gpu_hours)
            assert sum(row.reserved_cpu_hours for row in rows) == pytest.approx(now.reserved_cpu_hours)
        within_caps(paths, gpu=gpu, cpu=cpu)


@pytest.fixture
def attempt(tmp_path):
    """An attempt of two GPUs, four CPUs and ten minutes, and the search that it belongs to."""
    view = AttemptView(
        node=1, trial=1, attempt=1, kind=JobKind.TRAIN, token="t", state="running", gpus=2, cpus=4, minutes=10,
        directory="a",
    )  # fmt: skip
    files = AttemptPaths(tmp_path / "a")
    files.root.mkdir()
    return view, files, SimpleNamespace(attempt_paths=lambda one: files)


def age(path: Path, seconds: float) -> None:
    """Make a file so much older, by the file server's clock."""
    at = path.stat().st_mtime - seconds
    os.utime(path, (at, at))


def test_a_job_that_never_started_costs_nothing(attempt):
    view, _, work = attempt
    for failure in (FailureClass.TIMEOUT, FailureClass.LOST, FailureClass.CANCELLED):
        assert charging.without_result(work, view, failure) == (0.0, 0.0)


def test_a_job_that_slurm_ended_at_its_limit_costs_its_limit(attempt):
    view, files, work = attempt
    files.started.touch()
    write_record(files.heartbeat, Heartbeat(phase="training", seconds=30.0))
    assert charging.without_result(work, view, FailureClass.TIMEOUT) == (600.0, 2400.0)


def test_a_lost_job_costs_what_it_lived_until_its_last_sign(attempt):
    view, files, work = attempt
    files.started.touch()
    age(files.started, 300)
    write_record(files.heartbeat, Heartbeat(phase="training", seconds=120.0))
    age(files.heartbeat, 100)
    used = charging.without_result(work, view, FailureClass.NODE_FAIL)
    assert used.seconds == pytest.approx(200, abs=2), "the claim was made 200 s before the last beat"
    assert used.cpu_seconds == pytest.approx(4 * used.seconds)


def test_a_lost_job_without_a_beat_costs_the_time_since_its_start_at_most_its_limit(attempt):
    view, files, work = attempt
    files.started.touch()
    age(files.started, 50)
    assert charging.without_result(work, view, FailureClass.LOST).seconds == pytest.approx(50, abs=2)
    age(files.started, 86400)
    assert charging.without_result(work, view, FailureClass.LOST).seconds == 600.0


def test_what_was_reserved_is_what_the_attempt_was_given_not_what_the_profile_says_now(tmp_path, monkeypatch):
    """A running job of 2 GPU-hours is not forgotten because ``resume`` has changed the profile."""
    cluster = Cluster()
    monkeypatch.setattr(loop, "make_scheduler", lambda profile: cluster)
    monkeypatch.setenv("HPC_TREX_CACHE", str(tmp_path / "cache"))
    paths = made(tmp_path, parallel=1)
    with Controller(paths) as controller:
        first = sized(controller.store.config, gpus=2, minutes=60, gpu_hours=4.5)
    with Controller(paths, config=first) as controller:
        controller.start()
        controller.tick()
        (row,) = spent_by(controller.store, "account")
        assert (row.key, row.reserved_gpu_hours, row.reserved_cpu_hours) == ("lab7", 2.0, 2.0)
    small = sized(first, gpus=1, minutes=6, gpu_hours=4.5)
    with Controller(paths, config=small.model_copy(update={"parallel": 4})) as controller:
        controller.tick()
        assert spent(controller.store).reserved_gpu_hours == 2.0
        status = controller.store.status()
        assert (status.spent.reserved_gpu_hours, status.gpu_hours_cap) == (2.0, 4.5)
    within_caps(paths, gpu=4.5, cpu=100)


def test_an_intent_that_would_now_cost_more_than_was_reserved_is_not_submitted(tmp_path, monkeypatch):
    """The controller died before sbatch, and the next one runs on a profile with larger jobs."""
    cluster = Cluster()
    monkeypatch.setattr(loop, "make_scheduler", lambda profile: cluster)
    monkeypatch.setenv("HPC_TREX_CACHE", str(tmp_path / "cache"))
    paths = made(tmp_path)
    with Controller(paths) as controller:
        small = sized(controller.store.config, gpus=1, minutes=6, gpu_hours=20.0)
    with Controller(paths, config=small) as controller:
        controller.start()
        cluster.refuse_next = "before"
        controller.tick()
    large = sized(small, gpus=4, minutes=60, gpu_hours=20.0)
    with Controller(paths, config=large) as controller:
        controller.start()
        for _ in range(4):
            controller.tick()
        first, second = controller.store.attempts(0, 0)
        assert (first.failure, first.seconds) == (FailureClass.LOST, 0.0)
        assert list(cluster.starts) == [second.token]
    within_caps(paths, gpu=20.0, cpu=1000)


def test_a_sealed_test_that_no_longer_fits_waits_for_more_budget(tmp_path, monkeypatch):
    """Its node failed and took its reserve with it: the search pauses with the reason, and a larger cap ends it."""
    cluster = Cluster()
    monkeypatch.setattr(loop, "make_scheduler", lambda profile: cluster)
    monkeypatch.setenv("HPC_TREX_CACHE", str(tmp_path / "cache"))
    paths = made(tmp_path, max_nodes=0)
    with Controller(paths) as controller:
        config = sized(controller.store.config, gpus=1, minutes=60, gpu_hours=2.5)
    with Controller(paths, config=config) as controller:
        controller.start()
        for _ in range(30):
            report = controller.tick()
            if report.finished:
                break
            for token, request in list(cluster.live.items()):
                outcome = "result beyond the limit" if request.kind is JobKind.TEST else "done"
                play(cluster, token, outcome, 0.01)
                if request.kind is JobKind.TEST:
                    result = AttemptPaths(request.directory).result
                    body = json.loads(result.read_text())
                    result.write_text(json.dumps(body | {"state": "failed", "failure": "NODE_FAIL", "scores": {}}))
        assert report.state is SearchState.PAUSED
        assert controller.store.state()[1].startswith("budget reached: ")
        more = config.model_copy(update={"budget": config.budget.model_copy(update={"gpu_hours": 5.0})})
    with Controller(paths, config=more) as controller:
        controller.start()
        for _ in range(10):
            if controller.tick().finished:
                break
            cluster.finish_all()
        assert controller.store.state()[0] is SearchState.DONE
    within_caps(paths, gpu=5.0, cpu=1000)


def test_logs_of_before_stay_readable(tmp_path):
    """An event without CPUs, user and account, as older versions wrote it."""
    from hpc_trex.tree.events import EVENT_LINE

    line = (
        '{"seq":4,"time":"2026-01-01T00:00:00","event":{"type":"attempt_intended","node":0,"trial":1,"attempt":1,'
        '"kind":"baseline","token":"x","directory":"d","gpus":1,"minutes":5}}'
    )
    event = EVENT_LINE.validate_json(line).event
    assert (event.cpus, event.user, event.account) == (0, "", "")
