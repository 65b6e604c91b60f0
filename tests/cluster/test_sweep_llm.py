"""Elements of a real array that ask a language model: their key comes from a file, since none is passed into jobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpc_trex.layout import SearchPaths
from hpc_trex.sweep.folder import find_sweep
from hpc_trex.tree.store import Store
from tests.llm_server import LlmServer
from tests.minds import Mind
from tests.noop.sweeps import profiles
from tests.program import assert_whole, trex, wait_until

pytestmark = pytest.mark.cluster
KEY = "sk-only-in-a-file-of-the-tests"


def test_an_element_asks_a_server_of_the_site_with_the_key_of_a_file(testcluster, tmp_path, home, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-login-node")
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n")
    key.chmod(0o600)
    given = profiles(tmp_path)
    file = tmp_path / "sweep.toml"
    file.write_text("[noise]\nfloor_repeats = 0\nfinal_candidates = 1\nfinal_seeds = 1\n")
    words = ["-y", "--file", file, "--max-nodes=1", "--trials=1", "--researchers=llm", "--no-llm-research"]
    words += [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    with LlmServer(Mind(), key=KEY) as server:
        # Not written as this machine's loopback, which is refused; all the same it is nowhere else.
        address = f"http://0.0.0.0:{server.port}/v1"
        asked = ["--llm-model=tiny", f"--llm-base-url={address}"]
        refused = trex("sweep", "launch", *words, *asked, code=4).stderr
        assert "no secret is passed" in refused
        done = trex("sweep", "launch", *words, *asked, f"--llm-key-file={key}")
        assert f"asks       tiny at {address}: 1 element(s), no cap" in done.stdout

        def over() -> bool:
            return json.loads(trex("sweep", "status", "--json").stdout)["elements"] == {"done": 1}

        wait_until(over, seconds=240, what="the end of the element")
    paths = find_sweep()
    search = SearchPaths(paths.element(0).search)
    assert_whole(search.root)
    with Store.read(search) as store:
        assert store.node(1).plan.move == "llm:rate"
        assert store.cost().tokens > 0
    held = [path for path in Path(paths.root).rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert held == []
