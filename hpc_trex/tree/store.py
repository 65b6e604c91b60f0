"""The tree of one search: the log is the truth, the database answers questions (DESIGN section 5).

There is one writer, the holder of the lease. ``record`` is the only way to change anything: it applies the event in a
transaction, appends it to the log, flushes that, and only then commits. So a crash can leave the log one event ahead of
the database, never behind; the next ``open`` applies what is missing. Readers never open the live file: they copy the
published snapshot to a place of their own and apply the events that came after it.
"""

from __future__ import annotations

import datetime
import math
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from hpc_trex.errors import EnvironmentProblem, LeaseHeld, NotFound
from hpc_trex.faults import reach
from hpc_trex.files import DISK_ERRORS, disk_problem
from hpc_trex.layout import SearchPaths
from hpc_trex.tree.apply import apply_event, mark
from hpc_trex.tree.database import (
    build,
    build_in_place,
    connect,
    last_event,
    migrate,
    readable,
    replay,
)
from hpc_trex.tree.events import (
    Event,
    EventLine,
    NodeAdded,
    NodeEnded,
    NodeReopened,
    NodeRescored,
    Note,
    SearchCreated,
)
from hpc_trex.tree.log import EventLog, EventReader, encode, line_before
from hpc_trex.tree.reads import TreeReads
from hpc_trex.tree.review_events import NodeRestored, NodeStruck
from hpc_trex.tree.standing import Standing
from hpc_trex.tree.views import Views

if TYPE_CHECKING:
    from sqlite_utils import Database


#: Events that change the sums of their round, and so those of its ancestors.
MOVES_SUMS = (NodeAdded, NodeEnded, NodeReopened, NodeRescored, NodeRestored, NodeStruck)


class Guard(Protocol):
    """Whatever can say that this process may still write: the lease."""

    def check(self) -> None:
        """Raise :class:`LeaseHeld` when the search belongs to somebody else by now."""
        ...


class Published(NamedTuple):
    """The last snapshot of this process (:mod:`hpc_trex.tree.snapshot`)."""

    seq: int = 0
    seconds: float = 0.0
    """What it took."""
    ended: float = -math.inf
    """On the monotonic clock."""


