"""``db check`` and ``db rebuild``: everything in the database follows from the log, so it can be compared or made again."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from hpc_trex.errors import EnvironmentProblem, NotFound
from hpc_trex.layout import SearchPaths
from hpc_trex.models import AttemptState, JobResult, NodeState, RoundPlan, SearchConfig, TrialPlan
from hpc_trex.tree.database import build, build_in_place, connect, last_event, migrate, replay
from hpc_trex.tree.events import Chosen, TestScored
from hpc_trex.tree.lease import Lease
from hpc_trex.tree.log import EventReader

if TYPE_CHECKING:
    from sqlite_utils import Database

TABLES = (
    "search",
    "nodes",
    "trials",
    "attempts",
    "insights",
    "notes",
    "calls",
    "gates",
    "servers",
    "verdicts",
    "repairs",
    "openings",
)
#: Columns that hold a record as JSON: compared by what they say, not by their letters.
RECORDS: dict[tuple[str, str], type[BaseModel]] = {
    ("search", "config"): SearchConfig,
    ("search", "chosen"): Chosen,
    ("search", "test"): TestScored,
    ("nodes", "plan"): RoundPlan,
    ("gates", "plan"): RoundPlan,
    ("trials", "plan"): TrialPlan,
    ("trials", "result"): JobResult,
    ("attempts", "result"): JobResult,
}
#: Differences of one table that are listed.
SHOWN = 20


def check(paths: SearchPaths) -> list[str]:
    """Return what is wrong with a search's log, database, snapshot and files, one sentence each; none is the aim.

    Nothing is changed. Raises :class:`NotFound` where there is no search.
    """
    if not paths.events.exists():
        raise NotFound(f"{paths.root} holds no search (no {paths.events.name})", hint="hpc-trex launch begins one")
    copy = _copy(paths)  # before the log is read: the database can only be behind it then, also in a running search
    try:
        truth, reader = build(paths.events, ":memory:")
    except EnvironmentProblem as error:
        return [error.message]
    problems = []
    if reader.torn:
        problems.append(
            f"{paths.events.name} line {reader.seq + 1} is torn ({len(reader.torn)} bytes); the next resume moves it aside"
        )
    problems += _sums(truth)
    problems += [copy] if isinstance(copy, str) else _compare(paths, copy, truth)
    problems += _snapshot(paths, truth)
    problems += _files(paths, truth)
    truth.close()
    return problems


def rebuild(paths: SearchPaths) -> int:
    """Make ``tree.db`` again from the log and return the number of events; the old one is kept as ``tree.db.old``.

    Raises :class:`LeaseHeld` while a controller runs the search, :class:`EnvironmentProblem` for a damaged log.
    """
    if not paths.events.exists():
        raise NotFound(f"{paths.root} holds no search (no {paths.events.name})", hint="hpc-trex launch begins one")
    with Lease(paths):
        count = build_in_place(paths.events, paths.db)
        paths.snapshot.unlink(missing_ok=True)  # of what the database was; readers use the log until the next one
    return count


def _sums(truth: Database) -> Iterator[str]:
    """Compare each node's sums with its own score and its children's sums: the arithmetic of the backing-up itself."""
    sql = "SELECT id, parent, state, score, charged, scored, score_sum, failures, pending FROM nodes ORDER BY id DESC"
    below: dict[int, list[float]] = {}
    for node, parent, state, score, charged, *sums in truth.conn.execute(sql):
        due = [float(score is not None), score or 0.0, float(charged), float(state == NodeState.PENDING)]
        due = [mine + others for mine, others in zip(due, below.pop(node, [0.0] * 4), strict=True)]
        for name, is_, should in zip(("scored", "score_sum", "failures", "pending"), sums, due, strict=True):
            if not math.isclose(is_, should, rel_tol=1e-6, abs_tol=1e-6):
                yield f"nodes {node}: {name} is {is_}, but the nodes below it add up to {should}"
        if parent is not None:
            below[parent] = [mine + others for mine, others in zip(due, below.get(parent, [0.0] * 4), strict=True)]


def _copy(paths: SearchPaths) -> Database | str:
    """Return a copy of ``tree.db`` in memory, or what is wrong with it. The live file is locked only meanwhile."""
    if not paths.db.exists():
        return f"{paths.db.name} is missing; the next resume makes it again"
    copy = connect(":memory:", private=True)
    try:
        live = sqlite3.connect(f"{paths.db.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            live.backup(copy.conn)
        finally:
            live.close()
        damage = [row[0] for row in copy.conn.execute("PRAGMA integrity_check(10)") if row[0] != "ok"]
        if damage:
            return f"{paths.db.name} is damaged ({'; '.join(damage)}); hpc-trex db rebuild makes it again"
        migrate(copy, paths.db)
    except (EnvironmentProblem, sqlite3.Error) as error:
        return f"{paths.db.name} cannot be used ({error}); hpc-trex db rebuild makes it again"
    return copy


def _compare(paths: SearchPaths, copy: Database, truth: Database) -> Iterator[str]:
    """Name what the copy lacks and, after adding that, every difference from what follows from the log."""
    seq, end = last_event(copy)
    total = last_event(truth)[0]
    if end > paths.events.stat().st_size:
        yield f"{paths.events.name} is shorter than {paths.db.name} says: event {seq} should end at byte {end}"
        return
    entries = EventReader(paths.events, offset=end, seq=seq)
    try:
        lacking = replay(copy, islice(entries, max(0, total - seq)), paths.events)
    except (EnvironmentProblem, sqlite3.Error) as error:
        yield f"{paths.db.name} cannot take the events after {seq} ({error}); hpc-trex db rebuild makes it again"
        return
    if lacking:
        yield f"{paths.db.name} lacks the last {lacking} events of the log; the next resume applies them"
    for table in TABLES:
        yield from islice(_table_differences(table, copy, truth), SHOWN)


def _table_differences(table: str, copy: Database, truth: Database) -> Iterator[str]:
    is_, should = _keyed(table, copy), _keyed(table, truth)
    for key in sorted(is_.keys() | should.keys()):
        name = f"{table} {' '.join(map(str, key))}"
        if key not in is_:
            yield f"{name} is missing from tree.db"
        elif key not in should:
            yield f"{name} is in tree.db, but no event made it"
        else:
            for column, value in should[key].items():
                if is_[key].get(column) != value and not _same_record(table, column, is_[key].get(column), value):
                    yield f"{name}: {column} is {is_[key].get(column)!r}, the log says {value!r}"


def _same_record(table: str, column: str, is_: Any, should: Any) -> bool:
    """Tell whether two texts are one record: an earlier version wrote it without the fields that came since."""
    kind = RECORDS.get((table, column))
    if kind is None or not isinstance(is_, str) or not isinstance(should, str):
        return False
    try:
        return kind.model_validate_json(is_) == kind.model_validate_json(should)
    except ValidationError:
        return False


def _keyed(table: str, database: Database) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows of a table by primary key."""
    cursor = database.conn.execute(f"SELECT * FROM {table}")  # noqa: S608 # a name from TABLES
    names = [column[0] for column in cursor.description]
    keys = database.table(table).pks
    rows = (dict(zip(names, row, strict=True)) for row in cursor)
    return {tuple(row[key] for key in keys): row for row in rows}


