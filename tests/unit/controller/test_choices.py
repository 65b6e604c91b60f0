"""What the controller makes of plans and outcomes: invalid plans, mixed failures, the same experiment in two rounds."""

from __future__ import annotations

from collections import Counter

from hpc_trex.agents.at_once import AtOnce
from hpc_trex.agents.protocol import Diagnosis
from hpc_trex.controller import Controller
from hpc_trex.files import write_record
from hpc_trex.models import (
    DataRecipe,
    FailureClass,
    JobKind,
    JobResult,
    NodeState,
    RoundPlan,
    SearchState,
    TrainConfig,
    TrialPlan,
)
from hpc_trex.models.operators import Load
from hpc_trex.tree.check import check
from tests.unit.controller import simulation


class Scripted(AtOnce):
    """A Researcher that reads its plans from a list: each is a round's trials, (learning rate, mixture)."""

    name = "scripted"

    def __init__(self, *plans):
        self.plans = list(plans)

    def propose(self, view, parent, *, seed):
        trials = tuple(
            TrialPlan(train=TrainConfig(learning_rate=rate), mixture=mixture) for rate, mixture in self.plans.pop(0)
        )
        return RoundPlan(
            hypothesis="scripted", data=DataRecipe(steps=tuple(map(_load, view.task.sources))), trials=trials
        )

    def diagnose(self, view, node, samples, cases=None):
        return Diagnosis("read", [])


def _load(source):
    return Load(source=source)


def run(controller, cluster, passes=100):
    for _ in range(passes):
        if controller.tick().finished:
            return
        cluster.finish_all()
    raise AssertionError("not over")


def test_a_plan_without_any_weight_is_refused_and_the_search_goes_on(search, cluster):
    paths = search(max_nodes=1)
    with Controller(paths) as controller:
        controller.start()
        controller.work.researcher = Scripted([(1e-3, {"curated": 0.0})], [(1e-3, {})], [(1e-3, None)])
        run(controller, cluster)
        assert controller.store.state()[0] is SearchState.DONE
        refused = [text for _, text, _ in controller.store.notes() if "refused" in text]
        assert len(refused) == 2
        assert all("not all 0" in text for text in refused)


def test_a_failed_round_gives_the_message_of_the_failure_that_it_names(search, cluster):
    paths = search(max_nodes=1)
    with Controller(paths) as controller:
        controller.start()
        controller.work.researcher = Scripted([(1e-3, None), (2e-3, None)])
        for _ in range(100):
            if controller.tick().finished:
                break
            for token, request in list(cluster.live.items()):
                if request.kind is JobKind.TRAIN:
                    failure = FailureClass.NODE_FAIL if "-t1-" in token else FailureClass.DIVERGED
                    cluster.live.pop(token)
                    failed = JobResult(token=token, state="failed", failure=failure, message=f"this was {failure}")
                    write_record(request.directory / "result.json", failed)
                else:
                    cluster.finish(token)
        node = controller.store.node(1)
        assert (node.state, node.failure) == (NodeState.FAILED, FailureClass.DIVERGED)
        assert node.message == "this was DIVERGED"


def test_one_experiment_in_two_rounds_is_one_finalist_and_repeated_once(search, cluster, monkeypatch):
    scores = {1e-3: 0.9, 2e-3: 0.7, 3e-3: 0.5, 4e-3: 0.6}
    monkeypatch.setattr(simulation, "_quality", lambda spec: scores[spec.train.learning_rate])
    paths = search(max_nodes=3, parallel=1)
    with Controller(paths) as controller:
        controller.start()
        best, other = (1e-3, None), (2e-3, None)
        controller.work.researcher = Scripted([best, (3e-3, None)], [best, (4e-3, None)], [other, (3e-3, None)])
        run(controller, cluster)
        trials = [trial for node in controller.store.nodes() for trial in node.trials]
        ran = Counter((t.identity, t.seed) for t in trials if t.kind is JobKind.TRAIN and t.reused_from is None)
        assert max(ran.values()) == 1
        repeated = {(trial.node, trial.replicate_of) for trial in trials if trial.replicate_of is not None}
        assert repeated == {(1, 1), (3, 1)}
        chosen = controller.store.chosen()
        assert (chosen.node, chosen.trial) == (1, 1)
    assert check(paths) == []
