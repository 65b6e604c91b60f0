"""``launch --approve``, ``approve`` and ``reject`` as typed; what waits is said wherever a person looks."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from hpc_trex.controller import Controller, loop
from hpc_trex.controller.requests import Request, place, waiting
from hpc_trex.launch import LaunchOptions, create_search, plan_launch
from hpc_trex.layout import SearchPaths
from hpc_trex.models import GateView
from hpc_trex.report.gates import gates_text, waiting_text
from hpc_trex.searches import find_search
from hpc_trex.tree.gates import gates, open_gate
from hpc_trex.tree.store import Store
from tests.unit.cli.conftest import read_json
from tests.unit.cli.test_control import Prompt

Trex = Callable[..., Result]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Prompt:
    """A simulated cluster in the place of every scheduler."""
    made = Prompt()
    monkeypatch.setattr(loop, "make_scheduler", lambda profile: made)
    return made


@pytest.fixture
def gated(trex: Trex, cluster: Prompt) -> SearchPaths:
    """A search of one round that ticked until its plan waits for a person."""
    paths = create_search(plan_launch(LaunchOptions(name="gated", max_nodes=1, approve=("data",))))
    for _ in range(10):
        if "waits for you" in trex("status", "gated").stdout:
            return paths
        assert trex("tick", "gated").exit_code == 0
    raise AssertionError("nothing ever waited")


def test_status_tree_and_show_say_what_waits_and_how_to_answer(trex: Trex, gated: SearchPaths) -> None:
    assert "waits for you: data of node 1: hpc-trex approve 1\n" in trex("status").stdout
    with Store.read(gated) as store:
        view = open_gate(store)
    assert view is not None
    assert view.plan is not None
    for command in (("tree",), ("show", "1")):
        text = trex(*command).stdout
        assert "waits for you: data of node 1 (from node 0)" in text
        assert view.plan.hypothesis in text
        assert "hpc-trex reject 1" in text
    waits = read_json(trex("status", "--json"))["waits_for"]
    assert isinstance(waits, dict)
    assert (waits["gate"], waits["node"], waits["approved"]) == ("data", 1, None)
    assert read_json(trex("tree", "--json"))["waits_for"] == waits
    assert read_json(trex("show", "1", "--json"))["gates"] == [waits]


def test_what_a_model_wrote_does_not_steer_the_terminal() -> None:
    view = GateView(node=1, gate="strategy", number=1, text="all\x1b[2J\r\x9b1mgood\n\tsecond line")
    for shown in (waiting_text(view), gates_text([view.model_copy(update={"approved": True})])):
        assert "  all\\x1b[2J\\r\\x9b1mgood\n  \tsecond line" in shown


def test_a_round_that_nobody_designs_is_still_not_found(trex: Trex, gated: SearchPaths) -> None:
    assert trex("show", "2").exit_code == 3


def test_approve_by_hand_and_ticks_by_cron_lead_to_the_end(trex: Trex, gated: SearchPaths) -> None:
    result = trex("approve", "1", "--note", " go   ahead ")
    assert result.exit_code == 0, result.output
    assert "data of node 1 approved: go ahead" in result.stdout
    assert "hpc-trex resume gated" in result.stdout
    for _ in range(20):
        trex("tick", "gated")
        if read_json(trex("status", "--json"))["state"] == "done":
            break
    status = read_json(trex("status", "--json"))
    assert status["state"] == "done"
    person = status["person"]
    assert isinstance(person, dict)
    assert person["decisions"] == 1
    assert set(person["by_gate"]) == {"data"}
    assert "a person: 0 min over 1 decision" in trex("status").stdout
    assert "a person: 0 min over 1 decision" in trex("budget").stdout
    assert "gated: a person: 0 min" in trex("budget", "--all").stdout
    assert read_json(trex("budget", "--json"))["searches"][0]["person"]["decisions"] == 1  # type: ignore[index]
    assert "data approved by" in trex("show", "1").stdout
    report = trex("report", "gated")
    assert report.exit_code == 0, report.output
    assert "0 min over 1 decision" in (gated.root / "report.html").read_text()
    assert trex("approve", "1").exit_code == 3


def test_a_rejection_is_followed_by_another_plan(trex: Trex, gated: SearchPaths) -> None:
    assert "data of node 1 rejected: too dear" in trex("reject", "1", "gated", "--note", "too dear").stdout
    assert "waits for you" not in trex("status").stdout
    trex("tick", "gated")
    assert "waits for you" in trex("status").stdout
    assert "data rejected by" in trex("show", "1").stdout


def test_beside_a_controller_an_answer_is_a_request(trex: Trex, gated: SearchPaths) -> None:
    with Controller(gated) as controller:
        controller.start()
        result = trex("approve", "1")
        assert result.exit_code == 0, result.output
        assert "asked the controller to approve data of node 1" in result.stdout
        assert len(waiting(gated)) == 1
        controller.tick()
        assert controller.store.next_node() == 2


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["approve"], 2, "NODE"),
        (["approve", "one"], 2, "must be a number"),
        (["approve", "0"], 3, "nothing waits for a person at node 0"),
        (["reject", "7"], 3, "hpc-trex approve 1"),
        (["reject", "1", "no-such"], 3, "no-such"),
        (["approve", "1", "--note", "x" * 801], 2, "801 characters"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    trex: Trex, gated: SearchPaths, args: list[str], code: int, words: str
) -> None:
    result = trex(*args)
    assert result.exit_code == code, result.output
    assert words in result.output
    with Store.read(gated) as store:
        assert open_gate(store) is not None


def test_a_dry_run_decides_nothing(trex: Trex, gated: SearchPaths) -> None:
    result = trex("approve", "1", "-n")
    assert "would approve data of node 1" in result.stdout
    assert not waiting(gated)
    assert "waits for you" in trex("status").stdout


def test_a_launch_in_the_foreground_waits_and_goes_on_when_it_was_answered(
    trex: Trex, cluster: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def person(_seconds: float) -> None:
        """Sits at another terminal, and looks each time that the controller sleeps."""
        paths = find_search("watched")
        with Store.read(paths) as store:
            view = open_gate(store)
        if view is not None:
            seen.append(view.gate)
            if len(seen) > 3 * len(set(seen)):  # lets each question wait for some ticks
                place(paths, Request(action="approve", node=view.node, gate=view.gate, number=view.number))

    monkeypatch.setattr(loop.time, "sleep", person)
    result = trex("launch", "--name", "watched", "--max-nodes", "1", "--approve", "data,requirements,strategy")
    assert result.exit_code == 0, result.output
    assert "asks you   requirements, strategy, data: hpc-trex approve NODE" in result.stdout
    assert "waits for you: requirements of node 0: hpc-trex approve 0" in result.stdout
    assert list(dict.fromkeys(seen)) == ["requirements", "strategy", "data"]
    with Store.read(find_search("watched")) as store:
        assert [view.approved for view in gates(store)] == [True, True, True]


def test_a_gate_that_there_is_not_is_refused_before_anything_is_made(trex: Trex) -> None:
    result = trex("launch", "--approve", "data,budget", "--dry-run")
    assert result.exit_code == 2, result.output
    assert "--approve budget" in result.stderr
    assert "requirements, strategy, data" in result.stderr


def test_a_snapshot_of_an_old_search_has_no_gates(trex: Trex, make_search: Callable[..., SearchPaths]) -> None:
    make_search()
    status = json.loads(trex("status", "--json").stdout)
    assert status["waits_for"] is None
    assert status["person"] == {"seconds": 0.0, "decisions": 0, "by_gate": {}}
    assert "a person" not in trex("status").stdout
