"""Repairs of rounds that share data or results with others: who is changed with them, and who is left alone."""

from __future__ import annotations

from hpc_trex.controller import Controller
from hpc_trex.controller.design import add_node
from hpc_trex.models import DataRecipe, FailureClass, JobKind, NodeState, TrialState
from hpc_trex.models.operators import Mix, Python
from hpc_trex.tree.check import check
from hpc_trex.tree.repairs import RepairDecided, repairs
from tests.unit.controller.conftest import until
from tests.unit.controller.test_repairs import failing, map_of_verdicts  # noqa: F401 - fixture


def preparing(controller: Controller) -> bool:
    return any(one.kind is JobKind.PREPARE for one in controller.store.live_attempts())


def test_an_equal_recipe_in_other_words_is_no_repair(search, failing):  # noqa: F811
    """Weights of 2 to 2 are those of 1 to 1: one preparation serves both rounds, and neither has failed."""
    cluster = failing(lambda spec: None)
    paths = search(max_nodes=2, parallel=1)
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: preparing(controller))
        plan = controller.store.node(1).plan
        load = plan.data.steps[:1]
        source = load[0].source
        rate = plan.trials[0].train.model_copy(update={"learning_rate": 1.234e-5})
        nodes = [
            add_node(
                controller.work,
                0,
                plan.model_copy(
                    update={
                        "data": DataRecipe(steps=(*load, Mix(weights={source: weight}))),
                        "trials": (plan.trials[0].model_copy(update={"train": train}),),
                    }
                ),
            )
            for weight, train in ((1.0, plan.trials[0].train), (2.0, rate))
        ]
        until(controller, cluster, lambda: not controller.store.node_ids(NodeState.PENDING))
        store = controller.store
        assert store.node(nodes[1]).data_from == nodes[0]
        assert repairs(store, nodes[1]) == []
        assert store.trial(nodes[1], 1).repaired_from == ""
    assert check(paths) == []


def test_a_repaired_recipe_leaves_a_trial_alone_that_has_its_result_already(search, failing, monkeypatch):  # noqa: F811
    """Another seed of the data makes another preparation of an experiment that is known: its trial is over before."""
    monkeypatch.setattr("hpc_trex.controller.design.review", lambda plan, view: [])
    seeds = [7]
    cluster = failing(lambda spec: map_of_verdicts(spec) if spec.data is not None and spec.data.seed in seeds else None)
    paths = search(max_nodes=2, parallel=1)
    step = Python(code="def transform(row): return len(row['answer']) > 3")
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: preparing(controller))
        plan = controller.store.node(1).plan
        data = DataRecipe(steps=(*plan.data.steps[:1], step))
        one = add_node(controller.work, 0, plan.model_copy(update={"data": data, "trials": plan.trials[:1]}))
        until(controller, cluster, lambda: controller.store.node(one).state is NodeState.DONE)
        rate = plan.trials[0].train.model_copy(update={"learning_rate": 1.234e-5})
        trials = (plan.trials[0], plan.trials[0].model_copy(update={"train": rate}))
        again = data.model_copy(update={"seed": 7})
        two = add_node(controller.work, 0, plan.model_copy(update={"data": again, "trials": trials}))
        until(controller, cluster, lambda: controller.store.node(two).state is not NodeState.PENDING)
        store = controller.store
        assert store.node(two).state is NodeState.DONE
        assert store.trial(two, 1).score == store.trial(one, 1).score
        assert store.trial(two, 1).repaired_from == "", "what has run is what it was"
        assert store.trial(two, 1).identity == store.trial(one, 1).identity
        assert store.trial(two, 2).repaired_from != ""
    assert check(paths) == []


def test_a_trial_that_waits_for_its_twin_is_set_free_when_that_becomes_another_experiment(search, failing):  # noqa: F811
    """A repair made trial 1 equal to trial 2, which is repaired in its turn: trial 1 runs itself, it has a job behind it."""
    broken = [True]
    cluster = failing(
        lambda spec: (
            (FailureClass.CONFIG, "no such module")
            if broken and spec.kind is JobKind.TRAIN and spec.node == 1 and spec.train.learning_rate != 1e-5
            else None
        )
    )
    paths = search(max_nodes=1, parallel=2)
    with Controller(paths) as controller:
        controller.start()
        store = controller.store
        until(controller, cluster, lambda: len(store.live_attempts()) == 2 and store.next_node() == 2)
        plan, twin = store.node(1).plan, store.trial(1, 2)
        for token in [one.token for one in store.live_attempts() if one.trial == 1]:
            cluster.finish(token)
        from hpc_trex.controller import collect as collecting

        collecting.collect(controller.work)
        assert store.attempts(1, 1)[-1].failure is FailureClass.CONFIG
        event = {"type": "repair_decided", "node": 1, "number": 1, "attempt": 1, "by": "model", "outcome": "repaired", "failure": "CONFIG"}  # fmt: skip
        as_twin = plan.model_copy(update={"trials": (twin.plan, twin.plan)})
        controller.work.record(
            RepairDecided.model_validate(
                event
                | {
                    "trial": 1,
                    "plan": as_twin,
                    "trials": [{"trial": 1, "identity": twin.identity, "reused_from": (1, 2)}],
                }
            )
        )
        assert store.trial(1, 1).state is TrialState.ACTIVE
        for token in [one.token for one in store.live_attempts() if one.trial == 2]:
            cluster.finish(token)
        collecting.collect(controller.work)
        other = twin.plan.model_copy(update={"train": twin.plan.train.model_copy(update={"learning_rate": 1e-5})})
        changed = as_twin.model_copy(update={"trials": (twin.plan, other)})
        controller.work.record(
            RepairDecided.model_validate(
                event
                | {"trial": 2, "plan": changed, "trials": [{"trial": 2, "identity": "f" * 64, "reused_from": None}]}
            )
        )
        assert store.trial(1, 1).reused_from is None, "the result of trial 2 is that of another experiment now"
        broken.clear()
        until(controller, cluster, lambda: store.node(1).state is NodeState.DONE)
        assert len(store.attempts(1, 1)) == 2
    assert check(paths) == []
