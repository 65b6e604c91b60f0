"""How a served language model is found again, lost, given up and ended: real jobs as local processes, a scripted server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpc_trex.agents.llm.client import LlmClient
from hpc_trex.agents.llm.errors import LlmUnavailable
from hpc_trex.agents.llm.keys import served_key
from hpc_trex.agents.llm.ledger import Ledger
from hpc_trex.controller import Controller
from hpc_trex.controller.requests import Request
from hpc_trex.controller.serving import ServedModel
from hpc_trex.layout import AttemptPaths, SearchPaths, server_address
from hpc_trex.models import JobResult, LlmSettings, Resources, SearchState, ServeSpec
from hpc_trex.tree.check import check
from hpc_trex.tree.servers import last_server
from hpc_trex.tree.store import Store
from tests.llm_asking import GOOD, QUICK, Direction, question
from tests.program import trex, wait_until
from tests.serving import command_lines, scripted, serving_profile, serving_search

pytestmark = pytest.mark.local
PATIENCE = 120.0


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Callable[..., SearchPaths]]:
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (model / name).write_text("{}")

    def make(
        command: list[str] | None = None, *, serve: dict[str, object] | None = None, **options: object
    ) -> SearchPaths:
        profile = serving_profile(tmp_path, command=command or scripted(json.dumps(GOOD)), **(serve or {}))
        return serving_search(tmp_path, profile, model, **options)

    yield make
    mark = str(tmp_path / "served" / "server")
    wait_until(lambda: not command_lines(mark), seconds=PATIENCE, what="the end of the server's processes")


def served(controller: Controller) -> ServedModel:
    assert controller.server is not None
    return controller.server


def address(controller: Controller) -> LlmSettings:
    """Look and ask, as ticks do, until the server answers."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        served(controller).look()
        settings = served(controller).settings()
        if settings is not None:
            return settings
        time.sleep(0.1)
    raise AssertionError("the server never answered")


def number(paths: SearchPaths) -> int:
    with Store.read(paths) as store:
        server = last_server(store)
    return server.number if server else 0


