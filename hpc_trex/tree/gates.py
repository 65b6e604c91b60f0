"""Gates in the database: what their events do to it, and what can be asked about them. At most one waits at a time."""

from __future__ import annotations

import datetime
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from hpc_trex.models import (
    GateView,
    PersonTime,
    RoundPlan,
    SearchState,
    digest,
    trial_identity,
)

if TYPE_CHECKING:
    from sqlite_utils import Database

    from hpc_trex.tree.events import EventLine, GateAsked, GateDecided
    from hpc_trex.tree.reads import TreeReads

_FIELDS = ", ".join(GateView.model_fields)
#: A search that is in one of these designs no round, so that nothing waits for a person.
_NO_DESIGN = (SearchState.FINISHING, SearchState.DONE, SearchState.FAILED, SearchState.CANCELLED)


# --- events -----------------------------------------------------------------------------------------------------------


def ask_gate(db: Database, event: GateAsked, line: EventLine) -> None:
    """Note that the search waits. Raises ``ValueError`` while another question waits, and for one out of its order."""
    if db.execute("SELECT 1 FROM gates WHERE approved IS NULL").fetchone():
        raise ValueError("another question waits for a person already")
    following = db.execute("SELECT coalesce(max(id) + 1, 0) FROM nodes").fetchone()[0]
    if event.node != (0 if event.gate == "requirements" else following):
        raise ValueError(f"node {event.node} is not the one that is being designed")
    last = db.execute(
        "SELECT coalesce(max(number), 0) FROM gates WHERE node = ? AND gate = ?", [event.node, event.gate]
    ).fetchone()[0]
    if event.number != last + 1:
        raise ValueError(f"question {event.number} of {event.gate} of node {event.node} cannot follow {last}")
    db.execute(
        "INSERT INTO gates (node, gate, number, parent, text, plan, identity, asked_at, asked_seq)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            event.node,
            event.gate,
            event.number,
            event.parent,
            event.text,
            event.plan.model_dump_json() if event.plan else None,
            event.identity,
            line.time,
            line.seq,
        ],
    )


def decide_gate(db: Database, event: GateDecided, line: EventLine) -> None:
    """Note the answer. A rejected brief is to be written anew: the baseline counts as not read."""
    changed = db.execute(
        "UPDATE gates SET approved = ?, note = ?, user = ?, decided_at = ?"
        " WHERE node = ? AND gate = ? AND number = ? AND approved IS NULL",
        [event.approved, event.note, event.user, line.time, event.node, event.gate, event.number],
    )
    if changed.rowcount != 1:
        raise ValueError(f"{event.gate} of node {event.node} does not wait for a person")
    if event.gate == "requirements" and not event.approved:
        db.execute("UPDATE nodes SET report = '' WHERE id = 0")


def forgive(db: Database) -> None:
    """Let no rejection count against its parent any more: a person has set the search going again."""
    db.execute("UPDATE gates SET counts = 0 WHERE approved = 0")


# --- questions --------------------------------------------------------------------------------------------------------


def gates(tree: TreeReads, node: int | None = None) -> list[GateView]:
    """Return the questions of the whole search, or of one round, oldest first."""
    where, values = ("", []) if node is None else ("WHERE node = ?", [node])
    return _views(tree, f"{where} ORDER BY asked_seq", values)


def last_gate(tree: TreeReads, node: int) -> GateView | None:
    """Return the newest question about a round."""
    found = _views(tree, "WHERE node = ? ORDER BY asked_seq DESC LIMIT 1", [node])
    return found[0] if found else None


def open_gate(tree: TreeReads) -> GateView | None:
    """Return what waits for a person; None where nothing does, and in a search that designs no round any more."""
    found = _views(tree, "WHERE approved IS NULL", [])
    return found[0] if found and tree.state()[0] not in _NO_DESIGN else None


def rejections(tree: TreeReads, node: int, parent: int | None = None) -> int:
    """Return how many proposals for a round (from one parent) a person has rejected since the search was set going."""
    sql = "SELECT count(*) FROM gates WHERE node = ? AND (? IS NULL OR parent = ?) AND approved = 0 AND counts"
    return int(tree.db.conn.execute(sql, [node, parent, parent]).fetchone()[0])


def plan_identity(tree: TreeReads, plan: RoundPlan) -> str:
    """Return what two plans that run the same experiments have in common, whatever they claim."""
    base, task = tree.digests()
    return digest(sorted(trial_identity(plan.data, trial, base=base, task=task) for trial in plan.trials))


def is_rejected(tree: TreeReads, plan: RoundPlan) -> bool:
    """Tell whether a person has rejected this plan."""
    if tree.db.conn.execute("SELECT 1 FROM gates WHERE approved = 0 AND plan IS NOT NULL LIMIT 1").fetchone() is None:
        return False
    sql = "SELECT 1 FROM gates WHERE identity = ? AND approved = 0 LIMIT 1"
    return tree.db.conn.execute(sql, [plan_identity(tree, plan)]).fetchone() is not None


def person_time(tree: TreeReads) -> PersonTime:
    """Return how long decided gates waited, in all and by gate. A clock that was set back counts as no time."""
    by_gate: defaultdict[str, float] = defaultdict(float)
    decided = [view for view in gates(tree) if view.approved is not None]
    for view in decided:
        by_gate[view.gate] += max(0.0, (_time(view.decided_at) - _time(view.asked_at)).total_seconds())
    return PersonTime(seconds=sum(by_gate.values()), decisions=len(decided), by_gate=dict(by_gate))


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def _views(tree: TreeReads, rest: str, values: list[Any]) -> list[GateView]:
    rows = tree.db.conn.execute(f"SELECT {_FIELDS} FROM gates {rest}", values)  # noqa: S608 # names of fields
    return [_view(dict(zip(GateView.model_fields, row, strict=True))) for row in rows]


def _view(row: dict[str, Any]) -> GateView:
    row["plan"] = RoundPlan.model_validate_json(row["plan"]) if row["plan"] else None
    row["approved"] = None if row["approved"] is None else bool(row["approved"])
    row["counts"] = bool(row["counts"])
    return GateView(**row)
