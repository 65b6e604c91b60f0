"""The library's file: one SQLite database with a full-text index, that can be copied, shared read-only and merged."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from hpc_trex.absent import absent
from hpc_trex.errors import EnvironmentProblem, NotFound, UsageProblem

with absent("numpy", "pandas"):  # as in hpc_trex/tree/database.py
    from sqlite_utils import Database

#: ``PRAGMA application_id`` of a library ("TRLB") and the version of its tables.
APPLICATION, VERSION = 0x54524C42, 1
BUSY_SECONDS = 30.0
SCHEMA = """
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,      -- the index refers to it
    digest TEXT NOT NULL UNIQUE, -- SHA-256 of the text
    name TEXT NOT NULL,
    origin TEXT NOT NULL,        -- tells the file on the machine that read it; empty: from another library
    kind TEXT NOT NULL,          -- paper, note, card
    title TEXT NOT NULL,
    licence TEXT NOT NULL,
    url TEXT NOT NULL,
    year INTEGER,
    added TEXT NOT NULL,         -- date
    text TEXT NOT NULL
)"""
INDEX = "documents_fts"


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Database]:
    """Open a library that is not written, also one on a read-only disk.

    Raises :class:`NotFound`, :class:`UsageProblem` for a file that is none, :class:`EnvironmentProblem`.
    """
    if not path.is_file() or not path.stat().st_size:  # empty: its first transaction was broken off
        raise NotFound(f"there is no library at {path}", hint="hpc-trex library add FOLDER")
    with _told(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        try:
            # A file of a stranger: nothing in its schema is run, and no view stands for the table.
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA mmap_size = 0")
            database = Database(connection, execute_plugins=False)
            _check(database, path)
            yield database
        finally:
            connection.close()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Database]:
    """Open a library for one transaction, making it where there is none. Nothing is kept of one that is left by an error."""
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # SQLite's own mode would shut out a group that the umask lets in
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
        connection = sqlite3.connect(str(path), timeout=BUSY_SECONDS)
        try:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA mmap_size = 0")
            database = Database(connection, execute_plugins=False)
            # At once for writing: two that begin by reading would each wait for the other.
            connection.execute("BEGIN IMMEDIATE")
            with connection:  # commits, or rolls back
                if not database.table_names():
                    _make(database)
                _check(database, path)
                yield database
        finally:
            connection.close()


def _make(database: Database) -> None:
    database.execute(SCHEMA)
    database.execute(f"PRAGMA application_id = {APPLICATION}")
    database.execute(f"PRAGMA user_version = {VERSION}")
    # SQLite before 3.34 has no trigrams; then all is found by reading.
    with contextlib.suppress(sqlite3.OperationalError):
        database.execute(
            f"CREATE VIRTUAL TABLE {INDEX} USING fts5 (title, text, content=documents, content_rowid=id, tokenize='trigram')"
        )
        for when, body in (
            ("INSERT", _index_new()),
            ("DELETE", _index_old()),
            ("UPDATE", f"{_index_old()} {_index_new()}"),
        ):
            database.execute(f"CREATE TRIGGER documents_{when.lower()} AFTER {when} ON documents BEGIN {body} END")


def _index_new() -> str:
    return f"INSERT INTO {INDEX} (rowid, title, text) VALUES (new.id, new.title, new.text);"  # noqa: S608 - constants


def _index_old() -> str:
    return (
        f"INSERT INTO {INDEX} ({INDEX}, rowid, title, text) "  # noqa: S608 - constants
        "VALUES ('delete', old.id, old.title, old.text);"
    )


def _check(database: Database, path: Path) -> None:
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION or "documents" not in database.table_names():
        raise UsageProblem(f"{path} is no library of hpc-trex", hint="correct HPC_TREX_LIBRARY, or give another file")
    if version > VERSION:
        raise EnvironmentProblem(
            f"{path} was made by a newer hpc-trex (tables {version}, known {VERSION})", hint="install a newer hpc-trex"
        )


def is_sqlite(path: Path) -> bool:
    """Tell whether a file begins as SQLite's do."""
    try:
        with path.open("rb") as handle:
            return handle.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def has_index(database: Database) -> bool:
    """Tell whether the full-text index is there and this SQLite can use it."""
    try:
        database.execute(f"SELECT rowid FROM {INDEX} WHERE {INDEX} MATCH 'abc' LIMIT 1").fetchone()  # noqa: S608 - constants
    except sqlite3.OperationalError:
        return False
    return True


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk raise into the user's errors."""
    try:
        yield
    except sqlite3.OperationalError as error:
        words = str(error)
        hint = "another process writes it: try again" if "locked" in words else "is the disk full, or read-only? df -h"
        raise EnvironmentProblem(f"library {path}: {words}", hint=hint) from error
    except sqlite3.DatabaseError as error:
        raise UsageProblem(f"library {path}: {error}", hint="take a copy that is whole, or make it anew") from error
    except PermissionError as error:
        raise EnvironmentProblem(
            f"library {path}: {error.strerror}", hint="ask its owner, or set HPC_TREX_LIBRARY to a file of your own"
        ) from error
    except OSError as error:
        raise EnvironmentProblem(f"library {path}: {error.strerror}", hint="df -h") from error
