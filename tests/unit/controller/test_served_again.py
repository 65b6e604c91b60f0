"""A served model whose server cannot be reached for a while: the question is asked again though nothing else comes in."""

from __future__ import annotations

import socket
import time

import pytest

from hpc_trex.controller import Controller, loop, serving
from hpc_trex.files import write_record
from hpc_trex.layout import server_address
from hpc_trex.models import SearchState, ServerAddress
from hpc_trex.tree.check import check
from hpc_trex.tree.servers import last_server
from tests.llm_asking import QUICK
from tests.llm_server import LlmServer
from tests.minds import Mind
from tests.program import wait_until
from tests.serving import serving_profile, serving_search
from tests.unit.controller.simulation import Cluster


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tick(controller: Controller, jobs: Cluster, times: int) -> SearchState:
    for _ in range(times):
        report = controller.tick()
        if report.finished:
            return report.state
        jobs.finish_all()
        time.sleep(0.02)
    return controller.store.state()[0]


def book_late(controller: Controller) -> None:
    """Let each pass book its calls when they have come to an end: then the failed call is no event of a later pass."""
    book = controller.reading.book_calls

    def late() -> None:
        wait_until(lambda: not controller.work.researcher.asking, seconds=30, what="the end of the call")
        book()

    controller.reading.book_calls = late  # type: ignore[method-assign]


def test_a_server_that_is_lost_and_comes_back_is_asked_again_though_no_event_came_in(tmp_path, monkeypatch):
    """Its port is closed while its job goes on: that is no event, so only the server's own word wakes the next tick."""
    jobs, servers = Cluster(), Cluster()
    monkeypatch.setattr(loop, "make_scheduler", lambda profile: jobs)
    monkeypatch.setattr(serving, "make_scheduler", lambda profile: servers)
    monkeypatch.setattr("hpc_trex.agents.llm.client.Pace", lambda: QUICK._replace(tries=1))
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path / "searches"))
    monkeypatch.setenv("HPC_TREX_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (model / name).write_text("{}")
    paths = serving_search(tmp_path, serving_profile(tmp_path), model, llm={"context_tokens": 12_000}, max_nodes=0)
    port = free_port()
    with Controller(paths) as controller:
        book_late(controller)
        controller.start()
        while last_server(controller.store) is None:
            tick(controller, jobs, 1)
        token = last_server(controller.store).token
        write_record(
            server_address(paths.server_job(1)),
            ServerAddress(token=token, host="127.0.0.1", port=port, model="tiny"),
        )
        server = controller.server
        assert server is not None
        for _ in range(500):
            tick(controller, jobs, 1)
            if server._silent_since is not None:
                break
            time.sleep(0.02)
        assert server._silent_since is not None, "the question did not find the port closed"
        events = controller.store.last_seq()
        assert tick(controller, jobs, 10) is SearchState.FINISHING, "with its baseline unread"
        assert controller.store.last_seq() == events, "something else came in, which wakes a tick too"
        assert token in servers.live
        with LlmServer(Mind(), port=port):
            end = time.monotonic() + 60
            while tick(controller, jobs, 1) is not SearchState.DONE:
                assert time.monotonic() < end, "nobody asked again"
                time.sleep(0.02)
        assert last_server(controller.store).number == 1
    assert "Asked: one label" in (paths.root / "events.jsonl").read_text()
    assert check(paths) == []
    assert servers.starts == {token: 1}


@pytest.mark.parametrize("times", [1, 3])
def test_the_word_that_it_is_lost_wakes_one_look(tmp_path, monkeypatch, times):
    """However often it was asked; a look that nobody waits for has nothing to do."""
    servers = Cluster()
    monkeypatch.setattr(loop, "make_scheduler", lambda profile: Cluster())
    monkeypatch.setattr(serving, "make_scheduler", lambda profile: servers)
    monkeypatch.setenv("HPC_TREX_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (model / name).write_text("{}")
    paths = serving_search(tmp_path, serving_profile(tmp_path), model, llm={"context_tokens": 12_000}, max_nodes=0)
    with Controller(paths) as controller:
        server = controller.server
        assert server is not None
        assert not server.look()
        for _ in range(times):
            assert server.lost(), "there is none"
        assert server.look()
        assert not server.look()
