"""Publish what readers open: ``snapshots/current.db``, a whole copy made by SQLite's backup, renamed into place.

Readers bring their copy up to date from the log (:meth:`hpc_trex.tree.store.Store.read`), so a snapshot may be old without
anybody seeing old figures: it only saves them the work. That is why it may be rare, and its cost a small share.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from hpc_trex.faults import reach
from hpc_trex.files import sync_folder, temporary_name
from hpc_trex.tree.database import flush, make_as_umask_says, readable
from hpc_trex.tree.store import Published

if TYPE_CHECKING:
    from pathlib import Path

    from hpc_trex.tree.store import Store

#: The next snapshot waits so many times as long as the last one took, so that snapshots take at most a twentieth.
PAUSE_FACTOR = 20.0
MIN_PAUSE_SECONDS = 0.5


def publish(store: Store, *, force: bool = False) -> bool:
    """Publish the tree as it is, unless nothing has changed or the last snapshot is too recent; tell whether it was done.

    ``force`` does not wait. Raises :class:`EnvironmentProblem` when the disk refuses; the old snapshot then still stands.
    """
    last, begun = store.published, time.monotonic()
    if not force and begun < last.ended + max(MIN_PAUSE_SECONDS, PAUSE_FACTOR * last.seconds):
        return False
    seq, path = store.last_seq(), store.paths.snapshot
    if seq in (last.seq, _published_seq(path)):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        with readable(path):
            _copy(store, temporary)
        flush(temporary)
        reach("snapshot/before", str(seq))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    reach("snapshot/after", str(seq))
    sync_folder(path.parent)
    ended = time.monotonic()
    store.published = Published(seq=seq, seconds=ended - begun, ended=ended)
    return True


def _copy(store: Store, target: Path) -> None:
    make_as_umask_says(target)
    connection = sqlite3.connect(target)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")  # flushed once, at the end
        store.db.conn.backup(connection)
    finally:
        connection.close()


def _published_seq(path: Path) -> int | None:
    """Return the last event of the published snapshot; None when there is none that can be read."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error:
        return None
    try:
        return int(connection.execute("SELECT last_seq FROM search").fetchone()[0])
    except (sqlite3.Error, TypeError):
        return None
    finally:
        connection.close()
