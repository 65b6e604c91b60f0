"""Several jobs of one round fail at once, or the round goes away while its repair is asked for: no answer is paid for nothing."""

from __future__ import annotations

from hpc_trex.controller import Controller
from hpc_trex.controller.requests import Request
from hpc_trex.models import NodeState
from hpc_trex.tree.check import check
from hpc_trex.tree.repairs import repairs
from tests.llm_server import LlmServer
from tests.minds import Mind, plan
from tests.unit.agents.llm.test_repairs import failing, repair  # noqa: F401 - fixture
from tests.unit.agents.llm.test_researcher import answered, cluster, drive, launch  # noqa: F401 - fixtures

BROKEN = plan(1e-4) | {
    "trials": [
        {"train": {"learning_rate": 1e-4 * number, "lora": {"targets": ["no_such"]}}, "label": f"lr {number}"}
        for number in range(1, 6)
    ]
}


def test_five_trials_with_one_fault_ask_within_the_bound_of_the_round(launch, failing):  # noqa: F811
    mind = Mind(BROKEN, RepairAnswer=repair(train={"lora_targets": ["q_proj"]}))
    with LlmServer(mind) as server:
        paths = launch(server, max_nodes=1, trials=5, parallel=5)
        with drive(paths, failing) as controller:
            store = controller.store
            assert store.node(1).state is NodeState.DONE
            done = repairs(store, 1)
            assert not controller.work.researcher.thinking, "an answer lies there that nobody fetches"
    assert [(one.trial, one.outcome) for one in done] == [(1, "repaired"), (2, "repaired")]
    assert mind.asked["RepairAnswer"] == 2, "each answer that was paid for was used"
    assert check(paths) == []


def test_a_round_that_is_cancelled_while_its_repair_is_asked_for_leaves_no_question_behind(launch, failing):  # noqa: F811
    mind = Mind(BROKEN, RepairAnswer=repair(train={"lora_targets": ["q_proj"]}))
    with LlmServer(mind) as server:
        paths = launch(server, max_nodes=1, trials=5, parallel=5)
        with Controller(paths) as controller:
            controller.start()
            for _ in range(60):
                controller.tick()
                if mind.asked["RepairAnswer"]:
                    break
                answered(controller)
                failing.finish_all()
            assert mind.asked["RepairAnswer"]
            controller.ask(Request(action="cancel", node=1))
            answered(controller)
            controller.tick()
            assert not controller.work.researcher.thinking
