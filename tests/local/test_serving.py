"""A language model that the search serves itself, as local processes: the real ``transformers serve`` on a tiny model."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from hpc_trex.agents.llm.ledger import Ledger
from hpc_trex.controller import Controller
from hpc_trex.job.guarded_serve import guarded
from hpc_trex.models import SearchState
from hpc_trex.tree.check import check
from hpc_trex.tree.servers import last_server
from hpc_trex.tree.store import Store
from tests.program import wait_until
from tests.serving import command_lines, files_with, serving_profile, serving_search, tiny_chat_model

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chat_model(tmp_path_factory.mktemp("model") / "tiny-chat")


def test_a_search_serves_its_model_asks_it_and_ends_it(tmp_path, model):
    paths = serving_search(tmp_path, serving_profile(tmp_path), model, max_nodes=0)  # the brief is the one question
    lines: list[str] = []
    shown: list[str] = []
    with Controller(paths) as controller:

        def watch(report: object) -> None:
            lines.extend(report.lines)  # type: ignore[attr-defined]
            shown.extend(command_lines(str(model)))

        state = controller.run(watch)
    assert state is SearchState.DONE, lines
    calls = Ledger(paths.llm).calls(0)
    assert calls, lines
    for call in calls:  # noise: the question is asked, repaired once, and given up
        assert call.model == str(model)
        assert "does not fit, after one repair turn" in call.error
        assert call.usage.requests == 2
        assert call.usage.tokens_in
    with Store.read(paths) as store:
        server = last_server(store)
        assert server is not None
        assert (server.number, server.state) == (1, "ended")
        assert server.seconds > 1
        assert store.cost().cpu_hours * 3600 >= server.cpu_seconds > 0.5
    assert check(paths) == []
    key = paths.server_key.read_text().strip()
    assert stat.S_IMODE(paths.server_key.stat().st_mode) == 0o600
    assert shown, "the server was never seen"
    assert not any(key in words for words in shown)
    assert files_with(paths.root, key) == [paths.server_key]
    wait_until(lambda: command_lines(str(model)) == [], seconds=60, what="the end of the server's processes")


def test_the_guard_lets_nobody_in_without_the_key():
    asked: list[str] = []

    async def app(scope, receive, send):
        asked.append(scope["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def status(scope: dict[str, object]) -> int:
        sent: list[dict[str, object]] = []

        async def send(message):
            sent.append(message)

        await guarded(app, "secret")(scope, None, send)
        return sent[0]["status"] if sent else 0

    def of(*headers: tuple[bytes, bytes], kind: str = "http") -> int:
        return asyncio.run(status({"type": kind, "headers": list(headers)}))

    assert of() == 401
    assert of((b"authorization", b"Bearer secre")) == 401
    assert of((b"authorization", b"secret")) == 401
    assert of(kind="websocket") == 0
    assert asked == []
    assert of((b"authorization", b"Bearer secret")) == 200
