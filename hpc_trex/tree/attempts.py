"""What the events of a job do to the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpc_trex.models import JobKind
from hpc_trex.tree.rows import change_one, result_json

if TYPE_CHECKING:
    from sqlite_utils import Database

    from hpc_trex.tree import events as ev


def attempt_intended(db: Database, event: ev.AttemptIntended, line: ev.EventLine) -> None:
    """Add the next job of a trial, or of a preparation. Raises ``ValueError`` where none may follow."""
    key = [event.node, event.trial]
    last = db.execute("SELECT max(attempt) FROM attempts WHERE node = ? AND trial = ?", key).fetchone()[0] or 0
    if event.attempt != last + 1:
        raise ValueError(f"attempt {event.attempt} of node {event.node} trial {event.trial} cannot follow {last}")
    db.execute(
        "INSERT INTO attempts (node, trial, attempt, kind, token, gpus, cpus, minutes, micro_batch_size, user, account,"
        " directory, intended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            *key,
            event.attempt,
            event.kind,
            event.token,
            event.gpus,
            event.cpus,
            event.minutes,
            event.micro_batch_size,
            event.user,
            event.account,
            event.directory,
            line.time,
        ],
    )
    if event.trial:
        change_one(
            db,
            "UPDATE trials SET state = 'active', micro_batch_size = coalesce(?, micro_batch_size)"
            " WHERE node = ? AND trial = ? AND state IN ('planned', 'active')",
            [event.micro_batch_size, *key],
            f"node {event.node} trial {event.trial} is not there, or is over: no attempt of it can follow",
        )


def attempt_queued(db: Database, event: ev.AttemptQueued, line: ev.EventLine) -> None:
    """Note the number that the scheduler has given a job. Raises ``ValueError`` for one that is over."""
    change_one(
        db,
        "UPDATE attempts SET state = 'queued', job_id = ?, queued_at = ?, host = ''"
        " WHERE token = ? AND state IN ('intent', 'queued', 'running')",
        [event.job_id, line.time, event.token],
        f"there is no live attempt {event.token} to be queued",
    )


def attempt_running(db: Database, event: ev.AttemptRunning, line: ev.EventLine) -> None:
    """Note that a job was seen running, and where. Raises ``ValueError`` for one that is over."""
    change_one(
        db,
        "UPDATE attempts SET state = 'running', host = ?, running_at = ?"
        " WHERE token = ? AND state IN ('intent', 'queued', 'running')",
        [event.host, line.time, event.token],
        f"there is no live attempt {event.token} to be running",
    )


def attempt_ended(db: Database, event: ev.AttemptEnded, line: ev.EventLine) -> None:
    """End a job and charge what it used to its round and to the search. Raises ``ValueError`` for one that is over."""
    live = "SELECT node, kind, gpus FROM attempts WHERE token = ? AND state IN ('intent', 'queued', 'running')"
    row = db.execute(live, [event.token]).fetchone()
    if row is None:
        raise ValueError(f"there is no live attempt {event.token} to end")
    node, kind, gpus = row
    gpus = event.gpus or gpus  # a job that left no result still held the GPUs that it asked for
    preparation = kind in (JobKind.PREPARE, JobKind.BASE)
    db.execute(
        "UPDATE attempts SET state = ?, failure = ?, message = ?, host = coalesce(?, host), seconds = ?,"
        " cpu_seconds = ?, gpus = ?, progress_step = ?, result = ?, ended_at = ? WHERE token = ?",
        [
            "succeeded" if event.succeeded else "failed",
            event.failure,
            event.message,
            (event.result.host or None) if event.result else None,
            event.seconds,
            event.cpu_seconds,
            gpus,
            event.progress_step,
            result_json(event.result) if preparation else None,
            line.time,
            event.token,
        ],
    )
    used = [gpus * event.seconds, event.cpu_seconds]
    for where, key in (("nodes", node), ("search", 1)):
        db.execute(
            f"UPDATE {where} SET gpu_seconds = gpu_seconds + ?, cpu_seconds = cpu_seconds + ? WHERE id = ?",  # noqa: S608
            [*used, key],
        )
