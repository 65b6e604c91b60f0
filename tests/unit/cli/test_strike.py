"""``strike`` and ``restore`` as typed, and where a person sees what was struck."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import Result

from hpc_trex.controller import loop
from hpc_trex.controller.requests import waiting
from hpc_trex.layout import SearchPaths
from hpc_trex.models import ClaimFinding
from hpc_trex.tree.lease import Lease
from hpc_trex.tree.review_events import ClaimChecked
from hpc_trex.tree.store import Store
from tests.unit.cli.conftest import read_json
from tests.unit.controller.simulation import Cluster

Trex = Callable[..., Result]
ODD = ClaimFinding(check="answers", severity="note", text="all 200 answers are 'yes'", record="nodes/0001/trials/2/x")


@pytest.fixture
def search(make_search: Callable[..., SearchPaths], monkeypatch: pytest.MonkeyPatch) -> SearchPaths:
    """A search whose round 1 has a note on its best trial."""
    monkeypatch.setattr(loop, "make_scheduler", lambda profile: Cluster())
    paths = make_search()
    with Store.open(paths) as store:
        store.record(ClaimChecked(node=0, trial=1))
        store.record(ClaimChecked(node=1, trial=1))
        store.record(ClaimChecked(node=1, trial=2, findings=(ODD,)))
    return paths


def test_a_round_is_struck_and_restored(trex: Trex, search: SearchPaths) -> None:
    assert "note    answers: all 200 answers are 'yes'  [nodes/0001/trials/2/x]" in trex("show", "1").stdout
    done = trex("strike", "1", "--note", "a  leak")
    assert done.exit_code == 0, done.output
    assert "is struck by" in done.stdout
    assert "see it: hpc-trex show 1 listops-1" in done.stdout
    shown = trex("show", "1").stdout
    assert "node 1  struck" in shown
    assert "UTC: a leak" in shown
    assert "claimed 0.6" in shown
    assert "1 struck" in trex("status").stdout
    assert "  struck" in trex("tree").stdout
    body = read_json(trex("show", "1", "--json"))
    assert (body["struck"], body["score"]) == (True, None)
    assert [one["note"] for one in body["verdicts"]] == ["a leak"]
    assert [node["struck"] for node in read_json(trex("tree", "--json"))["nodes"]] == [False, True, False, False]
    assert read_json(trex("best", "--json"))["best"]["node"] == 0
    assert trex("restore", "1", "--note", "no leak").exit_code == 0
    assert read_json(trex("best", "--json"))["best"]["node"] == 1
    assert "restored by" in trex("show", "1").stdout
    assert trex("db", "rebuild").exit_code == 0
    assert [one["struck"] for one in read_json(trex("show", "1", "--json"))["verdicts"]] == [True, False]


def test_the_report_shows_a_struck_round_as_such(trex: Trex, search: SearchPaths) -> None:
    trex("strike", "1", "--note", "a leak")
    assert trex("report").exit_code == 0
    page = search.report.read_text()
    assert "node struck" in page
    assert "struck: struck by" in page


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("strike", "1"), 2, "--note"),
        (("strike", "1", "--note", " "), 2, "--note is empty"),
        (("strike", "1", "--note", "x" * 801), 2, "801 characters"),
        (("strike", "one", "--note", "n"), 2, "NODE must be a number"),
        (("strike", "9", "--note", "n"), 3, "no node 9"),
        (("strike", "0", "--note", "n"), 2, "node 0 is the baseline"),
        (("strike", "2", "--note", "n"), 2, "node 2 has no result to strike (failed)"),
        (("strike", "3", "--note", "n"), 2, "node 3 has no result to strike (pending)"),
        (("restore", "1", "--note", "n"), 2, "nothing of node 1 is struck"),
        (("restore", "3", "--note", "n"), 2, "node 3 is under way"),
        (("restore", "1"), 2, "--note"),
    ],
)
def test_what_cannot_be_done_says_why(trex: Trex, search: SearchPaths, words, code: int, told: str) -> None:
    done = trex(*words)
    assert done.exit_code == code
    assert told in done.stderr


def test_a_dry_run_changes_nothing(trex: Trex, search: SearchPaths) -> None:
    before = search.events.read_bytes()
    done = trex("strike", "1", "--note", "n", "--dry-run")
    assert (done.exit_code, done.stdout) == (0, "would strike node 1 of listops-1 (score 0.600)\n")
    assert search.events.read_bytes() == before


def test_a_running_controller_is_left_a_request(trex: Trex, search: SearchPaths) -> None:
    with Lease(search):
        done = trex("strike", "1", "--note", "a leak")
    assert done.exit_code == 0
    assert "asked the controller to strike node 1" in done.stdout
    (request,) = [one.request for one in waiting(search)]
    assert request is not None
    assert (request.action, request.node, request.note) == ("strike", 1, "a leak")
    assert request.user
