from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpc_trex.tree.store import Store
from tests.unit.tree.building import new_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty search, open for writing; its folder's name has a space and a question mark."""
    with new_store(tmp_path / "a search?") as made:
        yield made
