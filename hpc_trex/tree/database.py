"""How ``tree.db`` is opened, migrated and built from the log.

SQLite on a shared file system (DESIGN section 5): rollback journal, no mmap, full synchronisation, one writer.
Migrations are the numbered SQL files of ``tree/migrations/``; each is applied once, in one transaction with the record
that it ran (sqlite-utils' own mechanism), and never edited afterwards.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from hpc_trex.absent import absent
from hpc_trex.errors import EnvironmentProblem, LeaseHeld, TrexError
from hpc_trex.faults import reach
from hpc_trex.files import sync_folder, temporary_name
from hpc_trex.site import site_files
from hpc_trex.tree.apply import apply_event, mark
from hpc_trex.tree.log import Entry, EventReader

# sqlite-utils imports numpy and pandas where they are installed, only to name column types that we never use. That is
# half a second and 60 MB of a login node's memory (DESIGN section 10).
with absent("numpy", "pandas"):
    from sqlite_utils import Database, Migrations

BUSY_SECONDS = 30.0
MIGRATION_SET = "hpc-trex"


def connect(path: Path | str, *, private: bool = False, busy: float = BUSY_SECONDS) -> Database:
    """Open a database file. ``private``: nobody else knows it and it may be lost, so nothing is synchronised; ``busy``: how
    many seconds to wait for a lock.
    """
    make_as_umask_says(path)
    connection = sqlite3.connect(str(path), timeout=busy)
    database = Database(connection, execute_plugins=False)
    connection.execute(f"PRAGMA journal_mode = {'MEMORY' if private else 'DELETE'}")
    connection.execute("PRAGMA mmap_size = 0")
    connection.execute(f"PRAGMA synchronous = {'OFF' if private else 'FULL'}")
    connection.execute("PRAGMA foreign_keys = ON")
    return database


def make_as_umask_says(path: Path | str) -> None:
    """Make an empty file for SQLite, which would make one that a group that shares the search could not write."""
    if str(path) != ":memory:":
        with contextlib.suppress(OSError):  # there already, or what SQLite itself says better
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))


def migrations() -> Migrations:
    """Return the migrations of ``tree/migrations/`` in order of their numbers."""
    steps = Migrations(MIGRATION_SET)
    for name, path in sorted(site_files("tree", "migrations/*.sql").items()):

        def step(database: Database, /, sql: str = path.read_text(encoding="utf-8")) -> None:
            database.executescript(sql)

        steps(name=name)(step)
    return steps


def migrate(database: Database, path: Path) -> None:
    """Bring a database up to date. Raises :class:`EnvironmentProblem` for one that is newer than this program."""
    steps = migrations()
    pending = {step.name for step in steps.pending(database)}
    known = {path.stem for path in site_files("tree", "migrations/*.sql").values()}
    unknown = sorted(step.name for step in steps.applied(database) if step.name not in known)
    if unknown:
        raise EnvironmentProblem(
            f"{path} was made by a newer hpc-trex: it has migration {', '.join(unknown)}, which this one does not know",
            hint="use the newer program (pip install --upgrade hpc-trex)",
        )
    if pending:
        steps.apply(database)


def last_event(database: Database) -> tuple[int, int]:
    """Return the number of the last event that the database holds, and where it ends in the log."""
    row = database.conn.execute("SELECT last_seq, log_bytes FROM search").fetchone()
    return (row[0], row[1]) if row else (0, 0)


def replay(database: Database, entries: Iterable[Entry], path: Path) -> int:
    """Apply events from the log in one transaction; return how many there were.

    Raises :class:`EnvironmentProblem` naming the line of an event that does not fit the tree.
    """
    count, entry = 0, None
    with database.atomic():
        for entry in entries:
            try:
                apply_event(entry.line.event, database, entry.line)
            except (ValueError, sqlite3.IntegrityError) as error:
                raise EnvironmentProblem(
                    f"{path} line {entry.line.seq}: the event does not fit the tree: {error}",
                    hint="restore the file from a backup; hpc-trex db check lists what disagrees",
                ) from error
            count += 1
        if entry is not None:
            mark(database, entry.line, entry.end)
    return count


def build(events: Path, target: Path | str) -> tuple[Database, EventReader]:
    """Make a new private database from a whole log; a torn last line is left out."""
    database = connect(target, private=True)
    migrate(database, Path(target))
    reader = EventReader(events)
    if not replay(database, reader, events):
        raise EnvironmentProblem(
            f"{events} holds no event: the search was never made", hint=f"remove {events.parent} and launch it again"
        )
    return database, reader


def build_in_place(events: Path, path: Path) -> int:
    """Make ``tree.db`` from the log, whole or not at all (temp name, fsync, rename); return the number of events.

    A database that was there is kept beside it as ``tree.db.old``.
    """
    temporary = temporary_name(path)
    try:
        with readable(path):
            database, reader = build(events, temporary)
            database.close()
        flush(temporary)
        reach("database/before", path)
        _set_aside(path)
        reach("database/aside", path)
        temporary.replace(path)
        reach("database/after", path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return reader.seq


def _set_aside(path: Path) -> None:
    """Move a database and its rollback journal away together.

    A journal that a crash left behind belongs to the old file: beside a new one of the same name, SQLite would roll the
    old pages back into it.
    """
    for ending in ("", "-journal"):
        aside = path.with_name(f"{path.name}.old{ending}")
        aside.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.with_name(f"{path.name}{ending}").rename(aside)


def flush(path: Path) -> None:
    """Force a file's contents to the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn SQLite's errors that a user can mend into such errors; bugs (bad SQL, bad values) pass through."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        problem = _problem(error, path)
        if problem is None:
            raise
        raise problem from error


def _problem(error: sqlite3.Error, path: Path) -> TrexError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LeaseHeld(
            f"{path} is locked by another process: {error}",
            hint="one controller at a time: end the other one, then: hpc-trex resume",
        )
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return EnvironmentProblem(
            f"cannot write {path}: {error}", hint="make room (df -h, quota -s), then: hpc-trex resume"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return EnvironmentProblem(f"{path} is damaged: {error}", hint="make it again from the log: hpc-trex db rebuild")
    return None
