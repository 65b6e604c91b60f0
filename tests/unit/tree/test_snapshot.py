"""Readers: a published copy, brought up to date from the log, never the live file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from hpc_trex.tree import events as ev
from hpc_trex.tree import snapshot
from hpc_trex.tree.database import connect
from hpc_trex.tree.snapshot import publish
from hpc_trex.tree.store import Published, Store
from tests.unit.tree.building import add, done, dump, finish


def test_a_reader_sees_the_last_event_with_and_without_a_snapshot(store: Store) -> None:
    done(store, None, 0.5)
    for _ in range(2):
        with Store.read(store.paths) as reader:
            assert dump(reader) == dump(store)
            assert reader.stats() == store.stats()
        assert publish(store, force=True) or store.last_seq() == 3
    finish(store, add(store, 0), 0.6)  # after the snapshot
    with Store.read(store.paths) as reader:
        assert dump(reader) == dump(store)


def test_a_reader_neither_opens_nor_locks_the_live_file(store: Store) -> None:
    done(store, None, 0.5)
    publish(store)
    with Store.read(store.paths) as reader:
        files = [row[2] for row in reader.db.conn.execute("PRAGMA database_list")]
        assert not any(name.startswith(str(store.paths.root)) for name in files)
        add(store, 0)
        assert reader.next_node() == 1  # what it saw when it was opened


def test_a_reader_leaves_no_file_behind(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    for _ in range(2):
        with Store.read(store.paths) as reader:
            assert list(scratch.iterdir()) == []
            assert reader.last_seq() == 1
        publish(store)


def test_a_broken_or_foreign_snapshot_is_passed_over(store: Store) -> None:
    done(store, None, 0.5)
    publish(store)
    whole = store.paths.snapshot.read_bytes()
    for bad in (b"", b"no database" * 400, whole[:5000]):
        store.paths.snapshot.write_bytes(bad)
        with Store.read(store.paths) as reader:
            assert dump(reader) == dump(store)
    store.paths.snapshot.write_bytes(whole)
    other = connect(store.paths.snapshot)
    other.execute("UPDATE search SET log_bytes = 17")
    other.close()
    with Store.read(store.paths) as reader:
        assert dump(reader) == dump(store)


def test_snapshots_are_rare_enough_to_stay_a_small_share(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(snapshot.time, "monotonic", lambda: now)
    assert publish(store)
    store.record(ev.Note(text="more"))
    now += 0.4
    assert not publish(store)
    assert publish(store, force=True)
    store.published = Published(seq=2, seconds=2.0, ended=now)
    store.record(ev.Note(text="more"))
    now += 39
    assert not publish(store)
    now += 2
    assert publish(store)


def test_nothing_is_published_twice_also_by_a_new_process(store: Store) -> None:
    assert publish(store, force=True)
    assert not publish(store, force=True)
    store.close()
    with Store.open(store.paths) as again:
        assert not publish(again, force=True)
        again.record(ev.Note(text="new"))
        assert publish(again, force=True)
    assert [path.name for path in store.paths.snapshot.parent.iterdir()] == ["current.db"]
