"""Struck results in the database: what their events do to it, and what can be asked about them (docs/review.md).

A trial is struck by a finding, or because a person has struck its round; a person's ``restore`` overrules all findings of
the round, later ones too. The score of a struck trial stays in its row and is shown to nobody as a score. A round without
any other score is struck as a whole.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from hpc_trex.models import Insight, NodeState, VerdictView
from hpc_trex.tree.sums import back_up, count_child

if TYPE_CHECKING:
    from sqlite_utils import Database

    from hpc_trex.tree.events import EventLine
    from hpc_trex.tree.reads import TreeReads
    from hpc_trex.tree.review_events import ClaimChecked, NodeRestored, NodeStruck


# --- events -----------------------------------------------------------------------------------------------------------


def claim_checked(db: Database, event: ClaimChecked) -> None:
    """Note what was found of a trial; its round is not touched. Raises ``ValueError`` for one that is not done."""
    faulty = any(finding.severity == "strike" for finding in event.findings)
    findings = json.dumps([finding.model_dump(exclude_defaults=True) for finding in event.findings])
    changed = db.execute(
        "UPDATE trials SET findings = ?, faulty = ?, struck = (SELECT CASE verdict WHEN '' THEN ? ELSE"
        " verdict = 'struck' END FROM nodes WHERE id = node) WHERE node = ? AND trial = ? AND state = 'done'",
        [findings, faulty, faulty, event.node, event.trial],
    )
    if changed.rowcount != 1:
        raise ValueError(f"node {event.node} trial {event.trial} is not done: it has no claim to check")


def node_struck(db: Database, event: NodeStruck, line: EventLine) -> None:
    """Take a finished round's score out of all sums. Raises ``ValueError`` for a round without one."""
    row = db.execute("SELECT score FROM nodes WHERE id = ? AND state = 'done'", [event.node]).fetchone()
    if row is None:
        raise ValueError(f"node {event.node} is not finished, or is struck already")
    db.execute(
        "UPDATE nodes SET state = ?, score = NULL, best_trial = NULL, charged = ?, message = ? WHERE id = ?",
        [NodeState.STRUCK, event.charged, event.message, event.node],
    )
    if event.user:
        _decide(db, event, line, struck=True)
    back_up(db, event.node, scored=-1, score=-row[0], failures=int(event.charged))
    if not event.charged:  # it leaves no visit, so it must not use up its parent's cap on children either
        count_child(db, event.node, -1)


def node_restored(db: Database, event: NodeRestored, line: EventLine) -> None:
    """Give a round its score again, or one with the trials that were struck. Raises ``ValueError`` for one without score."""
    found = "SELECT score, state = 'struck', charged FROM nodes WHERE id = ? AND state IN ('done', 'struck')"
    row = db.execute(found, [event.node]).fetchone()
    if row is None:
        raise ValueError(f"node {event.node} has no result to restore")
    score, struck, charged = row
    if event.user:
        _decide(db, event, line, struck=False)
    db.execute(
        "UPDATE nodes SET state = ?, score = ?, best_trial = ?, charged = 0, message = '' WHERE id = ?",
        [NodeState.DONE, event.score, event.best_trial, event.node],
    )
    scored, failures = (1, -int(charged)) if struck else (0, 0)
    back_up(db, event.node, scored=scored, score=event.score - (score or 0.0), failures=failures)
    if struck and not charged:
        count_child(db, event.node, 1)


def _decide(db: Database, event: NodeStruck | NodeRestored, line: EventLine, *, struck: bool) -> None:
    """Write down a person's word, which holds for all trials of the round, those to come too."""
    db.execute(
        "INSERT INTO verdicts (node, struck, note, user, time) VALUES (?, ?, ?, ?, ?)",
        [event.node, struck, event.note, event.user, line.time],
    )
    db.execute("UPDATE nodes SET verdict = ? WHERE id = ?", ["struck" if struck else "restored", event.node])
    db.execute("UPDATE trials SET struck = ? WHERE node = ? AND state = 'done'", [struck, event.node])


# --- questions --------------------------------------------------------------------------------------------------------


class TakenOver(NamedTuple):
    """A trial that has the result of another one, of which it does not know yet whether it is struck."""

    node: int
    trial: int
    source: tuple[int, int]
    struck: bool


def unread_claims(tree: TreeReads) -> list[tuple[int, int]]:
    """Return (node, trial) of every score whose records nobody has looked at; the sealed test is not one of them."""
    sql = """SELECT node, trial FROM trials WHERE state = 'done' AND findings IS NULL AND kind != 'test'
             ORDER BY node, trial"""
    return [(node, trial) for node, trial in tree.db.conn.execute(sql)]


def taken_over(tree: TreeReads) -> list[TakenOver]:
    """Return the trials that stand on another one's result whose standing has changed, or that never asked."""
    sql = """SELECT here.node, here.trial, source.node, source.trial, source.struck FROM trials AS here
             JOIN trials AS source ON source.node = here.reused_node AND source.trial = here.reused_trial
             WHERE here.reused_node IS NOT NULL AND here.state = 'done' AND source.state = 'done'
             AND (here.findings IS NULL OR here.faulty != source.struck)
             AND NOT EXISTS (SELECT 1 FROM attempts WHERE node = here.node AND trial = here.trial)
             ORDER BY here.node, here.trial"""
    return [TakenOver(a, b, (c, d), bool(struck)) for a, b, c, d, struck in tree.db.conn.execute(sql)]


def reviewed_nodes(tree: TreeReads) -> list[int]:
    """Return the rounds that have, or had, something struck: those whose score may follow from it."""
    sql = """SELECT id FROM nodes WHERE state = 'struck'
             UNION SELECT node FROM trials WHERE struck OR faulty
             UNION SELECT id FROM nodes WHERE verdict != '' ORDER BY 1"""
    return [row[0] for row in tree.db.conn.execute(sql)]


def struck_nodes(tree: TreeReads) -> set[int]:
    """Return the rounds that are struck as a whole."""
    return set(tree.node_ids(NodeState.STRUCK))


def verdicts(tree: TreeReads, node: int | None = None) -> list[VerdictView]:
    """Return what persons decided about the whole search, or about one round, oldest first."""
    sql = "SELECT node, struck, note, user, time FROM verdicts WHERE ? IS NULL OR node = ? ORDER BY id"
    rows = tree.db.conn.execute(sql, [node, node])
    return [VerdictView(node=a, struck=bool(b), note=c, user=d, time=e) for a, b, c, d, e in rows]


def on_firm_ground(insight: Insight, by: int, struck: set[int]) -> bool:
    """Tell whether an insight, made in the diagnosis of round ``by``, stands on no struck round."""
    return by not in struck and struck.isdisjoint(insight.nodes)
