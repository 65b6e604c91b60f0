"""``launch``, ``resume``, ``tick``, ``cancel``, ``unlock`` and ``db``: what changes a search, and how it may end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result

from hpc_trex.cli import launch as launch_command
from hpc_trex.cli.background import detached
from hpc_trex.cli.watch import Album
from hpc_trex.controller import loop
from hpc_trex.errors import EnvironmentProblem, UsageProblem
from hpc_trex.layout import SearchPaths
from hpc_trex.slurm.scheduler import JobRef, JobStatus
from hpc_trex.tree.events import Note
from hpc_trex.tree.lease import Lease
from hpc_trex.tree.store import Store
from tests.unit.cli.conftest import read_json
from tests.unit.controller.simulation import Cluster

Trex = Callable[..., Result]
Make = Callable[..., SearchPaths]


class Prompt(Cluster):
    """A simulated cluster whose jobs are all done by the next look at them."""

    def poll(self, jobs: Sequence[JobRef]) -> dict[str, JobStatus]:
        self.finish_all()
        return super().poll(jobs)


class Interrupting(Cluster):
    """A cluster that sends a signal to the controller when it is first asked."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def poll(self, jobs: Sequence[JobRef]) -> dict[str, JobStatus]:
        os.kill(os.getpid(), self.number)
        return super().poll(jobs)


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Cluster], None]:
    """Put a simulated cluster in the place of every scheduler, and let controllers not sleep."""
    monkeypatch.setattr(loop.time, "sleep", lambda seconds: None)

    def use(cluster: Cluster) -> None:
        monkeypatch.setattr(loop, "make_scheduler", lambda profile: cluster)

    return use


