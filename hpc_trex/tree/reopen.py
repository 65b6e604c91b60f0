"""What opening a failed or cancelled round again (``hpc-trex retry``) does to its rows.

Its sums, and those of its ancestors, are corrected by :mod:`hpc_trex.tree.apply`, which made them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpc_trex.tree.repairs import forget_repairs

if TYPE_CHECKING:
    from sqlite_utils import Database


def reopen_trial(db: Database, node: int, trial: int) -> None:
    """Make a trial planned again and let its attempts no longer count; trial 0 is the round's preparation.

    Raises ``ValueError`` for one that has a job, is done, or is not there.
    """
    key = [node, trial]
    live = "SELECT 1 FROM attempts WHERE node = ? AND trial = ? AND state IN ('intent', 'queued', 'running')"
    if db.execute(live, key).fetchone():
        raise ValueError(f"node {node} trial {trial} has a job: it cannot be opened again")
    if trial:
        _plan_again(db, node, trial)
    forget_repairs(db, node, trial)
    changed = db.execute(
        "UPDATE attempts SET superseded = 1 WHERE node = ? AND trial = ? AND (? OR state = 'failed')",
        [*key, bool(trial)],
    )
    if not trial and changed.rowcount == 0:
        raise ValueError(f"the preparation of node {node} did not fail: it cannot be opened again")


def _plan_again(db: Database, node: int, trial: int) -> None:
    # An active trial has had its job ended by a pause: what a repair has set for it still holds.
    changed = db.execute(
        "UPDATE trials SET state = 'planned', score = NULL, result = NULL, failure = NULL, message = '',"
        " ended_at = NULL, micro_batch_size = CASE WHEN state = 'active' THEN micro_batch_size END,"
        " how = CASE WHEN state = 'active' THEN how ELSE '{}' END"
        " WHERE node = ? AND trial = ? AND state IN ('active', 'failed', 'cancelled')",
        [node, trial],
    )
    if changed.rowcount != 1:
        raise ValueError(f"node {node} trial {trial} is not there, or did not fail: it cannot be opened again")
    # One that was to have the result of an experiment that failed must run itself now.
    db.execute(
        "UPDATE trials SET reused_node = NULL, reused_trial = NULL WHERE node = ? AND trial = ? AND EXISTS"
        " (SELECT 1 FROM trials AS source WHERE source.node = trials.reused_node"
        "  AND source.trial = trials.reused_trial AND source.state IN ('failed', 'cancelled'))",
        [node, trial],
    )


def reopen_node(db: Database, node: int) -> bool:
    """Make a round pending again, forget what was read out of its failure, and tell whether it had been charged.

    Raises ``ValueError`` for one that did not fail.
    """
    query = "SELECT charged FROM nodes WHERE id = ? AND state IN ('failed', 'cancelled')"
    row = db.execute(query, [node]).fetchone()
    if row is None:
        raise ValueError(f"node {node} is not there, or did not fail: it cannot be opened again")
    db.execute(
        "UPDATE nodes SET state = 'pending', failure = NULL, charged = 0, message = '', report = '', ended_at = NULL,"
        " ended_seq = NULL WHERE id = ?",
        [node],
    )
    db.execute("DELETE FROM insights WHERE node = ?", [node])
    return bool(row[0])
