"""A short storm over two searches, with and without accounting; the long one is ``python -m tests.storm``."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storm.__main__ import storm

pytestmark = pytest.mark.cluster


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short name; the storm points the process at a cluster of its own, which is undone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="trex-storm-"))
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setenv("HPC_TREX_HOME", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(("accounting", "seed"), [(True, 11), (False, 12)])
def test_searches_are_whole_behind_a_storm(short, accounting, seed):
    """Each kind of blow falls once: see tests/storm/weather.py, and tests/storm/verdict.py for what must hold."""
    assert storm(short, minutes=0.5, seed=seed, accounting=accounting, pause=1.5, settle=10.0, longest=8) == []
