"""``hpc-trex wait`` at the end of a search: what is typed behind it must not be refused because of a controller that leaves."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hpc_trex.cli import wait
from hpc_trex.layout import SearchPaths
from hpc_trex.models import SearchState
from hpc_trex.tree import events as ev
from hpc_trex.tree.lease import Lease
from hpc_trex.tree.store import Store


@pytest.fixture
def over(make_search) -> SearchPaths:
    """A search that is done."""
    paths = make_search("over")
    with Lease(paths) as lease, Store.open(paths, guard=lease) as store:
        store.record(ev.SearchStateChanged(state=SearchState.DONE))
    return paths


def test_it_returns_when_the_controller_has_left(trex, over, monkeypatch):
    lease, slept = Lease(over), []
    lease.acquire()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        lease.release()

    monkeypatch.setattr(wait.time, "sleep", sleep)
    assert trex("wait", "over").exit_code == 0
    assert len(slept) == 1
    assert trex("gc", "over", "-y").exit_code == 0


def test_a_controller_that_was_killed_is_not_waited_for(trex, over, monkeypatch):
    program = (
        "import os, sys; from pathlib import Path; from hpc_trex.tree.lease import Lease; "
        "Lease(Path(sys.argv[1])).acquire(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(over.lease)], check=False).returncode == 9
    assert over.lease.exists()
    monkeypatch.setattr(wait.time, "sleep", lambda _: pytest.fail("it waits for a dead process"))
    assert trex("wait", "over").exit_code == 0


def test_a_controller_that_does_not_leave_is_not_waited_for_long(trex, over, monkeypatch):
    monkeypatch.setattr(wait, "LEAVING_SECONDS", 0.3)
    with Lease(over):
        assert trex("wait", "over").exit_code == 0
