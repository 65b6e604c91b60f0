"""Elements that ask a language model, and what a sweep's searches leave in the knowledge base: real processes as trainings."""

from __future__ import annotations

import pytest

from hpc_trex.knowledge.base import read_base
from hpc_trex.layout import SearchPaths
from hpc_trex.sweep.element import Job, run_element
from hpc_trex.sweep.folder import read_config
from hpc_trex.tree.lease import Lease
from hpc_trex.tree.store import Store
from tests.llm_server import LlmServer
from tests.minds import Mind
from tests.noop.sweeps import maker, profiles
from tests.program import assert_whole, trex

pytestmark = pytest.mark.local


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make a sweep whose elements are processes of this machine."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return maker(tmp_path, monkeypatch)


def test_the_elements_of_a_typed_sweep_ask_the_server_and_the_others_do_not(make, tmp_path):
    given = profiles(tmp_path, scheduler="local")
    mind = Mind()
    with LlmServer(mind) as server:
        words = (
            "--researchers",
            "random,llm",
            "--seeds",
            "0-1",
            "--max-nodes",
            1,
            "--trials",
            1,
            "--llm-model",
            "tiny",
        )
        words += ("--llm-base-url", server.url, "--llm-tokens", 90_000, "--no-llm-review", "--no-llm-research")
        done = trex(
            *("sweep", "launch", *words, "--profile", given["profile"], "--inner-profile", given["inner_profile"])
        )
    assert f"asks       tiny at {server.url}: 2 element(s), at most 90000 tokens each, 180000 in all" in done.stdout
    assert "llm/uct" in done.stdout
    assert done.stdout.count(" 2/2 ") == 2
    assert mind.asked["Brief"] == 2
    for number in range(4):
        search = SearchPaths(tmp_path / "searches" / "sweeps" / "sweep-1" / "elements" / f"000{number}" / "search")
        assert_whole(search.root)
        with Store.read(search) as store:
            asks = store.config.researcher.name == "llm"
            assert (store.cost().tokens > 0) is asks
            assert not asks or store.node(1).plan.move == "llm:rate"


def test_an_element_at_its_cap_of_tokens_ends_with_its_choice_tested(make):
    with LlmServer(Mind()) as server:
        llm = {"model": "tiny", "base_url": server.url, "tokens_cap": 130, "review": False, "research": False}
        paths = make(researchers=("llm",), llm=llm, max_nodes=3)
        left = run_element(paths, 0, Job("t-1", "1"), print)
    assert left.state == "done"
    assert left.test is not None
    with Store.read(SearchPaths(paths.element(0).search)) as store:
        assert store.cost().tokens < 400


def test_each_search_goes_into_the_base_at_its_end_or_says_why_not(make, tmp_path, monkeypatch):
    base = tmp_path / "base" / "knowledge.db"
    monkeypatch.setenv("HPC_TREX_KNOWLEDGE", str(base))
    monkeypatch.setattr("hpc_trex.knowledge.base.WAIT_SECONDS", 0.2)
    paths = make(seeds=(0, 1, 2), knowledge=True)
    said: list[str] = []
    for number in (0, 1):
        assert run_element(paths, number, Job(f"t-{number}", "1"), said.append).state == "done"
    found = [one.uid for one in read_base(base)]
    config = read_config(paths)
    assert found == [f"{config.uid}-e0", f"{config.uid}-e1"]
    with Lease(base.with_name("knowledge.db.lease")):
        assert run_element(paths, 2, Job("t-2", "1"), said.append).state == "done", "a base never stops a search"
    assert [one.uid for one in read_base(base)] == found
    assert any("is locked" in line and "insights --import" in line for line in said)
