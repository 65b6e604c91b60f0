"""Openings of the sealed test: their event, what it does to the database, and what can be asked about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hpc_trex.models import JobKind, OneLine, Record
from hpc_trex.models.review import OpeningView

if TYPE_CHECKING:
    from sqlite_utils import Database

    from hpc_trex.tree.reads import TreeReads


class TestOpened(Record):
    """A job is about to be let at the sealed test. Its first attempt makes the trial; ``again``: a person asked for it."""

    __test__ = False  # no test of pytest's

    type: Literal["test_opened"] = "test_opened"
    node: int
    trial: int
    attempt: int = 1
    again: bool = False
    why: OneLine
    user: OneLine = ""
    host: OneLine = ""
    seed: int = 0


def note_opening(db: Database, event: TestOpened, time: str) -> None:
    """Note an opening, with its trial where it is the first attempt. Raises ``ValueError`` for one that does not fit."""
    key = [event.node, event.trial]
    if event.attempt == 1:
        last = db.execute("SELECT max(trial) FROM trials WHERE node = ?", [event.node]).fetchone()[0]
        if last is None or event.trial != last + 1:
            raise ValueError(f"trial {event.trial} of node {event.node} cannot follow {last}")
        db.execute(
            "INSERT INTO trials (node, trial, kind, seed, added_at) VALUES (?, ?, ?, ?, ?)",
            [*key, JobKind.TEST, event.seed, time],
        )
    elif not db.execute("SELECT 1 FROM trials WHERE node = ? AND trial = ? AND kind = 'test'", key).fetchone():
        raise ValueError(f"node {event.node} has no trial {event.trial} of the sealed test")
    db.execute(
        "INSERT INTO openings (node, trial, attempt, again, why, user, host, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [*key, event.attempt, event.again, event.why, event.user, event.host, time],
    )


#: Jobs at the test that an earlier version started: they opened it all the same.
_BEFORE = """SELECT node, trial, attempt, 0 AS again, 'the final evaluation, by a version that kept no record' AS why, user, '' AS host,
    intended_at AS time FROM attempts WHERE kind = 'test' AND NOT EXISTS (SELECT 1 FROM openings WHERE
    openings.node = attempts.node AND openings.trial = attempts.trial AND openings.attempt = attempts.attempt) ORDER BY intended_at"""


def openings(tree: TreeReads) -> list[OpeningView]:
    """Return every opening of the sealed test, oldest first."""
    rows = [*tree._rows(_BEFORE), *tree._rows("SELECT * FROM openings ORDER BY id")]
    return [OpeningView.model_validate({name: row[name] for name in OpeningView.model_fields}) for row in rows]