class Store(TreeReads):
    """One search's tree. Made by :meth:`create`, :meth:`open` (both write) or :meth:`read`."""

    def __init__(self, paths: SearchPaths, database: Database, log: EventLog | None, guard: Guard | None) -> None:
        self.paths = paths
        self.root = paths.root
        self.db = database
        self._log = log
        self._guard = guard
        self._behind = False
        self._standing = Standing(database)
        self._views = Views()
        self.published = Published()
        self._seq = last_event(database)[0]

    @classmethod
    def create(cls, paths: SearchPaths, created: SearchCreated, *, guard: Guard | None = None) -> Store:
        """Begin a search in an existing folder. Raises :class:`UsageProblem` when there is one in it already."""
        log = EventLog.create(paths.events)
        try:
            reach("event/before", created)
            log.append(encode(EventLine(seq=1, time=_now(), event=created)))
            reach("event/logged", created)
        except BaseException:
            paths.events.unlink()
            raise
        finally:
            log.close()
        return cls.open(paths, guard=guard)

    @classmethod
    def open(cls, paths: SearchPaths, *, guard: Guard | None = None) -> Store:
        """Open a search for writing; ``guard`` is asked before each commit.

        Events that a crash kept out of the database are applied, a missing database is made again, a torn last
        line is moved aside with a note. Raises :class:`NotFound` for no search, :class:`EnvironmentProblem` for a
        damaged or too new one.
        """
        _must_exist(paths)
        if not paths.db.exists():
            build_in_place(paths.events, paths.db)
        with readable(paths.db):
            database = connect(paths.db)
            log = None
            try:
                migrate(database, paths.db)
                _must_match(database, paths.events)
                log = EventLog.open(paths.events)
                store = cls(paths, database, log, guard)
                store._catch_up()
            except BaseException:
                database.close()
                if log is not None:
                    log.close()
                raise
        return store

    @classmethod
    def read(cls, paths: SearchPaths) -> Store:
        """Open a search for reading: a private copy of the snapshot, brought up to date from the log.

        Without a usable snapshot the copy is made from the log alone. It is as fresh as the log was when it was opened.
        """
        _must_exist(paths)
        descriptor, name = tempfile.mkstemp(prefix="hpc-trex-", suffix=".db")
        os.close(descriptor)
        copy = Path(name)
        try:
            database = _copy_of_snapshot(paths, copy)
            if database is None:
                copy.unlink()
                database, _ = build(paths.events, copy)
            database.execute("PRAGMA query_only = ON")
        finally:
            copy.unlink(missing_ok=True)  # the open file outlives its name: however the reader ends, nothing is left
        return cls(paths, database, None, None)

    def record(self, event: Event) -> int:
        """Write one event to the log and into the database; return its number.

        Raises ``ValueError`` for an event that does not fit the tree (nothing is written), :class:`EnvironmentProblem`
        when the disk refuses, :class:`LeaseHeld` when this process is no longer the one that may write.
        """
        if self._log is None:
            raise RuntimeError("this store was opened for reading")
        if self._behind:
            self._catch_up()
        line = EventLine(seq=self._seq + 1, time=_now(), event=event)
        raw = encode(line)
        before = self._log.size
        reach("event/before", event)
        try:
            with readable(self.paths.db), self.db.atomic():
                self._reserve()
                apply_event(event, self.db, line)
                mark(self.db, line, before + len(raw))
                if self._guard is not None:
                    self._guard.check()
                self._log.append(raw)
                reach("event/logged", event)
        except sqlite3.IntegrityError as error:
            raise ValueError(f"the event does not fit the tree: {error}: {event!r}") from error
        except BaseException:
            self._behind = self._log.size != before  # the log is the truth: the next call applies what it holds
            raise
        self._seq = line.seq
        self._note_change(event)
        reach("event/after", event)
        return line.seq

    def close(self) -> None:
        """Close database and log."""
        self.db.close()
        if self._log is not None:
            self._log.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reserve(self) -> None:
        """Take the database's write lock and make sure that nobody else has written since we last did."""
        claim = "UPDATE search SET last_seq = last_seq WHERE last_seq = ?"
        if self.db.execute(claim, [self._seq]).rowcount != 1:
            raise LeaseHeld(
                f"another process has written to {self.paths.db}",
                hint="one controller at a time: end the other one, then: hpc-trex resume",
            )

    def _note_change(self, event: Event) -> None:
        if isinstance(event, MOVES_SUMS):
            self._standing.changed(event.node)
        self._views.note(event, self)

    def _catch_up(self) -> None:
        """Apply the events that the log has and the database lacks; move a torn last line aside."""
        assert self._log is not None
        self._standing.forget()
        self._views.forget()
        self._seq, end = last_event(self.db)
        if self.paths.events.stat().st_size == end:
            self._behind = False
            return
        aside = None
        with self.db.atomic():
            # The write lock first: what looks torn or missing may be what another writer is about to finish.
            self.db.execute("UPDATE search SET last_seq = last_seq")
            seq, end = last_event(self.db)
            reader = EventReader(self.paths.events, offset=end, seq=seq)
            replay(self.db, reader, self.paths.events)
            self._log.size = reader.end
            reach("replay/before")
            if reader.torn:
                aside = self._log.cut(reader.end, reader.torn)
        reach("replay/after")
        self._seq = reader.seq
        self._behind = False
        if aside is not None:
            self.record(Note(text=f"a torn last line of {len(reader.torn)} bytes was moved to {aside.name}"))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _must_exist(paths: SearchPaths) -> None:
    if not paths.events.exists():
        raise NotFound(f"{paths.root} holds no search (no {paths.events.name})", hint="hpc-trex launch begins one")


def _must_match(database: Database, events: Path) -> None:
    """Make sure that the database's last event ends in the log where the database says."""
    seq, end = last_event(database)
    found = _event_at(events, end)
    if found != seq:
        raise EnvironmentProblem(
            f"{events} does not fit tree.db: event {seq} should end at byte {end}, where there is {found or 'none'}",
            hint="restore the log from a backup; or accept what it holds: hpc-trex db rebuild",
        )


def _event_at(events: Path, end: int) -> int | None:
    """Return the number of the event whose line ends at byte ``end`` of the log; None when none does."""
    try:
        return line_before(events, end).seq
    except ValueError:
        return None


def _copy_of_snapshot(paths: SearchPaths, copy: Path) -> Database | None:
    """Return an up-to-date private copy of the snapshot; None when there is none that can be used."""
    try:
        shutil.copyfile(paths.snapshot, copy)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise disk_problem(error, copy) from error
        return None  # a stale handle: the snapshot was replaced while it was read over the network
    try:
        database = connect(copy, private=True)
        migrate(database, paths.snapshot)
        seq, end = last_event(database)
        if _event_at(paths.events, end) != seq:
            return None  # of another log: somebody restored or rebuilt the search
        replay(database, EventReader(paths.events, offset=end, seq=seq), paths.events)
    except sqlite3.DatabaseError:
        return None  # not a whole database: the log has everything
    return database
