"""The store: what is recorded can be read, survives a crash, and is refused when it does not fit."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hpc_trex.errors import EnvironmentProblem, LeaseHeld, NotFound, UsageProblem
from hpc_trex.layout import SearchPaths
from hpc_trex.models import SearchState
from hpc_trex.tree import database
from hpc_trex.tree import events as ev
from hpc_trex.tree.check import check
from hpc_trex.tree.log import EventLog, encode
from hpc_trex.tree.store import Store
from tests.unit.tree.building import add, created, done, dump, finish, new_store


def line(seq: int, event: ev.Event) -> bytes:
    return encode(ev.EventLine(seq=seq, time="2026-01-01T00:00:00.000+00:00", event=event))


def damage(problems: list[str]) -> list[str]:
    """Problems without the files that these bare searches never had."""
    return [text for text in problems if not text.endswith(("search.toml is missing", "card.json is missing"))]


def test_a_new_search_is_empty_and_running(store: Store) -> None:
    assert store.state() == (SearchState.RUNNING, "")
    assert store.config.name == "demo"
    assert store.next_node() == 0
    assert store.stats() == []
    assert store.extremes() is None
    assert store.status().best is None


def test_the_live_database_uses_no_wal_no_mmap_and_full_synchronisation(store: Store) -> None:
    pragmas = {name: store.db.conn.execute(f"PRAGMA {name}").fetchone() for name in ("journal_mode", "synchronous")}
    assert pragmas == {"journal_mode": ("delete",), "synchronous": (2,)}
    assert store.db.conn.execute("PRAGMA mmap_size").fetchone() in (None, (0,))


def test_a_second_search_in_the_same_folder_is_refused(store: Store) -> None:
    with pytest.raises(UsageProblem, match="holds a search already"):
        Store.create(store.paths, created())


def test_a_folder_without_a_search_is_not_found(tmp_path: Path) -> None:
    for open_it in (Store.open, Store.read):
        with pytest.raises(NotFound, match="holds no search"):
            open_it(SearchPaths(tmp_path))


def test_what_was_recorded_is_there_after_reopening(store: Store) -> None:
    done(store, None, 0.5)
    before = dump(store)
    store.close()
    with Store.open(store.paths) as again:
        assert dump(again) == before
        assert add(again, 0) == 1


def test_an_event_that_does_not_fit_is_refused_and_leaves_no_trace(store: Store) -> None:
    add(store, None)
    before, size = dump(store), store.paths.events.stat().st_size
    for event in (
        ev.NodeAdded(node=5, parent=0, plan=None),
        ev.NodeAdded(node=1, parent=7, plan=None),
        ev.NodeAdded(node=1, parent=None, plan=None),
        ev.NodeEnded(node=3, state="done", score=1.0, best_trial=1),
        ev.NodeEnded(node=0, state="done", best_trial=1),
        ev.NodeRescored(node=0, score=1.0, best_trial=1),
        ev.TrialAdded(node=9, trial=1, kind="train"),
        ev.AttemptQueued(token="nobody", job_id="1"),
        ev.AttemptIntended(node=0, trial=1, attempt=1, kind="train", token="a", directory="d"),
        ev.AttemptIntended(node=0, trial=0, attempt=2, kind="base", token="a", directory="d"),
        ev.SearchCreated(config=store.config, task_digest="", base_digest=""),
    ):
        with pytest.raises(ValueError, match=r"node|trial|attempt|fit|round"):
            store.record(event)
    assert (dump(store), store.paths.events.stat().st_size) == (before, size)
    finish(store, 0, 1.0)  # and the store goes on


def test_a_round_cannot_end_twice(store: Store) -> None:
    done(store, None, 0.5)
    with pytest.raises(ValueError, match="over already"):
        finish(store, 0, 0.5)
    assert store.node(0).visits == 1


def test_an_event_in_the_log_that_the_database_missed_is_applied_on_open(store: Store) -> None:
    """A kill between the flush of the log and the commit of the database."""
    add(store, None)
    store.close()
    with store.paths.events.open("ab") as log:
        log.write(line(3, ev.NodeEnded(node=0, state="done", score=0.7, best_trial=1)))
    with Store.open(store.paths) as again:
        assert again.node(0).score == 0.7
        assert again.stats()[0].visits == 1
        assert done(again, 0, 0.8) == 1
    assert damage(check(store.paths)) == []


def test_a_commit_that_fails_after_the_log_was_written_is_made_up_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, None)

    @contextmanager
    def full_disk() -> Iterator[None]:
        store.db.conn.execute("BEGIN")
        yield
        store.db.conn.execute("ROLLBACK")
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(store.db, "atomic", full_disk)
        with pytest.raises(EnvironmentProblem, match="disk is full"):
            finish(store, 0, 0.7)
    assert store.node(0).score is None
    assert done(store, 0, 0.9) == 1  # the next event first applies the one that is in the log
    assert store.node(0).score == 0.7
    assert [stat.visits for stat in store.stats()] == [2, 1]


@pytest.mark.parametrize("torn", [b'{"seq":3,"ti', b"\0" * 500, b'{"seq": 3}\n'])
def test_a_torn_last_line_is_moved_aside_with_a_note(store: Store, torn: bytes) -> None:
    add(store, None)
    store.close()
    with store.paths.events.open("ab") as log:
        log.write(torn)
    with Store.read(store.paths) as reader:
        assert reader.next_node() == 1
    with Store.open(store.paths) as again:
        assert (store.paths.root / "events.torn-1").read_bytes() == torn
        assert "torn last line" in again.notes()[0][1]
        finish(again, 0, 0.5)
    assert damage(check(store.paths)) == []


def test_damage_in_the_middle_of_the_log_is_named_by_its_line(store: Store) -> None:
    for _ in range(3):
        store.record(ev.Note(text="a line"))
    store.close()
    lines = store.paths.events.read_bytes().splitlines(keepends=True)
    store.paths.events.write_bytes(b"".join([*lines[:2], lines[2].replace(b"{", b"[", 1), *lines[3:]]))
    store.paths.db.unlink()
    with pytest.raises(EnvironmentProblem, match=r"events\.jsonl line 3 is damaged"):
        Store.open(store.paths)
    assert "line 3 is damaged" in check(store.paths)[0]


@pytest.mark.parametrize("change", [(b'"type":"note"', b'"type":"newer_than_this"'), (b'"text":', b'"more":1,"text":')])
def test_a_line_of_a_newer_program_is_called_so_and_never_cut_off(store: Store, change: tuple[bytes, bytes]) -> None:
    """Seen where the program was changed under a running search: as the last line it would have been taken for a torn one."""
    store.record(ev.Note(text="a line"))
    store.close()
    written = store.paths.events.read_bytes().replace(*change)
    assert change[1] in written
    store.paths.events.write_bytes(written)
    store.paths.db.unlink()
    with pytest.raises(EnvironmentProblem, match=r"line 2 was written by a newer hpc-trex"):
        Store.open(store.paths)
    assert store.paths.events.read_bytes() == written


def test_a_missing_line_is_named(store: Store) -> None:
    for _ in range(3):
        store.record(ev.Note(text="a line"))
    store.close()
    lines = store.paths.events.read_bytes().splitlines(keepends=True)
    store.paths.events.write_bytes(b"".join([*lines[:1], *lines[2:]]))
    store.paths.db.unlink()
    with pytest.raises(EnvironmentProblem, match="line 2 is damaged: event 3 stands where 2 is due"):
        Store.open(store.paths)


def test_a_log_that_lost_events_is_not_written_to(store: Store) -> None:
    add(store, None)
    finish(store, 0, 0.5)
    store.close()
    os.truncate(store.paths.events, store.paths.events.stat().st_size - 20)
    with pytest.raises(EnvironmentProblem, match=r"does not fit tree\.db"):
        Store.open(store.paths)
    assert any("shorter" in text for text in check(store.paths))


def test_a_missing_database_is_made_again(store: Store) -> None:
    done(store, None, 0.5)
    before = dump(store)
    store.close()
    store.paths.db.unlink()
    with Store.open(store.paths) as again:
        assert dump(again) == before


def test_an_empty_log_says_that_the_search_was_never_made(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").touch()
    with pytest.raises(EnvironmentProblem, match="never made"):
        Store.open(SearchPaths(tmp_path))


def test_a_file_that_is_no_database_says_how_to_make_it_again(store: Store) -> None:
    store.close()
    store.paths.db.write_bytes(b"this is not a database" * 100)
    with pytest.raises(EnvironmentProblem, match="damaged") as caught:
        Store.open(store.paths)
    assert "db rebuild" in caught.value.hint


def test_a_database_of_a_newer_program_is_refused(store: Store) -> None:
    store.db.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('hpc-trex', '0999_later', '')"
    )
    store.close()
    with pytest.raises(EnvironmentProblem, match=r"newer hpc-trex.*0999_later"):
        Store.open(store.paths)


def test_a_new_migration_is_applied_once_and_whole_or_not_at_all(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done(store, None, 0.5)
    store.close()
    folder = tmp_path / "site" / "tree" / "migrations"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HPC_TREX_SITE", str(tmp_path / "site"))
    (folder / "0002_colour.sql").write_text("ALTER TABLE nodes ADD COLUMN colour TEXT;\nSELECT * FROM nowhere;")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        Store.open(store.paths)
    (folder / "0002_colour.sql").write_text("ALTER TABLE nodes ADD COLUMN colour TEXT DEFAULT 'red';")
    for _ in range(2):
        with Store.open(store.paths) as again:
            assert again.db.conn.execute("SELECT colour FROM nodes").fetchall() == [("red",)]


def test_the_second_of_two_writers_is_stopped(store: Store) -> None:
    add(store, None)
    with Store.open(store.paths) as other:
        finish(other, 0, 0.5)
        with pytest.raises(LeaseHeld, match="another process has written"):
            store.record(ev.Note(text="I am late"))
    assert damage(check(store.paths)) == []


def test_two_writing_processes_leave_a_sound_search(store: Store) -> None:
    """Two real processes record as fast as they can; who is late is refused, and log and database stay one."""
    store.close()
    program = (
        "import sys\nfrom pathlib import Path\nfrom hpc_trex.errors import TrexError\n"
        "from hpc_trex.layout import SearchPaths\nfrom hpc_trex.tree.events import Note\n"
        "from hpc_trex.tree.store import Store\n"
        "for i in range(15):\n"
        "    try:\n"
        "        with Store.open(SearchPaths(Path(sys.argv[1]))) as s:\n"
        "            for _ in range(3): s.record(Note(text='x')); print('ok')\n"
        "    except TrexError: print('refused')\n"
    )
    root = str(store.paths.root)
    both = [subprocess.Popen([sys.executable, "-c", program, root], stdout=subprocess.PIPE) for _ in range(2)]
    written = sum(process.communicate(timeout=60)[0].count(b"ok") for process in both)
    assert [process.returncode for process in both] == [0, 0]
    with Store.open(store.paths) as again:
        assert again.last_seq() == written + 1
    assert damage(check(store.paths)) == []


def test_an_event_that_another_writer_is_about_to_commit_is_not_applied_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is opened just when the line is in the log and not yet in the database."""
    seen: list[int] = []

    def open_too() -> None:
        with Store.open(store.paths) as other:
            seen.append(other.last_seq())

    opener = threading.Thread(target=open_too)
    append = EventLog.append

    def append_and_let_another_open(log: EventLog, raw: bytes) -> None:
        append(log, raw)
        opener.start()
        time.sleep(0.3)

    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "append", append_and_let_another_open)
        store.record(ev.Note(text="once"))
    opener.join(timeout=60)
    assert seen == [2]
    assert [text for _, text, _ in store.notes()] == ["once"]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_that_the_disk_takes_only_in_part_is_cut_off_again(tmp_path: Path) -> None:
    """The file-size limit stops a write in its middle, as a full disk does."""
    log = EventLog.create(tmp_path / "events.jsonl")
    log.append(b"x" * 99 + b"\n")
    with file_size_limit(140), pytest.raises(EnvironmentProblem, match="cannot write"):
        log.append(b"y" * 99 + b"\n")
    assert log.path.read_bytes() == b"x" * 99 + b"\n"
    log.append(b"z\n")
    assert log.path.read_bytes() == b"x" * 99 + b"\nz\n"
    log.close()


