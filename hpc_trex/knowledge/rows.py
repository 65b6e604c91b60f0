"""The two tables of the knowledge base, and how a search becomes rows and back."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from hpc_trex.models.knowledge import Finding, Remembered

if TYPE_CHECKING:
    from sqlite_utils import Database

#: Columns are named as the fields of the records, so that any SQLite tool can ask.
SCHEMA = (
    """CREATE TABLE searches (
        uid TEXT PRIMARY KEY, name TEXT NOT NULL, directory TEXT NOT NULL, ended TEXT NOT NULL,
        task TEXT NOT NULL, task_digest TEXT NOT NULL, metric TEXT NOT NULL, tags TEXT NOT NULL, -- JSON list
        model TEXT NOT NULL, model_digest TEXT NOT NULL, size TEXT NOT NULL,
        profile TEXT NOT NULL, researcher TEXT NOT NULL, policy TEXT NOT NULL,
        baseline REAL, best REAL, test_gain REAL, noise REAL)""",
    """CREATE TABLE findings (
        uid TEXT NOT NULL REFERENCES searches (uid) ON DELETE CASCADE, number INTEGER NOT NULL,
        move TEXT NOT NULL, verdict TEXT NOT NULL, effect REAL, in_noise REAL, share REAL,
        pairs INTEGER NOT NULL, failed INTEGER NOT NULL, nodes TEXT NOT NULL, -- JSON list
        text TEXT NOT NULL, PRIMARY KEY (uid, number))""",
    "CREATE INDEX findings_move ON findings (move)",
)


def write_one(database: Database, search: Remembered) -> None:
    """Put one search in the place of what was known of it; the caller's transaction holds."""
    database.execute("DELETE FROM searches WHERE uid = ?", [search.uid])
    body = search.model_dump(mode="json", exclude={"findings"})
    database.table("searches").insert(body | {"tags": json.dumps(body["tags"])})
    findings = [
        {"uid": search.uid, "number": number}
        | finding.model_dump(mode="json")
        | {"nodes": json.dumps(list(finding.nodes))}
        for number, finding in enumerate(search.findings)
    ]
    if findings:
        database.table("findings").insert_all(findings)


def read_all(connection: sqlite3.Connection) -> list[Remembered]:
    """Return all searches with their findings, in the order of their ends."""
    found: dict[str, list[Finding]] = defaultdict(list)
    connection.execute("BEGIN")  # both tables as of one moment
    for row in _rows(connection, "SELECT * FROM findings ORDER BY uid, number"):
        uid = row.pop("uid")
        del row["number"]
        found[uid].append(Finding(**row | {"nodes": tuple(json.loads(row["nodes"]))}))
    rows = _rows(connection, "SELECT * FROM searches ORDER BY ended, uid")
    connection.rollback()
    return [
        Remembered(**row | {"tags": tuple(json.loads(row["tags"])), "findings": tuple(found[row["uid"]])})
        for row in rows
    ]


def _rows(connection: sqlite3.Connection, sql: str) -> list[dict[str, Any]]:
    cursor = connection.execute(sql)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