def _snapshot(paths: SearchPaths, truth: Database) -> list[str]:
    if not paths.snapshot.exists():
        return []
    try:
        connection = sqlite3.connect(f"{paths.snapshot.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            seq = connection.execute("SELECT last_seq FROM search").fetchone()[0]
        finally:
            connection.close()
    except (sqlite3.Error, TypeError) as error:
        return [f"snapshots/{paths.snapshot.name} cannot be read: {error}; readers use the log meanwhile"]
    if seq > last_event(truth)[0]:
        return [f"snapshots/{paths.snapshot.name} holds event {seq}, the log ends at {last_event(truth)[0]}"]
    return []


def _files(paths: SearchPaths, truth: Database) -> Iterator[str]:
    """Name the files of the search that its history needs and that are not there."""
    for path in (paths.config, paths.card):
        if not path.exists():
            yield f"{path.relative_to(paths.root)} is missing"
    sql = "SELECT node, trial, attempt, directory FROM attempts WHERE state = ? ORDER BY node, trial, attempt"
    for node, trial, attempt, directory in truth.conn.execute(sql, [AttemptState.SUCCEEDED]):
        folder = paths.root / directory
        result = paths.attempt(node, trial, attempt).result.name
        if not (folder / result).exists():
            yield f"node {node} trial {trial} attempt {attempt} succeeded, but {directory}/{result} is missing"