def test_dry_run_shows_plan_cost_and_first_job_and_creates_nothing(trex: Trex, tmp_path: Path) -> None:
    result = trex("launch", "--max-nodes", "3", "--dry-run")
    assert result.exit_code == 0, result.output
    for words in ("mini-triage-1", "at worst", "trainings of 60 min", "hpc_trex.job", "nothing was started"):
        assert words in result.stdout
    assert not (tmp_path / "searches").exists()


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--task", "mini-listps"], 3, "mini-listops"),
        (["--model", "builtin:huge"], 3, "tiny-qwen3"),
        (["--model", "./no/such/folder"], 3, "does not exist"),
        (["--profile", "lokal"], 3, "did you mean local"),
        (["--policy", "utc"], 2, "'uct'"),
        (["--trials", "9"], 2, "1<=x<=5"),
        (["--name", "../out"], 2, "name"),
    ],
)
def test_what_is_unknown_is_refused_before_anything_is_made(
    trex: Trex, tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    result = trex("launch", "-y", *args)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert not (tmp_path / "searches").exists()


def test_off_a_terminal_a_cluster_needs_yes() -> None:
    assert launch_command.agreed("local")
    with pytest.raises(UsageProblem, match="cannot ask") as caught:
        launch_command.agreed("slurm")
    assert "-y" in caught.value.hint


def test_a_launch_runs_to_its_end_and_ends_with_the_path_of_the_report(trex: Trex, on: Callable[..., None]) -> None:
    on(Prompt())
    result = trex("launch", "--max-nodes", "2", "--parallel", "4")
    assert result.exit_code == 0, result.output
    assert result.stdout.isascii()
    lines = result.stdout.splitlines()
    report = Path(lines[-1])
    assert report.name == "report.html"
    assert report.is_file()
    assert any(line.startswith("test      chosen") for line in lines)
    assert read_json(trex("status", "--json"))["state"] == "done"
    assert not (report.parent / "controller.lease").exists()


def test_ctrl_c_stops_watching_and_says_how_to_go_on(trex: Trex, on: Callable[..., None]) -> None:
    cluster = Interrupting(signal.SIGINT)
    on(cluster)
    result = trex("launch")
    assert result.exit_code == 130
    assert "hpc-trex resume" in result.stderr
    assert cluster.live, "the job goes on"
    on(Prompt())
    resumed = trex("resume", "--max-nodes", "1")
    assert resumed.exit_code == 0, resumed.output
    assert "max_nodes: 6 -> 1" in resumed.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_terminated_controller_gives_the_lease_back(
    trex: Trex, on: Callable[..., None], tmp_path: Path, number: int, code: int
) -> None:
    on(Interrupting(number))
    assert trex("launch").exit_code == code
    assert not (tmp_path / "searches" / "mini-triage-1" / "controller.lease").exists()


def test_tick_does_one_pass(trex: Trex, on: Callable[..., None]) -> None:
    cluster = Interrupting(signal.SIGINT)
    on(cluster)
    trex("launch")
    on(Prompt())
    body = read_json(trex("tick", "--json"))
    assert body["state"] == "running"
    assert isinstance(body["lines"], list)


def test_a_search_that_is_over_takes_no_more_budget(trex: Trex, on: Callable[..., None]) -> None:
    on(Prompt())
    trex("launch", "--max-nodes", "1")
    assert trex("resume").exit_code == 0
    result = trex("resume", "--max-nodes", "9")
    assert result.exit_code == 7
    assert "hpc-trex launch" in result.stderr


def test_resume_dry_run_changes_nothing(trex: Trex, make_search: Make) -> None:
    paths = make_search()
    before = paths.events.read_bytes()
    result = trex("resume", "--max-nodes", "20", "--profile", "testcluster", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "max_nodes: 6 -> 20" in result.stdout
    assert "profile: local (local) -> testcluster (slurm)" in result.stdout
    assert paths.events.read_bytes() == before


def test_while_a_controller_runs_others_are_refused_with_exit_6(trex: Trex, make_search: Make) -> None:
    paths = make_search()
    with Lease(paths):
        for command in (["resume"], ["tick"], ["db", "rebuild"], ["db", "snapshot"]):
            assert trex(*command).exit_code == 6, command
        assert trex("status").exit_code == 0


def test_cancel_asks_a_running_controller(trex: Trex, make_search: Make) -> None:
    paths = make_search()
    with Lease(paths):
        result = trex("cancel", "3")
        assert result.exit_code == 0, result.output
    assert "next tick" in result.stdout
    assert json.loads(paths.stop_request.read_text()) == {"action": "cancel", "node": 3}


def test_cancel_ends_the_search_itself_where_no_controller_runs(
    trex: Trex, make_search: Make, on: Callable[..., None]
) -> None:
    paths = make_search()
    on(Cluster())
    dry = trex("cancel", "listops-1", "--dry-run")
    assert "would cancel search listops-1 and 1 job(s)" in dry.stdout
    assert read_json(trex("status", "--json"))["state"] == "running"
    result = trex("cancel", "listops-1")
    assert result.exit_code == 0, result.output
    assert read_json(trex("status", "--json"))["state"] == "cancelled"
    assert not paths.lease.exists()


def test_cancel_of_one_round_leaves_the_search_running(trex: Trex, make_search: Make, on: Callable[..., None]) -> None:
    make_search()
    on(Cluster())
    assert trex("cancel", "3", "listops-1").exit_code == 0
    body = read_json(trex("status", "--json"))
    assert body["state"] == "running"
    assert body["running"] == []
    assert trex("cancel", "77").exit_code == 3


def test_unlock_shows_the_holder_and_needs_a_yes(trex: Trex, make_search: Make) -> None:
    paths = make_search()
    assert "no controller holds" in trex("unlock").stdout
    lease = Lease(paths)
    lease.acquire()
    dry = trex("unlock", "--dry-run")
    assert f"held by pid {os.getpid()}" in dry.stdout
    assert trex("unlock").exit_code == 2
    assert paths.lease.exists()
    assert trex("unlock", "-y").exit_code == 0
    assert not paths.lease.exists()


def test_db_check_rebuild_and_snapshot(trex: Trex, make_search: Make) -> None:
    paths = make_search()
    assert trex("db", "snapshot").exit_code == 0
    assert paths.snapshot.is_file()
    first = trex("db", "check")
    assert first.exit_code == 1, "the made search has no result files"
    assert "result.json is missing" in first.stdout
    paths.db.write_bytes(b"no database")
    problems = read_json_of(trex("db", "check", "--json"))
    assert any("tree.db" in line for line in problems)
    assert trex("db", "rebuild").exit_code == 0
    assert not any("tree.db" in line for line in read_json_of(trex("db", "check", "--json")))


def read_json_of(result: Result) -> list[str]:
    assert result.exit_code == 1
    return json.loads(result.stdout)["problems"]  # type: ignore[no-any-return]


def test_the_report_is_written_and_its_path_printed(trex: Trex, make_search: Make) -> None:
    paths = make_search()
    result = trex("report")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{paths.report}\n"
    assert "listops-1" in paths.report.read_text()


def test_a_background_controller_that_cannot_start_is_an_error_with_the_end_of_its_log(make_search: Make) -> None:
    paths = make_search()
    paths.card.unlink()
    with pytest.raises(EnvironmentProblem, match="did not start") as caught:
        detached(paths)
    assert "card.json" in caught.value.message


def test_launch_detached_returns_and_cancel_ends_jobs_and_controller(trex: Trex, tmp_path: Path) -> None:
    result = trex("launch", "-d", "--max-nodes", "1", "--parallel", "1")
    assert result.exit_code == 0, result.output
    pid = int(result.stdout.split("(pid ")[1].split()[0])
    assert read_json(trex("status", "--json"))["running"]
    assert "next tick" in trex("cancel", "mini-triage-1").stdout
    deadline = time.monotonic() + 30
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        assert time.monotonic() < deadline, (tmp_path / "searches/mini-triage-1/controller.log").read_text()
        time.sleep(0.1)
    body = read_json(trex("status", "--json"))
    assert body["state"] == "cancelled"
    assert body["running"] == []


def test_profiles_and_tasks_are_listed_and_shown(trex: Trex) -> None:
    assert "local" in trex("profile", "list").stdout
    assert read_json(trex("profile", "show", "local", "--json"))["profile"]["scheduler"] == "local"  # type: ignore[index]
    assert 'scheduler = "local"' in trex("profile", "show", "local").stdout
    assert "mini-listops" in trex("ftbench", "list").stdout
    assert read_json(trex("ftbench", "show", "mini-listops", "--json"))["task"]["name"] == "mini-listops"  # type: ignore[index]
    assert trex("ftbench", "show", "mini-listps").exit_code == 3
    assert trex("profile", "show", "lokal").exit_code == 3


def test_names_of_searches_are_completed(trex: Trex, make_search: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make_search()
    monkeypatch.setenv("_HPC_TREX_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "hpc-trex status li")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert trex().stdout == "plain,listops-1\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(trex: Trex, shell: str) -> None:
    result = trex("completion", shell)
    assert result.exit_code == 0
    assert "_HPC_TREX_COMPLETE" in result.stdout


def test_the_tree_is_read_again_only_after_an_event(make_search: Make) -> None:
    with Store.open(make_search()) as store:
        album = Album(SimpleNamespace(store=store))  # type: ignore[arg-type]
        first = album()
        assert album() is first
        store.record(Note(text="something"))
        assert album() is not first
