"""The controller as a line in somebody's crontab: short passes, each a process of its own, and sometimes two at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hpc_trex.layout import SearchPaths
from hpc_trex.models import SearchState
from hpc_trex.tree.store import Store
from tests.noop import noop_profile, noop_search
from tests.program import assert_whole, start

pytestmark = pytest.mark.cluster

PATIENCE = 240.0


def state(paths: SearchPaths) -> SearchState:
    with Store.read(paths) as store:
        return store.state()[0]


def test_ticks_alone_bring_a_search_to_its_end_also_from_two_crontabs(testcluster, tmp_path: Path):
    paths = noop_search(tmp_path, noop_profile(poll_seconds=0.2), max_nodes=1)
    codes: list[int] = []
    end = time.monotonic() + PATIENCE
    while state(paths) in (SearchState.RUNNING, SearchState.FINISHING):
        assert time.monotonic() < end, (tmp_path / "log").read_text()
        both = [start("tick", paths.root, log=tmp_path / "log") for _ in range(2)]
        codes += [process.wait(timeout=PATIENCE) for process in both]
    assert state(paths) is SearchState.DONE
    assert set(codes) <= {0, 6}, (tmp_path / "log").read_text()
    assert not paths.lease.exists()
    assert_whole(paths.root)
