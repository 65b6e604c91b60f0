"""Searches on the simulated cluster, with a knowledge base of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hpc_trex.cli.main import cli
from tests.unit.controller.conftest import cluster, search  # noqa: F401 - fixtures
from tests.unit.tree.building import MEMORY


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory where there is one: every event of a search is flushed to the disk."""
    with tempfile.TemporaryDirectory(prefix="hpc-trex-test-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The knowledge base of this test; it is not there yet."""
    path = tmp_path / "a base?" / "knowledge.db"
    monkeypatch.setenv("HPC_TREX_KNOWLEDGE", str(path))
    return path


@pytest.fixture
def trex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run one command line, as a user types it, away from any project file."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)

    def run(*args: str | Path) -> Result:
        return CliRunner().invoke(cli, [str(arg) for arg in args])

    return run