def test_a_limit_that_stops_the_database_leaves_the_log_alone_and_the_search_goes_on(store: Store) -> None:
    add(store, None)
    whole = store.paths.events.read_bytes()
    with file_size_limit(len(whole) + 40), pytest.raises(EnvironmentProblem, match="cannot write"):
        store.record(ev.Note(text="x" * 200))
    assert store.paths.events.read_bytes() == whole
    finish(store, 0, 0.5)
    store.close()
    assert damage(check(store.paths)) == []


def fill(store: Store) -> None:
    while True:
        store.record(ev.Note(text="x" * 3000))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tiny file system needs root")
def test_a_disk_that_really_fills_up_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no mount here: {mounted.stderr.decode()}")
    try:
        with new_store(disk / "s") as store, pytest.raises(EnvironmentProblem, match="cannot write"):
            fill(store)
        written = SearchPaths(disk / "s").events.read_bytes().count(b"\n") - 1
        assert written > 10
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        with Store.open(SearchPaths(disk / "s")) as again:
            assert len(again.notes()) == written
            done(again, None, 0.5)
        assert damage(check(SearchPaths(disk / "s"))) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_guard_is_asked_before_every_commit(tmp_path: Path) -> None:
    class Lost:
        def check(self) -> None:
            raise LeaseHeld("taken over")

    new_store(tmp_path).close()
    with Store.open(SearchPaths(tmp_path), guard=Lost()) as store:
        with pytest.raises(LeaseHeld):
            add(store, None)
        assert store.next_node() == 0
    assert SearchPaths(tmp_path).events.read_bytes().count(b"\n") == 1


def test_a_reader_cannot_write(store: Store) -> None:
    with Store.read(store.paths) as reader:
        with pytest.raises(RuntimeError, match="for reading"):
            reader.record(ev.Note(text="no"))
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.db.conn.execute("DELETE FROM nodes")


def test_importing_the_store_loads_neither_numpy_nor_pandas_and_leaves_them_importable() -> None:
    """sqlite-utils takes them where it finds them: half a second and 60 MB on a login node."""
    program = (
        "import sys, hpc_trex.tree.store\n"
        "assert not {'numpy', 'pandas', 'torch'} & set(sys.modules), sys.modules.keys()\n"
        "import numpy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_building_a_database_is_private_until_it_is_whole(store: Store) -> None:
    store.close()
    database.build_in_place(store.paths.events, store.paths.db)
    assert sorted(path.name for path in store.paths.root.iterdir()) == ["events.jsonl", "tree.db", "tree.db.old"]
