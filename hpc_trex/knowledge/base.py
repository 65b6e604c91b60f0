"""The knowledge base on disk: one SQLite file of a user or a group, one writer at a time (docs/insights.md).

It is written by controllers and by ``hpc-trex insights``, never by a job. As the tree, it has a rollback journal and no
mmap, and since the locks of shared file systems cannot be trusted, writers also take a lease beside the file. Every write is one
short transaction that replaces one search, so that it can be repeated at will.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_trex.errors import EnvironmentProblem, LeaseHeld, TrexError
from hpc_trex.files import umask_of
from hpc_trex.knowledge.rows import SCHEMA, read_all, write_one
from hpc_trex.models.knowledge import Remembered
from hpc_trex.tree.database import connect
from hpc_trex.tree.lease import Lease

if TYPE_CHECKING:
    from sqlite_utils import Database

#: ``PRAGMA user_version`` of the files that this program writes.
VERSION = 1
#: How long a writer waits for its turn; a write takes milliseconds.
WAIT_SECONDS = 5.0
_PAUSE_SECONDS = 0.05
#: What a disk, its permissions or its locks can do to SQLite.
DISK_CODES = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOLFS,
)


def read_base(path: Path) -> list[Remembered]:
    """Return all searches of a base, in the order of their ends; none where there is no base.

    Raises :class:`LeaseHeld` when it stays locked, :class:`EnvironmentProblem` when it cannot be read or is newer.
    """
    if not path.is_file():
        return []
    mode = "rw" if os.access(path, os.W_OK) else "ro"  # rw: what a dead writer left half done can be rolled back
    with _readable(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=WAIT_SECONDS)
        try:
            connection.execute("PRAGMA mmap_size = 0")
            connection.execute("PRAGMA query_only = ON")
            return read_all(connection) if _version(connection, path) else []
        finally:
            connection.close()


def remember(path: Path, searches: list[Remembered], *, wait: float | None = None) -> None:
    """Put searches in, each in the place of what was known of it. Raises as :func:`read_base`."""
    with _writing(path, wait) as database:
        for search in searches:
            with database.atomic():
                write_one(database, search)


def forget(path: Path, uid: str, *, wait: float | None = None) -> bool:
    """Take one search out; tell whether it was there. Raises as :func:`read_base`."""
    if not path.is_file():
        return False
    with _writing(path, wait) as database, database.atomic():
        return database.execute("DELETE FROM searches WHERE uid = ?", [uid]).rowcount > 0


@contextlib.contextmanager
def _writing(path: Path, wait: float | None) -> Iterator[Database]:
    """Open the base for writing, alone. What is made is readable as its folder is: by its owner, or by its group."""
    wait = WAIT_SECONDS if wait is None else wait
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unwritable(path, error) from error
    before = os.umask(umask_of(path.parent))
    lease = Lease(_lease_path(path))
    try:
        _take(lease, path, wait)
        try:
            with _readable(path):
                database = connect(path, busy=wait)
                try:
                    _prepare(database, path)
                    yield database
                finally:
                    database.close()
        finally:
            lease.release()
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        os.umask(before)


def _lease_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lease")


def _take(lease: Lease, path: Path, wait: float) -> None:
    """Wait for the lease. Raises :class:`LeaseHeld` when another writer has it all the time."""
    until = time.monotonic() + wait
    while True:
        try:
            lease.acquire()
        except LeaseHeld as held:
            if time.monotonic() >= until:
                raise _locked(path, str(held.message)) from held
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _prepare(database: Database, path: Path) -> None:
    """Make the tables of a new base."""
    if not _version(database.conn, path):
        with database.atomic():
            for statement in SCHEMA:
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {VERSION}")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the file, 0 of an empty one. Raises :class:`EnvironmentProblem` for a newer one."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise EnvironmentProblem(
            f"{path} was made by a newer hpc-trex", hint="use the newer program (pip install --upgrade hpc-trex)"
        )
    if not version and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise EnvironmentProblem(
            f"{path} is a database of another kind", hint="HPC_TREX_KNOWLEDGE must name a file of its own"
        )
    return version


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what a user can mend into errors that say so; bugs pass through."""
    try:
        yield
    except ValueError as error:  # a record that does not fit, or JSON that is none
        raise _damaged(path, str(error).partition("\n")[0]) from error
    except sqlite3.DatabaseError as error:
        problem = _problem(error, path)
        if problem is None:
            raise
        raise problem from error


def _problem(error: sqlite3.Error, path: Path) -> TrexError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return _locked(path, str(error))
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(path, str(error))
    if code in DISK_CODES:
        return _unwritable(path, error)
    return None


def _locked(path: Path, why: str) -> LeaseHeld:
    return LeaseHeld(
        f"the knowledge base {path} is locked by another writer: {why}",
        hint="try again in a minute; a lease that nobody holds any more is taken over after ten minutes",
    )


def _damaged(path: Path, why: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the knowledge base {path} is damaged: {why}",
        hint="move it away and make it again: hpc-trex insights --import SEARCH...",
    )


def _unwritable(path: Path, error: Exception) -> EnvironmentProblem:
    mode = stat.filemode(path.stat().st_mode) if path.exists() else "not there"
    return EnvironmentProblem(
        f"the knowledge base {path} ({mode}) cannot be opened: {error}",
        hint="HPC_TREX_KNOWLEDGE names another file, or off",
    )
