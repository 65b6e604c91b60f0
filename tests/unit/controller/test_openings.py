"""The sealed test is opened once, by the search itself; each opening, and who asked for a second one, is on record."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner

from hpc_trex.cli.main import cli
from hpc_trex.controller import Controller, control
from hpc_trex.controller.requests import Request
from hpc_trex.errors import UsageProblem
from hpc_trex.files import user_name
from hpc_trex.layout import SearchPaths
from hpc_trex.models import FailureClass, JobKind, SearchState
from hpc_trex.report.openings import again_words, openings_text
from hpc_trex.tree.check import check
from hpc_trex.tree.openings import TestOpened, openings
from hpc_trex.tree.status import status
from tests.unit.controller.conftest import drive
from tests.unit.controller.simulation import Cluster, Killed

ASK = Request(action="open-test", note="the first job had a wrong prompt", user="ann")


@pytest.fixture
def over(search: Callable[..., SearchPaths], cluster: Cluster) -> SearchPaths:
    """A search that has opened its test and ended."""
    paths = search(max_nodes=1)
    drive(paths, cluster).close()
    return paths


def jobs_at_the_test(cluster: Cluster, paths: SearchPaths) -> list[str]:
    controller = Controller(paths)
    try:
        return [one.token for one in controller.store.attempts() if one.kind is JobKind.TEST]
    finally:
        controller.close()


def test_the_end_of_a_search_opens_it_once_and_says_so(over: SearchPaths, cluster: Cluster) -> None:
    controller = Controller(over)
    found = openings(controller.store)
    assert [(one.attempt, one.again, one.why, one.user) for one in found] == [
        (1, False, "the final evaluation", user_name())
    ]
    assert found[0].time
    assert found[0].host
    assert again_words(status(controller.store).test_openings) == ""
    controller.close()
    assert len(jobs_at_the_test(cluster, over)) == 1


def test_a_test_that_an_earlier_version_opened_counts_as_opened(over: SearchPaths) -> None:
    """It kept no record of it: a second opening would have been told as the first."""
    controller = Controller(over)
    with controller.store.db.conn as connection:
        connection.execute("DELETE FROM openings")
    (found,) = openings(controller.store)
    assert (found.attempt, found.why) == (1, "the final evaluation, by a version that kept no record")
    controller.store.record(TestOpened(node=found.node, trial=found.trial + 1, again=True, why="a typo", user="ann"))
    assert "was opened 2 times, last by ann: a typo" in again_words(status(controller.store).test_openings)
    controller.close()


def test_no_job_of_the_search_is_told_where_it_lies(over: SearchPaths, cluster: Cluster) -> None:
    specs = sorted(over.root.glob("nodes/*/**/spec.json"))
    named = [path for path in specs if str(over.test) in path.read_text() or "sealed" in path.read_text()]
    assert len(specs) > 3
    assert ['"test"' in path.read_text() for path in named] == [True]


def test_a_second_opening_is_asked_for_and_shows(over: SearchPaths, cluster: Cluster) -> None:
    controller = Controller(over)
    controller.ask(ASK)
    assert controller.store.state()[0] is SearchState.FINISHING
    controller.close()
    drive(over, cluster).close()
    assert len(jobs_at_the_test(cluster, over)) == 2
    controller = Controller(over)
    view = status(controller.store)
    controller.close()
    assert view.state is SearchState.DONE
    assert [one.again for one in view.test_openings] == [False, True]
    said = "The sealed test was opened 2 times, last by ann: the first job had a wrong prompt."
    assert again_words(view.test_openings) == said
    lines = openings_text(view.test_openings).splitlines()
    assert (len(lines), "again, the first job had a wrong prompt" in lines[-1]) == (3, True)
    assert check(over) == []
    shown = CliRunner().invoke(cli, ["show", str(view.chosen.node), str(over.root)])
    assert "sealed test opened" in shown.output
    assert "by ann" in shown.output
    assert said in CliRunner().invoke(cli, ["best", str(over.root)]).output
    made = CliRunner().invoke(cli, ["report", str(over.root)])
    assert made.exit_code == 0, made.output
    assert said in over.report.read_text()


@pytest.mark.parametrize("moment", ["opened", "finishing"])
def test_a_death_while_it_is_opened_again_opens_it_once(
    over: SearchPaths, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The request is obeyed again from its start: two jobs would have been let at the test, or a refusal been noted."""
    controller = Controller(over)
    whole = control.open_test

    def opens(*given: object, **more: object) -> None:
        whole(*given, **more)  # type: ignore[arg-type]
        raise Killed

    with monkeypatch.context() as patch:
        if moment == "opened":
            patch.setattr(control, "open_test", opens)
        else:
            patch.setattr(controller.work, "say", lambda text: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            controller.ask(ASK)
    controller.close()
    drive(over, cluster).close()
    controller = Controller(over)
    assert [one.again for one in openings(controller.store)] == [False, True]
    assert [text for _, text, _ in controller.store.notes() if "refused" in text] == []
    assert controller.store.state()[0] is SearchState.DONE
    controller.close()
    assert len(jobs_at_the_test(cluster, over)) == 2


def test_a_second_opening_that_comes_to_nothing_leaves_the_first_result(over: SearchPaths, cluster: Cluster) -> None:
    controller = Controller(over)
    before = controller.store.test_score()
    controller.ask(ASK)
    for _ in range(20):
        if controller.tick().finished:
            break
        for token in list(cluster.live):
            cluster.finish(token, failure=FailureClass.CONFIG)
    state, message = controller.store.state()
    assert state is SearchState.DONE
    assert "its first result stands: CONFIG simulated" in message
    assert controller.store.test_score() == before
    controller.close()


def test_a_job_that_is_lost_is_followed_by_another_one_which_is_on_record_too(
    search: Callable[..., SearchPaths], cluster: Cluster
) -> None:
    paths = search(max_nodes=1)
    controller = Controller(paths)
    controller.start()
    failed = False
    for _ in range(100):
        if controller.tick().finished:
            break
        for token, request in list(cluster.live.items()):
            lost = request.kind is JobKind.TEST and not failed
            failed = failed or lost
            cluster.finish(token, failure=FailureClass.NODE_FAIL if lost else None)
    found = openings(controller.store)
    controller.close()
    assert [(one.attempt, one.why) for one in found] == [
        (1, "the final evaluation"),
        (2, "attempt 2: the one before gave no result (NODE_FAIL)"),
    ]
    assert again_words(found) == ""  # nobody has seen a result of the first


def test_a_search_that_is_under_way_opens_it_itself(search: Callable[..., SearchPaths], cluster: Cluster) -> None:
    controller = Controller(search(max_nodes=1))
    with pytest.raises(UsageProblem, match="it opens the test itself, at its end"):
        controller.ask(ASK)
    controller.cancel()
    with pytest.raises(UsageProblem, match="was never opened"):
        control.open_again(controller.work, ASK)
    controller.close()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--open-test-again", " "], 2, "needs a reason"),
        (["--open-test-again", "x" * 801], 2, "needs a reason"),
        (["--open-test-again", "why", "--dry-run"], 0, "nothing was changed"),
        ([], 0, "is done; see: hpc-trex best"),
    ],
)
def test_the_command_wants_a_reason_and_a_search_that_is_over(
    over: SearchPaths, cluster: Cluster, words: list[str], code: int, said: str
) -> None:
    before = over.events.read_text()
    ran = CliRunner().invoke(cli, ["resume", str(over.root), *words])
    assert (ran.exit_code, said in ran.output) == (code, True), ran.output
    assert over.events.read_text() == before


def test_the_command_opens_it_and_leads_the_search_to_its_end(
    over: SearchPaths, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = cluster.poll

    def finish_first(jobs: object) -> object:
        cluster.finish_all()
        return at_once(jobs)

    monkeypatch.setattr(cluster, "poll", finish_first)
    ran = CliRunner().invoke(cli, ["resume", str(over.root), "--open-test-again", "a new prompt was found wrong"])
    assert ran.exit_code == 0, ran.output
    assert "the sealed test is opened for the 2. time: a new prompt was found wrong" in ran.output
    assert "The sealed test was opened 2 times" in ran.output
