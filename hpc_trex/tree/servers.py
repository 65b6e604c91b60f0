"""Jobs that serve the agents' language model, in the database: what their events do to it, and what can be asked.

Such a job belongs to no round. What it may use is reserved until it ends; what it used counts for the search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpc_trex.models import ServerView
from hpc_trex.tree.events import EventLine, ServerEnded, ServerIntended, ServerQueued

if TYPE_CHECKING:
    from sqlite_utils import Database

    from hpc_trex.tree.reads import TreeReads

ServerEvent = ServerIntended | ServerQueued | ServerEnded
_FIELDS = ", ".join(ServerView.model_fields)


# --- events -----------------------------------------------------------------------------------------------------------


def apply_server(event: ServerEvent, db: Database, line: EventLine) -> None:
    """Change the database as the event says."""
    if isinstance(event, ServerIntended):
        _intend(db, event, line)
    elif isinstance(event, ServerQueued):
        _queue(db, event)
    else:
        _end(db, event, line)


def _intend(db: Database, event: ServerIntended, line: EventLine) -> None:
    """Note that a server is about to be submitted. Raises ``ValueError`` while another lives, and out of its order."""
    last, live = db.execute("SELECT coalesce(max(number), 0), total(state != 'ended') FROM servers").fetchone()
    if live or event.number != last + 1:
        raise ValueError(f"server {event.number} cannot follow server {last}" + (", which lives" if live else ""))
    db.execute(
        "INSERT INTO servers (number, token, gpus, cpus, minutes, directory, user, account, intended_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            event.number,
            event.token,
            event.gpus,
            event.cpus,
            event.minutes,
            event.directory,
            event.user,
            event.account,
            line.time,
        ],
    )


def _queue(db: Database, event: ServerQueued) -> None:
    """Note that the scheduler has the job."""
    sql = "UPDATE servers SET state = 'queued', job_id = ? WHERE token = ? AND state != 'ended'"
    if db.execute(sql, [event.job_id, event.token]).rowcount != 1:
        raise ValueError(f"there is no live server {event.token} to be queued")


def _end(db: Database, event: ServerEnded, line: EventLine) -> None:
    """Note that the job is over, and add what it used to the search's sums."""
    row = db.execute("SELECT gpus FROM servers WHERE token = ? AND state != 'ended'", [event.token]).fetchone()
    if row is None:
        raise ValueError(f"there is no live server {event.token} to end")
    db.execute(
        "UPDATE servers SET state = 'ended', seconds = ?, cpu_seconds = ?, message = ?, ended_at = ? WHERE token = ?",
        [event.seconds, event.cpu_seconds, event.message, line.time, event.token],
    )
    db.execute(
        "UPDATE search SET gpu_seconds = gpu_seconds + ?, cpu_seconds = cpu_seconds + ?",
        [row[0] * event.seconds, event.cpu_seconds],
    )


# --- questions --------------------------------------------------------------------------------------------------------


def last_server(tree: TreeReads) -> ServerView | None:
    """Return the newest server's job; None where there was none."""
    cursor = tree.db.conn.execute(f"SELECT {_FIELDS} FROM servers ORDER BY number DESC LIMIT 1")  # noqa: S608
    row = cursor.fetchone()
    names = [column[0] for column in cursor.description]
    return None if row is None else ServerView.model_validate(dict(zip(names, row, strict=True)))


def live_server(tree: TreeReads) -> ServerView | None:
    """Return the server's job that may still wait or run."""
    last = last_server(tree)
    return None if last is None or last.state == "ended" else last
