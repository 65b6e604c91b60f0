"""``status`` of a large search: what it reads does not grow with the tree. Counted, never timed (benchmarks/tree_cost.py)."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.tree_cost import grow
from hpc_trex.layout import SearchPaths
from hpc_trex.tree import reads
from hpc_trex.tree.check import rebuild
from hpc_trex.tree.snapshot import publish
from hpc_trex.tree.store import Store

pytestmark = pytest.mark.slow

SMALL, LARGE = 100, 2000


def search_of(folder: Path, rounds: int) -> SearchPaths:
    paths = SearchPaths(folder / f"of-{rounds}")
    paths.root.mkdir()
    grow(paths, rounds)
    rebuild(paths)
    with Store.open(paths) as store:
        publish(store, force=True)
    return paths


def cost_of_status(paths: SearchPaths, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return rows fetched, rounds and trials parsed, and steps of SQLite's machine."""
    counts: Counter[str] = Counter()
    for name in ("node_view", "trial_view"):
        whole = getattr(reads, name)
        monkeypatch.setattr(reads, name, lambda *given, whole=whole: counts.update(parsed=1) or whole(*given))
    with Store.read(paths) as store:

        def row(cursor: sqlite3.Cursor, values: tuple[object, ...]) -> tuple[object, ...]:
            counts["rows"] += 1
            return values

        store.db.conn.row_factory = row
        store.db.conn.set_progress_handler(lambda: counts.update(steps=1), 1)
        status = store.status()
        store.db.conn.set_progress_handler(None, 1)
    assert sum(status.nodes.values()) == int(paths.root.name.removeprefix("of-"))
    monkeypatch.undo()
    return counts


def test_status_reads_as_much_of_a_large_search_as_of_a_small_one(tmp_path, monkeypatch) -> None:
    """Only the counts by state pass over an index, some steps a round; no row of a round is read for them."""
    small = cost_of_status(search_of(tmp_path, SMALL), monkeypatch)
    large = cost_of_status(search_of(tmp_path, LARGE), monkeypatch)
    assert large["rows"] - small["rows"] <= 4, "a state more, or a round with more children"
    assert large["parsed"] - small["parsed"] <= 2
    more = large["steps"] - small["steps"]
    assert more <= 25 * (LARGE - SMALL), more
