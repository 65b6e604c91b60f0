"""Gates of a search whose Researcher is a language model: a person's word reaches it, and no answer is paid twice."""

from __future__ import annotations

import time

import pytest

from hpc_trex.controller import Controller, loop
from hpc_trex.controller.requests import Request
from hpc_trex.launch import LaunchOptions, create_search, plan_launch
from hpc_trex.models import SearchState
from hpc_trex.tree.check import check
from hpc_trex.tree.gates import gates, open_gate
from hpc_trex.tree.store import Store
from tests.llm_server import LlmServer
from tests.minds import BRIEF, DIRECTION, Mind, plan
from tests.unit.agents.llm.test_researcher import answered
from tests.unit.controller.simulation import Cluster


@pytest.fixture
def cluster(monkeypatch):
    made = Cluster()
    monkeypatch.setattr(loop, "make_scheduler", lambda profile: made)
    return made


@pytest.fixture
def launch(tmp_path, monkeypatch, cluster):
    """Make a search that asks this server, with these gates."""
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path / "searches"))
    monkeypatch.setenv("HPC_TREX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def made(server, *approve, **options):
        given = {"researcher": "llm", "max_nodes": 1, "trials": 1, "parallel": 2, "approve": approve}
        llm = {"model": "tiny", "base_url": server.url}
        return create_search(plan_launch(LaunchOptions.model_validate(given | options | {"llm": llm})))

    return made


def drive(paths, cluster, answers, *, seconds=300.0, lives=1000):
    """Run to the end, or to a pause, with a person who gives these answers, then approves; return the state.

    A new controller takes over after every ``lives`` ticks.
    """
    left, end = list(answers), time.monotonic() + seconds
    while True:
        with Controller(paths) as controller:
            controller.start()
            for _ in range(lives):
                assert time.monotonic() < end, "the search does not come to its end"
                report = controller.tick()
                if report.finished:
                    return report.state
                view = open_gate(controller.store)
                if view is not None:
                    action, note = left.pop(0) if left else ("approve", "")
                    controller.ask(
                        Request(action=action, node=view.node, gate=view.gate, number=view.number, note=note)
                    )
                cluster.finish_all()
                time.sleep(0.01)
            answered(controller)  # what is under way when it dies is asked again, however fast this machine is


def counted(kind, count):
    """Return answers that differ: the text of ``kind`` with a number."""
    return [kind | {field: f"{text} {number}" for field, text in kind.items() if field in ("asked", "direction")}
            for number in range(count)]  # fmt: skip


def test_brief_direction_and_plan_wait_and_the_notes_of_a_person_are_told(launch, cluster):
    mind = Mind()
    with LlmServer(mind) as server:
        paths = launch(server, "requirements", "strategy", "data")
        answers = [("approve", "labels are in lower case"), ("approve", "not above 1e-3"), ("approve", "")]
        assert drive(paths, cluster, answers) is SearchState.DONE
    with Store.read(paths) as store:
        brief, direction, proposed = gates(store)
        assert (brief.gate, direction.gate, proposed.gate) == ("requirements", "strategy", "data")
        assert "Asked: one label" in brief.text
        assert "a larger learning rate" in direction.text
        assert direction.plan is None
        assert proposed.plan == store.node(1).plan
    assert "labels are in lower case" in mind.texts["Direction"][0]
    assert "labels are in lower case" in mind.texts["PlanAnswer"][0]
    assert "not above 1e-3" in mind.texts["PlanAnswer"][0]
    assert mind.asked == {"Brief": 1, "Direction": 1, "PlanAnswer": 1, "ReviewAnswer": 1, "DiagnosisAnswer": 1}
    assert check(paths) == []


def test_a_rejected_brief_is_written_anew_with_the_note(launch, cluster):
    briefs = counted(BRIEF, 2)
    mind = Mind(Brief=lambda request: briefs.pop(0))
    with LlmServer(mind) as server:
        paths = launch(server, "requirements")
        assert drive(paths, cluster, [("reject", "it is two labels")]) is SearchState.DONE
    assert mind.asked["Brief"] == 2
    assert "it is two labels" in mind.texts["Brief"][1]
    assert "one label 0" in mind.texts["Brief"][1], "the rejected brief is not quoted"
    assert "Asked: one label 1" in mind.texts["Direction"][0]
    with Store.read(paths) as store:
        assert "one label 1" in store.node(0).report
        assert [view.approved for view in gates(store)] == [False, True]
    assert check(paths) == []


def test_a_rejected_direction_is_followed_by_another(launch, cluster):
    directions = counted(DIRECTION, 2)
    mind = Mind(Direction=lambda request: directions.pop(0))
    with LlmServer(mind) as server:
        paths = launch(server, "strategy")
        assert drive(paths, cluster, [("reject", "data first")]) is SearchState.DONE
    assert (mind.asked["Direction"], mind.asked["PlanAnswer"]) == (2, 1)
    assert "data first" in mind.texts["Direction"][1]
    assert "a larger learning rate 1" in mind.texts["PlanAnswer"][0]


def test_a_rejected_plan_is_revised_with_the_note_as_one_of_its_revisions(launch, cluster):
    mind = Mind(plan(1e-4), plan(1e-4, source="no-such"), plan(2e-4))
    with LlmServer(mind) as server:
        paths = launch(server, "data")
        assert drive(paths, cluster, [("reject", "the rate is too small")]) is SearchState.DONE
    assert mind.asked["PlanAnswer"] == 3
    assert "A person has rejected this plan: the rate is too small" in mind.texts["PlanAnswer"][1]
    with Store.read(paths) as store:
        assert store.node(1).plan.trials[0].train.learning_rate == pytest.approx(2e-4)
        assert len(gates(store)) == 2, "a plan that the rules refuse is shown to nobody"


def test_a_playbook_plan_that_stands_for_a_direction_waits_too(launch, cluster):
    mind = Mind(*[plan(1e-4, source=f"no-such-{number}") for number in range(3)])
    with LlmServer(mind) as server:
        paths = launch(server, "strategy")
        assert drive(paths, cluster, []) is SearchState.DONE
    with Store.read(paths) as store:
        first, second = gates(store)
        assert first.plan is None
        assert second.text.startswith("(The playbook's round")
        assert second.plan == store.node(1).plan


def test_three_rejected_plans_pause_the_search_and_the_playbook_proposes_after_resume(launch, cluster):
    mind = Mind()
    with LlmServer(mind) as server:
        paths = launch(server, "data")
        assert drive(paths, cluster, [("reject", f"no {number}") for number in range(3)]) is SearchState.PAUSED
        with Store.read(paths) as store:
            assert "no 2" in store.state()[1]
            assert store.chosen() is None
        assert drive(paths, cluster, []) is SearchState.DONE
    assert mind.asked["PlanAnswer"] == 3
    with Store.read(paths) as store:
        assert store.node(1).plan.hypothesis.startswith("(The playbook's round")


def test_a_brief_that_cannot_be_written_anew_pauses_the_search(launch, cluster, monkeypatch):
    from hpc_trex.agents.llm import client, errors, researcher

    quick = client.Pace(tries=1, first_pause=0.01, breaker_failures=1, breaker_seconds=0.01)
    monkeypatch.setattr(
        researcher, "LlmClient", lambda settings, ledger, key: client.LlmClient(settings, ledger, key=key, pace=quick)
    )
    with LlmServer(Mind()) as server:
        paths = launch(server, "requirements")
        with Controller(paths) as controller:
            controller.start()
            while open_gate(controller.store) is None:
                controller.tick()
                cluster.finish_all()
                time.sleep(0.01)
    with pytest.raises(errors.LlmUnavailable):  # the server is gone
        drive(paths, cluster, [("reject", "again")])
    with Store.read(paths) as store:
        assert store.state()[0] is SearchState.PAUSED


def test_controllers_that_die_between_questions_answers_and_decisions_pay_nothing_twice(launch, cluster):
    briefs, directions = counted(BRIEF, 2), counted(DIRECTION, 3)
    mind = Mind(Brief=lambda request: briefs.pop(0), Direction=lambda request: directions.pop(0))
    with LlmServer(mind) as server:
        paths = launch(server, "requirements", "strategy", "data")
        answers = [
            ("reject", "no brief"),
            ("approve", ""),
            ("reject", "no way"),
            ("approve", ""),
            ("reject", "no plan"),
        ]
        assert drive(paths, cluster, answers, lives=4) is SearchState.DONE
    assert mind.asked == {"Brief": 2, "Direction": 2, "PlanAnswer": 2, "ReviewAnswer": 2, "DiagnosisAnswer": 1}
    with Store.read(paths) as store:
        assert [(view.gate, view.number, view.approved) for view in gates(store)] == [
            ("requirements", 1, False), ("requirements", 2, True), ("strategy", 1, False), ("strategy", 2, True),
            ("data", 1, False), ("data", 2, True),
        ]  # fmt: skip
        assert store.cost().tokens == 9 * 120
    assert check(paths) == []
