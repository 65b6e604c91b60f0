"""Repairs by rule in whole searches on the simulated cluster: recorded, bounded, shown, and nothing lost over a kill."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from hpc_trex.controller import Controller
from hpc_trex.files import read_record, write_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models import (
    FATES,
    DataRecipe,
    FailureClass,
    JobKind,
    JobResult,
    JobSpec,
    NodeState,
    TrialState,
    trial_identity,
)
from hpc_trex.models.operators import Python
from hpc_trex.tree.check import check, rebuild
from hpc_trex.tree.repairs import repairs
from hpc_trex.tree.store import Store
from tests.unit.controller.conftest import drive, until
from tests.unit.controller.simulation import Cluster

Fails = Callable[[JobSpec], tuple[FailureClass, str] | None]
NO_FLASH = "attention = flash_attention_2 is not possible: no CUDA GPU; set attention = auto"
BOOL = "python: row 1 of 20 (curated:1): the code returned true or false, not a row; return a dict"


@pytest.fixture
def failing(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Callable[[Fails], Cluster]:
    """A cluster whose jobs fail where a rule says so, with its class and message."""

    def made(rule: Fails) -> Cluster:
        whole = type(cluster).finish

        def finish(self: Cluster, token: str, *, failure: FailureClass | None = None) -> None:
            request = self.live[token]
            spec = read_record(request.spec, JobSpec)
            assert spec is not None
            said = None if failure else rule(spec)
            whole(self, token, failure=said[0] if said else failure)
            if said:
                path = request.directory / "result.json"
                result = read_record(path, JobResult)
                assert result is not None
                write_record(path, result.model_copy(update={"message": said[1]}))

        monkeypatch.setattr(type(cluster), "finish", finish)
        return cluster

    return made


def oom_above(size: int) -> Fails:
    def rule(spec: JobSpec) -> tuple[FailureClass, str] | None:
        if spec.kind is not JobKind.TRAIN or spec.train is None:
            return None
        if spec.train.gradient_checkpointing or (spec.train.micro_batch_size or spec.train.batch_size) <= size:
            return None
        return FailureClass.OOM, "out of memory"

    return rule


def test_a_smaller_batch_is_the_same_experiment_and_each_step_is_recorded(search, failing):
    cluster = failing(oom_above(4))
    paths = search(max_nodes=1, trials=1)
    with drive(paths, cluster) as controller:
        store = controller.store
        trial = store.trial(1, 1)
        assert trial.state is TrialState.DONE
        batch = trial.plan.train.batch_size
        done = repairs(store, 1)
        assert [one.outcome for one in done] == ["repaired"] * len(done)
        assert done[0].changes == f"micro_batch_size None -> {batch // 2}"
        assert trial.micro_batch_size == trial.how["micro_batch_size"] == 4
        assert trial.plan.train.micro_batch_size is None, "the plan stays"
        base, task = store.digests()
        assert trial.identity == trial_identity(store.node(1).plan.data, trial.plan, base=base, task=task)
        assert trial.repaired_from == ""
        last = store.attempts(1, 1)[-1]
        spec = read_record(controller.work.attempt_paths(last).spec, JobSpec)
        assert spec.train.micro_batch_size == 4
        assert spec.repairs[-1] == f"OOM, by rule: {done[-1].changes}"
    assert check(paths) == []


def test_memory_that_never_suffices_ends_with_checkpointing_and_within_the_bound(search, failing):
    cluster = failing(lambda spec: (FailureClass.OOM, "out of memory") if spec.kind is JobKind.TRAIN else None)
    paths = search(max_nodes=1, trials=1)
    with drive(paths, cluster) as controller:
        store = controller.store
        assert store.node(1).failure is FailureClass.OOM
        assert store.node(1).reward == 0
        assert len(store.attempts(1, 1)) <= 1 + FATES[FailureClass.OOM].retries
        assert repairs(store, 1)[-1].changes == "micro_batch_size 2 -> 1; gradient_checkpointing False -> True"
    assert check(paths) == []


def with_flash(monkeypatch: pytest.MonkeyPatch) -> None:
    from hpc_trex.agents.playbook import PlaybookResearcher

    proposed = PlaybookResearcher.propose

    def wanted(self, view, parent, *, seed):
        plan = proposed(self, view, parent, seed=seed)
        trials = [
            one.model_copy(update={"train": one.train.model_copy(update={"attention": "flash_attention_2"})})
            for one in plan.trials
        ]
        return plan.model_copy(update={"trials": tuple(trials)})

    monkeypatch.setattr(PlaybookResearcher, "propose", wanted)


def test_a_missing_attention_back_end_costs_one_attempt_and_not_the_round(search, failing, monkeypatch):
    with_flash(monkeypatch)
    cluster = failing(
        lambda spec: (FailureClass.CONFIG, NO_FLASH) if spec.train and spec.train.attention != "sdpa" else None
    )
    paths = search(max_nodes=1)
    with drive(paths, cluster) as controller:
        store = controller.store
        assert store.node(1).state is NodeState.DONE
        assert {one.how["attention"] for one in store.node(1).trials if one.replicate_of is None and one.plan} == {
            "sdpa"
        }
        assert {len(store.attempts(1, trial.trial)) for trial in store.node(1).trials if trial.plan} == {2}
    assert check(paths) == []


def with_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from hpc_trex.agents.playbook import PlaybookResearcher

    proposed = PlaybookResearcher.propose
    step = Python(code="def transform(row): return len(row['answer']) > 3")

    def wanted(self, view, parent, *, seed):
        plan = proposed(self, view, parent, seed=seed)
        return plan.model_copy(update={"data": DataRecipe(steps=(*plan.data.steps[:1], step))})

    monkeypatch.setattr(PlaybookResearcher, "propose", wanted)
    monkeypatch.setattr("hpc_trex.controller.design.review", lambda plan, view: [])


def map_of_verdicts(spec: JobSpec) -> tuple[FailureClass, str] | None:
    steps = spec.data.steps if spec.data is not None else ()
    wrong = any(isinstance(step, Python) and step.mode == "map" for step in steps)
    return (FailureClass.DATA, BOOL) if wrong else None


def test_a_repaired_recipe_is_another_experiment_prepared_anew_and_the_broken_one_counts_as_tried(
    search, failing, monkeypatch
):
    with_code(monkeypatch)
    cluster = failing(map_of_verdicts)
    paths = search(max_nodes=1)
    with drive(paths, cluster) as controller:
        store = controller.store
        view = store.node(1)
        assert view.state is NodeState.DONE
        assert view.plan.data.steps[1].mode == "filter"
        assert [one.attempt for one in store.attempts(1, 0)] == [1, 2]
        base, task = store.digests()
        for trial in view.trials:
            if trial.replicate_of is None and trial.plan is not None:
                assert trial.identity == trial_identity(view.plan.data, trial.plan, base=base, task=task)
                assert trial.repaired_from not in ("", trial.identity)
                assert store.is_tried(trial.repaired_from)
        (one,) = repairs(store, 1)
        assert (one.trial, one.by, one.failure) == (0, "rule", FailureClass.DATA)
        assert json.loads(paths.plan(1).read_text())["data"]["steps"][1]["mode"] == "filter"
    assert check(paths) == []


def test_rounds_that_share_the_data_share_the_repair(search, failing, monkeypatch):
    from hpc_trex.controller.design import add_node

    with_code(monkeypatch)
    cluster = failing(map_of_verdicts)
    paths = search(max_nodes=2, parallel=1)
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: any(a.kind is JobKind.PREPARE for a in controller.store.live_attempts()))
        view = controller.store.node(1)
        other = view.plan.trials[0].train.model_copy(update={"learning_rate": 1.234e-5})
        twin = add_node(
            controller.work,
            0,
            view.plan.model_copy(
                update={"trials": (view.plan.trials[0], view.plan.trials[0].model_copy(update={"train": other}))}
            ),
        )
        until(controller, cluster, lambda: not controller.store.node_ids(NodeState.PENDING))
        store = controller.store
        assert store.node(twin).state is NodeState.DONE
        assert store.node(twin).plan.data == store.node(1).plan.data
        assert store.node(twin).data_from == 1
        assert store.trial(twin, 1).reused_from == (1, 1)
        assert store.trial(twin, 1).score == store.trial(1, 1).score
        assert len(store.attempts(twin, 0)) == 0, "prepared once"
    assert check(paths) == []


def test_what_a_person_has_approved_is_not_changed(search, failing, monkeypatch):
    with_code(monkeypatch)
    cluster = failing(map_of_verdicts)
    paths = search(max_nodes=1, approve=("data",))
    from hpc_trex.controller.requests import Request

    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: controller.store.status().waits_for is not None)
        controller.ask(Request(action="approve", node=1, gate="data", number=1))
        until(
            controller,
            cluster,
            lambda: controller.store.next_node() == 2 and controller.store.node(1).state is NodeState.FAILED,
        )
        assert repairs(controller.store, 1) == []


def test_a_person_who_runs_a_trial_again_gives_it_its_repairs_anew(search, failing):
    from hpc_trex.controller.requests import Request

    broken = [True]
    cluster = failing(
        lambda spec: (
            (FailureClass.OOM, "out of memory") if broken and spec.kind is JobKind.TRAIN and spec.node == 1 else None
        )
    )
    paths = search(max_nodes=12, trials=1)
    with Controller(paths) as controller:
        controller.start()
        until(
            controller,
            cluster,
            lambda: controller.store.next_node() > 1 and controller.store.node(1).state is NodeState.FAILED,
        )
        before = len(repairs(controller.store, 1))
        assert before > 1
        broken.clear()
        controller.ask(Request(action="retry", node=1))
        assert controller.store.trial(1, 1).how == {}
        assert all(one.superseded for one in repairs(controller.store, 1))
        until(controller, cluster, lambda: controller.store.node(1).state is NodeState.DONE)
        assert len(repairs(controller.store, 1)) == before
    assert check(paths) == []
    events = rebuild(paths)
    assert events > 10
    with Store.read(paths) as store:
        assert store.node(1).state is NodeState.DONE
        assert len(repairs(store, 1)) == before


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(6, 40, 6))
def test_a_kill_at_any_step_repairs_nothing_twice(search, failing, monkeypatch, at, after):
    from tests.unit.controller.test_kill import run_with_kill

    with_code(monkeypatch)
    sizes, codes = oom_above(8), map_of_verdicts
    cluster = failing(lambda spec: codes(spec) or sizes(spec))
    paths: SearchPaths = search(max_nodes=1, trials=1, parallel=2, name="killed")
    run_with_kill(paths, cluster, monkeypatch, at, after=after)
    with drive(paths, cluster) as controller:
        store = controller.store
        done = [(one.trial, one.changes) for one in repairs(store, 1)]
        assert len(done) == len(set(done)), "one repair was made twice"
        assert store.node(1).state is NodeState.DONE
        assert [one.attempt for one in store.attempts(1, 0)] == [1, 2]
        assert paths.plan(1).exists()
    assert check(paths) == []
