"""The texts of ``tree/``: canned queries run on a real search, and the docs name what is there."""

from __future__ import annotations

import json

import pytest

from hpc_trex.site import site, site_files
from hpc_trex.tree.store import Store
from tests.unit.tree.building import add, done, fail, run_trial

METADATA = json.loads(site("tree", "metadata.json").read_text())["databases"]["current"]


@pytest.mark.parametrize("name", sorted(METADATA["queries"]))
def test_every_canned_query_answers_on_a_search(store: Store, name: str) -> None:
    done(store, None, 0.5)
    run_trial(store, 0, 1, 0.5)
    done(store, 0, 0.6)
    fail(store, add(store, 1), charged=True)
    query = METADATA["queries"][name]
    rows = store.db.conn.execute(query["sql"], {"node": 2} if "params" in query else {}).fetchall()
    expected = {"best_rounds": 2, "path": 3, "moves": 1, "failures": 0, "live_jobs": 0, "cost": 3, "settings": 1}
    assert len(rows) == expected.get(name, 3)


def test_every_table_is_described(store: Store) -> None:
    tables = {name for name in store.db.table_names() if not name.startswith(("_", "sqlite_"))}
    assert tables == set(METADATA["tables"])


def test_migrations_are_numbered_without_gaps() -> None:
    numbers = [int(name.split("_")[0]) for name in sorted(site_files("tree", "migrations/*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))
