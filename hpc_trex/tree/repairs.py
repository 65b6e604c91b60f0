"""Repairs of the Executor in the tree: their event, what it does to the database, and what can be asked about them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from hpc_trex.models import FailureClass, Record, RoundPlan
from hpc_trex.models.repair import How, RepairedTrial, RepairView

if TYPE_CHECKING:
    from sqlite_utils import Database

    from hpc_trex.tree.reads import TreeReads


class RepairDecided(Record):
    """What follows from a failed job of a trial (0: of the round's preparation), before the next one is asked for."""

    type: Literal["repair_decided"] = "repair_decided"
    node: int
    trial: int
    number: int
    attempt: int
    by: Literal["rule", "model"]
    outcome: Literal["repaired", "refused", "given up"]
    failure: FailureClass
    changes: str = ""
    reason: str = ""
    how: How = {}
    """Set for all further attempts of the trial: the experiment stays the planned one."""
    plan: RoundPlan | None = None
    """The round's plan from now on, where the experiment is another one."""
    trials: tuple[RepairedTrial, ...] = ()
    """The trials that this makes another experiment."""
    recipe_digest: str = ""
    data_from: int | None = None
    """Of a repaired recipe, as in ``NodeAdded``."""


def decide_repair(db: Database, event: RepairDecided, time: str) -> None:
    """Apply an event. Raises ``ValueError`` for one that does not fit the tree."""
    key = [event.node, event.trial]
    last = db.execute("SELECT max(number) FROM repairs WHERE node = ? AND trial = ?", key).fetchone()[0] or 0
    failed = "SELECT 1 FROM attempts WHERE node = ? AND trial = ? AND attempt = ? AND state = 'failed'"
    if event.number != last + 1:
        raise ValueError(f"repair {event.number} of node {event.node} trial {event.trial} cannot follow {last}")
    if event.attempt and not db.execute(failed, [*key, event.attempt]).fetchone():
        raise ValueError(f"attempt {event.attempt} of node {event.node} trial {event.trial} has not failed")
    db.execute(
        "INSERT INTO repairs (node, trial, number, attempt, by, outcome, failure, changes, reason, time)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [*key, event.number, event.attempt, event.by, event.outcome, event.failure, event.changes, event.reason, time],
    )
    if event.how:
        _set_how(db, event)
    if event.plan is not None:
        _replan(db, event, event.plan)


def _set_how(db: Database, event: RepairDecided) -> None:
    key = [event.node, event.trial]
    row = db.execute("SELECT how FROM trials WHERE node = ? AND trial = ? AND state = 'active'", key).fetchone()
    if row is None:
        raise ValueError(f"node {event.node} trial {event.trial} does not run: nothing of it can be repaired")
    db.execute(
        "UPDATE trials SET how = ?, micro_batch_size = coalesce(?, micro_batch_size) WHERE node = ? AND trial = ?",
        [json.dumps(json.loads(row[0]) | event.how), event.how.get("micro_batch_size"), *key],
    )


def _replan(db: Database, event: RepairDecided, plan: RoundPlan) -> None:
    changed = db.execute(
        "UPDATE nodes SET plan = ? WHERE id = ? AND state = 'pending'", [plan.model_dump_json(), event.node]
    )
    if changed.rowcount != 1:
        raise ValueError(f"node {event.node} is not under way: nothing of it can be repaired")
    if event.recipe_digest:
        db.execute(
            "UPDATE nodes SET recipe_digest = ?, data_from = ? WHERE id = ?",
            [event.recipe_digest, event.data_from, event.node],
        )
    for trial in event.trials:
        reused = trial.reused_from or (None, None)
        changed = db.execute(
            "UPDATE trials SET plan = ?, repaired_from = CASE repaired_from WHEN '' THEN identity ELSE repaired_from END,"
            " identity = ?, reused_node = ?, reused_trial = ? WHERE node = ? AND trial = ?"
            " AND state IN ('planned', 'active')",
            [plan.trials[trial.trial - 1].model_dump_json(), trial.identity, *reused, event.node, trial.trial],
        )
        if changed.rowcount != 1:
            raise ValueError(f"node {event.node} trial {trial.trial} is not under way: it cannot be repaired")
    # Who waited for the result of what is another experiment now runs it itself.
    db.execute(
        "UPDATE trials SET reused_node = NULL, reused_trial = NULL WHERE reused_node = ?"
        " AND state IN ('planned', 'active')"
        " AND identity != (SELECT source.identity FROM trials AS source"
        "  WHERE source.node = trials.reused_node AND source.trial = trials.reused_trial)",
        [event.node],
    )


def forget_repairs(db: Database, node: int, trial: int) -> None:
    """Let the repairs of a trial that is opened again count against no bound any more."""
    db.execute("UPDATE repairs SET superseded = 1 WHERE node = ? AND trial = ?", [node, trial])


def repairs(tree: TreeReads, node: int) -> list[RepairView]:
    """Return the repairs of a round, those of its recipe first, oldest first."""
    rows = tree._rows("SELECT * FROM repairs WHERE node = ? ORDER BY trial, number", [node])
    return [RepairView.model_validate({name: row[name] for name in RepairView.model_fields}) for row in rows]
