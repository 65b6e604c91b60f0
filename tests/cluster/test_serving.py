"""A language model that the search serves itself, as a job of a real Slurm: found once, asked over the node's address, ended."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from hpc_trex.agents.llm.client import LlmClient
from hpc_trex.agents.llm.errors import LlmBadAnswer, LlmUnavailable
from hpc_trex.agents.llm.keys import served_key
from hpc_trex.agents.llm.ledger import Ledger
from hpc_trex.agents.llm.patience import Pace
from hpc_trex.controller import Controller
from hpc_trex.layout import SearchPaths
from hpc_trex.models import LlmSettings
from hpc_trex.tree.check import check
from hpc_trex.tree.servers import last_server
from hpc_trex.tree.store import Store
from tests.cluster.test_exactly_once import die_until_done
from tests.llm_asking import Direction, question
from tests.program import trex, wait_until
from tests.serving import files_with, scripted, serving_profile, serving_search, tiny_chat_model

pytestmark = pytest.mark.cluster
PATIENCE = 240.0


def queue(paths: SearchPaths) -> list[str]:
    with Store.read(paths) as store:
        uid = store.config.uid
    out = subprocess.run(["squeue", "--me", "-h", "-o", "%j"], capture_output=True, text=True, check=True).stdout
    return [name for name in out.split() if name.startswith(uid)]


def last_state(controller: Controller) -> str:
    server = last_server(controller.store)
    return server.state if server else ""


def address(controller: Controller) -> LlmSettings:
    found: list[LlmSettings] = []

    def answers() -> bool:
        assert controller.server is not None
        controller.server.look()
        settings = controller.server.settings()
        found.extend([settings] if settings else [])
        return bool(found)

    wait_until(answers, seconds=PATIENCE, what="the server")
    return found[0]


def test_transformers_serve_as_a_job_is_asked_once_and_nothing_is_left_in_the_queue(testcluster, tmp_path):
    model = tiny_chat_model(tmp_path / "tiny-chat")
    profile = serving_profile(tmp_path, scheduler="slurm", mem_gb=3.0)
    paths = serving_search(tmp_path, profile, model, scheduler="slurm")
    with Controller(paths) as controller:
        settings = address(controller)
        assert queue(paths) == [f"{controller.store.config.uid}-serve-1"]
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{settings.base_url}/models", timeout=PATIENCE)
        client = LlmClient(settings, Ledger(paths.llm), key=served_key(paths), pace=Pace(tries=1))
        with pytest.raises(LlmBadAnswer, match="after one repair turn"):
            client.ask(question(), Direction, settings=settings)
        assert controller.server is not None
        controller.server.stop()
    wait_until(lambda: not queue(paths), seconds=PATIENCE, what="an empty queue")
    assert files_with(paths.root, served_key(paths)) == [paths.server_key]
    with Store.read(paths) as store:
        assert store.cost().cpu_hours > 0
    assert check(paths) == []
    assert "ended by the controller" in trex("status", paths.root).stdout


def empty_model(folder: Path) -> Path:
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text("{}")
    return folder


def test_a_person_who_cancels_the_server_is_given_no_other(testcluster, tmp_path):
    profile = serving_profile(tmp_path, scheduler="slurm", mem_gb=0.5, command=scripted("{}"))
    paths = serving_search(tmp_path, profile, empty_model(tmp_path / "model"), scheduler="slurm")
    with Controller(paths) as controller:
        address(controller)
        subprocess.run(["scancel", f"--name={controller.store.config.uid}-serve-1"], check=True)
        server = controller.server
        assert server is not None

        def over() -> bool:
            server.look()
            return last_state(controller) == "ended"

        wait_until(over, seconds=PATIENCE, what="its end")
        with pytest.raises(LlmUnavailable, match="cancelled outside"):
            server.settings()
        assert server.lost()
    wait_until(lambda: not queue(paths), seconds=PATIENCE, what="an empty queue")


def test_a_controller_that_dies_at_every_boundary_starts_one_server_and_ends_it(testcluster, tmp_path):
    profile = serving_profile(tmp_path, scheduler="slurm", mem_gb=0.5, command=scripted("{}"))
    paths = serving_search(tmp_path, profile, empty_model(tmp_path / "model"), scheduler="slurm")

    def step() -> None:
        with Controller(paths) as controller:
            last = last_server(controller.store)
            if last is None or last.state != "ended":
                address(controller)
                assert controller.server is not None
                controller.server.stop()

    deaths = die_until_done(tmp_path / "deaths", step)
    assert deaths >= 10
    with Store.read(paths) as store:
        server = last_server(store)
    assert server is not None
    assert (server.number, server.state) == (1, "ended")
    wait_until(lambda: not queue(paths), seconds=PATIENCE, what="an empty queue")
    assert [path.parent.name for path in paths.server.glob("*/started.json")] == ["1"]
    assert check(paths) == []