def test_a_question_is_answered_with_the_searchs_own_key_whatever_key_the_user_has(search, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-service")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    paths = search()
    with Controller(paths) as controller:
        settings = address(controller)
        client = LlmClient(settings, Ledger(paths.llm), key=served_key(paths), pace=QUICK)
        assert client.ask(question(), Direction, settings=settings).value == Direction(**GOOD)
        served(controller).stop()
    assert check(paths) == []


def test_the_next_controller_finds_the_server_that_runs(search):
    paths = search()
    with Controller(paths) as controller:
        first = address(controller)
    with Controller(paths) as controller:
        assert address(controller) == first
        served(controller).stop()
        served(controller).stop()  # there is none any more
    assert number(paths) == 1


def test_a_server_that_vanished_is_followed_by_another(search):
    paths = search()
    with Controller(paths) as controller:
        address(controller)
        with Store.read(paths) as store:
            pid = int(last_server(store).job_id.split(":")[0])
        os.kill(pid, signal.SIGKILL)
        wait_until(served(controller).lost, seconds=PATIENCE, what="the loss to be seen")
        address(controller)
        assert number(paths) == 2
        served(controller).stop()
    with Store.read(paths) as store:
        assert store.cost().cpu_hours > 0
    assert check(paths) == []


def test_a_question_over_which_the_server_dies_is_asked_of_the_next_one(search, tmp_path, monkeypatch):
    monkeypatch.setattr("hpc_trex.agents.llm.client.Pace", lambda: QUICK._replace(tries=1))
    words = "one two three"
    brief = dict.fromkeys(("analysis", "asked", "lacking", "metric", "data"), words) | {"priorities": [words]}
    paths = search(scripted(json.dumps(brief), str(tmp_path / "died")), max_nodes=0)
    with Controller(paths) as controller:
        state = controller.run(lambda report: None)
    assert state is SearchState.DONE
    assert number(paths) == 2
    found = Ledger(paths.llm).find("node-0000/brief")
    assert found is not None
    assert check(paths) == []


def test_a_server_that_runs_and_cannot_be_reached_pauses_the_search_after_a_while(search, monkeypatch):
    monkeypatch.setattr("hpc_trex.controller.serving.SILENT_SECONDS", 3600.0)
    paths = search()
    with Controller(paths) as controller:
        address(controller)
        assert not served(controller).lost()
        file = server_address(paths.server_job(1))
        record = json.loads(file.read_text())
        file.write_text(json.dumps(record | {"port": 9}))  # as a firewall between login and compute nodes
        assert served(controller).lost()
        assert served(controller).settings() is None
        monkeypatch.setattr("hpc_trex.controller.serving.SILENT_SECONDS", 0.0)
        with pytest.raises(LlmUnavailable, match="cannot be reached from here"):
            served(controller).settings()
        file.write_text(json.dumps(record))
        assert served(controller).settings() is not None
        served(controller).stop()


def test_one_at_its_time_limit_is_followed_by_another_and_three_deaths_in_a_row_by_none(search):
    paths = search()
    with Controller(paths) as controller:
        for number_, blow in enumerate((signal.SIGUSR2, signal.SIGKILL, signal.SIGKILL, signal.SIGKILL), 1):
            address(controller)
            assert number(paths) == number_
            with Store.read(paths) as store:
                os.kill(int(last_server(store).job_id.split(":")[0]), blow)
            wait_until(lambda: ended(controller), seconds=PATIENCE, what="the end of the server")
        with pytest.raises(LlmUnavailable, match="server failed"):
            served(controller).settings()
    assert number(paths) == 4
    assert check(paths) == []


def ended(controller: Controller) -> bool:
    served(controller).look()
    server = last_server(controller.store)
    return server is not None and server.state == "ended"


def test_a_server_that_cannot_start_pauses_the_search_with_the_end_of_its_log(search):
    paths = search([sys.executable, "-c", "raise SystemExit('no such weights')"])
    said: list[str] = []
    with Controller(paths) as controller, pytest.raises(LlmUnavailable, match="no such weights"):
        controller.run(lambda report: said.extend(report.lines))
    with Store.read(paths) as store:
        assert store.state()[0] is SearchState.PAUSED
    assert number(paths) == 1
    assert "no such weights" in trex("status", paths.root).stdout
    assert check(paths) == []


def test_a_placeholder_that_is_none_is_named(search):
    paths = search([*scripted(), "{prot}"])
    with Controller(paths) as controller, pytest.raises(LlmUnavailable, match="prot"):
        controller.run(lambda report: None)


def test_pausing_and_cancelling_end_the_server(search):
    paths = search()
    with Controller(paths) as controller:
        address(controller)
        assert "answers at 127.0.0.1:" in trex("status", paths.root).stdout
        controller.ask(Request(action="pause"))
    with Store.read(paths) as store:
        assert last_server(store).state == "ended"
        assert last_server(store).message == "ended by the controller"
    with Controller(paths) as controller:
        controller.start()
        address(controller)
        controller.ask(Request(action="cancel"))
    with Store.read(paths) as store:
        assert (last_server(store).number, last_server(store).state) == (2, "ended")
    assert check(paths) == []


def test_its_hours_are_reserved_at_worst_and_settled_at_the_end(search):
    paths = search(serve={"minutes": 120, "cpus_per_task": 2})
    with Controller(paths) as controller:
        address(controller)
        body = json.loads(trex("budget", paths.root, "--by", "user", "--json").stdout)["searches"][0]
        assert body["reserved"]["cpu_hours"] == pytest.approx(4.0)
        assert body["rows"][0]["reserved_cpu_hours"] == pytest.approx(4.0)
        served(controller).stop()
    body = json.loads(trex("budget", paths.root, "--by", "node", "--json").stdout)["searches"][0]
    assert body["reserved"]["cpu_hours"] == 0
    assert 0 < body["used"]["cpu_hours"] < 0.1
    assert [row["key"] for row in body["rows"]] == ["server"]


def test_a_server_that_does_not_fit_under_the_cap_is_not_started(search):
    paths = search(serve={"minutes": 600}, cpu_hours=2.0)
    with Controller(paths) as controller:
        state = controller.run(lambda report: None)
    assert state is SearchState.DONE
    assert number(paths) == 0
    with Store.read(paths) as store:
        assert "which the caps do not leave" in store.node(0).report


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., AttemptPaths]:
    """Write the spec of a server's job."""
    (tmp_path / "key").write_text("secret-of-the-test\n")

    def make(**changes: object) -> AttemptPaths:
        paths = AttemptPaths(tmp_path / "1")
        paths.root.mkdir()
        given = {
            "token": "t-1",
            "attempt_dir": str(paths.root),
            "model_path": "/nowhere",
            "name": "tiny",
            "command": tuple(scripted("{}")),
            "loopback": True,
            "key_file": str(tmp_path / "key"),
            "asked_file": str(tmp_path / "asked"),
            "idle_seconds": 1.0,
            "start_seconds": PATIENCE,
            "resources": Resources(),
        }
        paths.spec.write_text(ServeSpec.model_validate(given | changes).model_dump_json())
        return paths

    return make


def run(paths: AttemptPaths) -> JobResult:
    subprocess.run(
        [sys.executable, "-m", "hpc_trex.job", str(paths.spec)], check=False, timeout=PATIENCE, capture_output=True
    )
    return JobResult.model_validate_json(paths.result.read_bytes())


def test_a_server_that_nobody_needs_ends_by_itself(job):
    result = run(job())
    assert (result.state, result.failure) == ("succeeded", None)
    assert "nobody needed the server" in result.message


def test_a_server_that_does_not_answer_in_time_is_given_up(job):
    result = run(
        job(command=(sys.executable, "-c", "import time; time.sleep(3600)"), start_seconds=1.0, idle_seconds=50.0)
    )
    assert (result.state, result.failure) == ("failed", "ENVIRONMENT")
    assert "did not answer within" in result.message


def test_warned_of_its_time_limit_the_job_leaves_its_place_to_another(job):
    paths = job(idle_seconds=50.0)
    child = subprocess.Popen([sys.executable, "-m", "hpc_trex.job", str(paths.spec)], stdout=subprocess.DEVNULL)
    wait_until((paths.root / "server.json").exists, seconds=PATIENCE, what="an answer")
    child.send_signal(signal.SIGUSR2)
    assert child.wait(timeout=PATIENCE) == 1
    assert JobResult.model_validate_json(paths.result.read_bytes()).failure == "TIMEOUT"
    double = subprocess.run([sys.executable, "-m", "hpc_trex.job", str(paths.spec)], check=False, capture_output=True)
    assert double.returncode == 0
    assert b"started already" in double.stdout
