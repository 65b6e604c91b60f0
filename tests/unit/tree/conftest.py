from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpc_trex.tree.store import Store
from tests.unit.tree.building import MEMORY, new_store


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory where there is one: the store flushes every event twice, which a busy disk takes its time for."""
    with tempfile.TemporaryDirectory(prefix="hpc-trex-test-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty search, open for writing; its folder's name has a space and a question mark."""
    with new_store(tmp_path / "a search?") as made:
        yield made
