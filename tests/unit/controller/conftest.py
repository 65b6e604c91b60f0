"""Searches on the simulated cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpc_trex.controller import Controller, loop
from hpc_trex.launch import LaunchOptions, create_search, plan_launch
from hpc_trex.layout import SearchPaths
from tests.unit.controller.simulation import Cluster


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A simulated cluster in the place of every scheduler."""
    made = Cluster()
    monkeypatch.setattr(loop, "make_scheduler", lambda profile: made)
    return made


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SearchPaths]:
    """Make a search directory as ``hpc-trex launch`` does."""
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path / "searches"))
    monkeypatch.setenv("HPC_TREX_CACHE", str(tmp_path / "cache"))

    def make(**options: object) -> SearchPaths:
        return create_search(plan_launch(LaunchOptions.model_validate({"max_nodes": 4, "parallel": 3} | options)))

    return make


def drive(paths: SearchPaths, cluster: Cluster, *, passes: int = 200) -> Controller:
    """Tick and let every job finish, until the search is over; the caller closes the controller."""
    controller = Controller(paths)
    controller.start()
    for _ in range(passes):
        report = controller.tick()
        if report.finished:
            return controller
        cluster.finish_all()
    raise AssertionError(f"not over after {passes} passes: {report}")


def until(controller: Controller, cluster: Cluster, wanted: Callable[[], object], passes: int = 100) -> None:
    """Tick, and let every job finish, until ``wanted`` says so."""
    for _ in range(passes):
        if wanted():
            return
        assert not controller.tick().finished, "over before the moment that the test is about"
        if wanted():
            return
        cluster.finish_all()
    raise AssertionError("it never came")
