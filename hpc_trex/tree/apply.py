"""What each event does to the database. The same code runs when an event is recorded and when the log is replayed.

Every function touches a number of rows that does not grow with the tree, except the sums of a node's ancestors, which
grow with its depth. An event that does not fit the tree (an unknown node, a round that ends twice) raises
``ValueError`` and changes nothing, because the caller's transaction is rolled back.
"""

# ruff: noqa: ARG001 # all rules have one signature, so that one dispatcher can call them
from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING

from hpc_trex.models import NodeState, SearchState, TrialState
from hpc_trex.tree import events as ev
from hpc_trex.tree.attempts import attempt_ended, attempt_intended, attempt_queued, attempt_running
from hpc_trex.tree.calls import record_call
from hpc_trex.tree.gates import ask_gate, decide_gate, forgive
from hpc_trex.tree.insights import put_insights
from hpc_trex.tree.openings import TestOpened, note_opening
from hpc_trex.tree.reopen import reopen_node, reopen_trial
from hpc_trex.tree.repairs import RepairDecided, decide_repair
from hpc_trex.tree.review import claim_checked, node_restored, node_struck
from hpc_trex.tree.review_events import ClaimChecked, NodeRestored, NodeStruck
from hpc_trex.tree.rows import change_one, result_json
from hpc_trex.tree.servers import ServerEvent, apply_server
from hpc_trex.tree.sums import back_up, count_child

if TYPE_CHECKING:
    from sqlite_utils import Database


def mark(db: Database, line: ev.EventLine, end: int) -> None:
    """Record that the database holds every event up to this one, which ends at byte ``end`` of the log."""
    db.execute("UPDATE search SET last_seq = ?, log_bytes = ?, last_time = ?", [line.seq, end, line.time])


@singledispatch
def apply_event(event: ev.Event, db: Database, line: ev.EventLine) -> None:
    """Change the database as the event says. ``line`` gives its number and time."""
    raise ValueError(f"no rule for the event {type(event).__name__}")


@apply_event.register(ev.SearchCreated)
def _created(event: ev.SearchCreated, db: Database, line: ev.EventLine) -> None:
    db.execute(
        "INSERT INTO search (id, config, higher_is_better, task_digest, base_digest, created_at, last_time, last_seq,"
        " log_bytes) VALUES (1, ?, ?, ?, ?, ?, ?, ?, 0)",
        [
            event.config.model_dump_json(),
            event.higher_is_better,
            event.task_digest,
            event.base_digest,
            line.time,
            line.time,
            line.seq,
        ],
    )


@apply_event.register(ev.ConfigChanged)
def _config(event: ev.ConfigChanged, db: Database, line: ev.EventLine) -> None:
    change_one(db, "UPDATE search SET config = ?", [event.config.model_dump_json()], "there is no search yet")


@apply_event.register(ev.SearchStateChanged)
def _state(event: ev.SearchStateChanged, db: Database, line: ev.EventLine) -> None:
    change_one(db, "UPDATE search SET state = ?, message = ?", [event.state, event.message], "there is no search yet")
    if event.state == SearchState.RUNNING:
        forgive(db)


@apply_event.register(ev.NodeAdded)
def _node_added(event: ev.NodeAdded, db: Database, line: ev.EventLine) -> None:
    last = db.execute("SELECT max(id) FROM nodes").fetchone()[0]
    if event.node != (0 if last is None else last + 1):
        raise ValueError(f"node {event.node} cannot follow node {last}")
    if (event.parent is None) != (event.node == 0):
        raise ValueError("the baseline, node 0, and only it, has no parent")
    depth = 0
    if event.parent is not None:
        row = db.execute("SELECT depth FROM nodes WHERE id = ?", [event.parent]).fetchone()
        if row is None:
            raise ValueError(f"there is no node {event.parent} to be the parent of node {event.node}")
        depth = row[0] + 1
    db.execute(
        "INSERT INTO nodes (id, parent, depth, plan, move, recipe_digest, data_from, added_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            event.node,
            event.parent,
            depth,
            event.plan.model_dump_json() if event.plan else None,
            event.plan.move if event.plan else "",
            event.recipe_digest,
            event.data_from,
            line.time,
        ],
    )
    db.execute("UPDATE nodes SET children = children + 1 WHERE id = ?", [event.parent])
    back_up(db, event.node, pending=1)


@apply_event.register(ev.TrialAdded)
def _trial_added(event: ev.TrialAdded, db: Database, line: ev.EventLine) -> None:
    reused_node, reused_trial = event.reused_from or (None, None)
    db.execute(
        "INSERT INTO trials (node, trial, kind, plan, seed, identity, replicate_of, reused_node, reused_trial, added_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            event.node,
            event.trial,
            event.kind,
            event.plan.model_dump_json() if event.plan else None,
            event.seed,
            event.identity,
            event.replicate_of,
            reused_node,
            reused_trial,
            line.time,
        ],
    )


@apply_event.register(ev.AttemptIntended)
def _attempt_intended(event: ev.AttemptIntended, db: Database, line: ev.EventLine) -> None:
    attempt_intended(db, event, line)


@apply_event.register(ev.AttemptQueued)
def _attempt_queued(event: ev.AttemptQueued, db: Database, line: ev.EventLine) -> None:
    attempt_queued(db, event, line)


@apply_event.register(ev.AttemptRunning)
def _attempt_running(event: ev.AttemptRunning, db: Database, line: ev.EventLine) -> None:
    attempt_running(db, event, line)


@apply_event.register(ev.AttemptEnded)
def _attempt_ended(event: ev.AttemptEnded, db: Database, line: ev.EventLine) -> None:
    attempt_ended(db, event, line)


@apply_event.register(ev.TrialEnded)
def _trial_ended(event: ev.TrialEnded, db: Database, line: ev.EventLine) -> None:
    if event.state in (TrialState.PLANNED, TrialState.ACTIVE):
        raise ValueError(f"a trial cannot end as {event.state}")
    change_one(
        db,
        "UPDATE trials SET state = ?, score = ?, result = ?, failure = ?, message = ?, ended_at = ?"
        " WHERE node = ? AND trial = ? AND state IN ('planned', 'active')",
        [
            event.state,
            event.score,
            result_json(event.result),
            event.failure,
            event.message,
            line.time,
            event.node,
            event.trial,
        ],
        f"node {event.node} trial {event.trial} is not there, or is over already",
    )


@apply_event.register(ev.TrialReopened)
def _trial_reopened(event: ev.TrialReopened, db: Database, line: ev.EventLine) -> None:
    reopen_trial(db, event.node, event.trial)


@apply_event.register(RepairDecided)
def _repair_decided(event: RepairDecided, db: Database, line: ev.EventLine) -> None:
    decide_repair(db, event, line.time)


@apply_event.register(ev.NodeReopened)
def _node_reopened(event: ev.NodeReopened, db: Database, line: ev.EventLine) -> None:
    charged = reopen_node(db, event.node)
    back_up(db, event.node, pending=1, failures=-int(charged))
    if not charged:  # its end had taken it off its parent's children
        count_child(db, event.node, 1)


@apply_event.register(ev.NodeEnded)
def _node_ended(event: ev.NodeEnded, db: Database, line: ev.EventLine) -> None:
    done = event.state == NodeState.DONE
    if event.state == NodeState.PENDING or done != (event.score is not None):
        raise ValueError(f"a round cannot end as {event.state} with score {event.score}")
    charged = event.state in (NodeState.FAILED, NodeState.STRUCK) and event.charged
    change_one(
        db,
        "UPDATE nodes SET state = ?, score = ?, best_trial = ?, failure = ?, charged = ?, message = ?, ended_at = ?,"
        " ended_seq = ? WHERE id = ? AND state = 'pending'",
        [
            event.state,
            event.score,
            event.best_trial,
            event.failure,
            charged,
            event.message,
            line.time,
            line.seq,
            event.node,
        ],
        f"node {event.node} is not there, or is over already",
    )
    back_up(db, event.node, pending=-1, scored=int(done), score=event.score or 0.0, failures=int(charged))
    if not done and not charged:  # it leaves no visit, so it must not use up its parent's cap on children either
        count_child(db, event.node, -1)


@apply_event.register(ev.NodeRescored)
def _node_rescored(event: ev.NodeRescored, db: Database, line: ev.EventLine) -> None:
    row = db.execute("SELECT score FROM nodes WHERE id = ? AND state = 'done'", [event.node]).fetchone()
    if row is None:
        raise ValueError(f"node {event.node} is not finished, so it has no score to change")
    db.execute("UPDATE nodes SET score = ?, best_trial = ? WHERE id = ?", [event.score, event.best_trial, event.node])
    back_up(db, event.node, score=event.score - row[0])


@apply_event.register(ClaimChecked)
def _claim_checked(event: ClaimChecked, db: Database, line: ev.EventLine) -> None:
    claim_checked(db, event)


@apply_event.register(NodeStruck)
def _node_struck(event: NodeStruck, db: Database, line: ev.EventLine) -> None:
    node_struck(db, event, line)


@apply_event.register(NodeRestored)
def _node_restored(event: NodeRestored, db: Database, line: ev.EventLine) -> None:
    node_restored(db, event, line)


@apply_event.register(ev.NodeDiagnosed)
def _node_diagnosed(event: ev.NodeDiagnosed, db: Database, line: ev.EventLine) -> None:
    change_one(
        db, "UPDATE nodes SET report = ? WHERE id = ?", [event.report, event.node], f"there is no node {event.node}"
    )
    put_insights(db, event.node, event.insights)


@apply_event.register(ev.AgentCalled)
def _agent_called(event: ev.AgentCalled, db: Database, line: ev.EventLine) -> None:
    record_call(event, db, line.time)


@apply_event.register(ev.ServerIntended)
@apply_event.register(ev.ServerQueued)
@apply_event.register(ev.ServerEnded)
def _server(event: ServerEvent, db: Database, line: ev.EventLine) -> None:
    apply_server(event, db, line)


@apply_event.register(ev.NoiseMeasured)
def _noise(event: ev.NoiseMeasured, db: Database, line: ev.EventLine) -> None:
    change_one(
        db, "UPDATE search SET noise_sd = ?, noise_groups = ?", [event.sd, event.groups], "there is no search yet"
    )


@apply_event.register(ev.Chosen)
def _chosen(event: ev.Chosen, db: Database, line: ev.EventLine) -> None:
    change_one(db, "UPDATE search SET chosen = ?", [event.model_dump_json()], "there is no search yet")


@apply_event.register(TestOpened)
def _test_opened(event: TestOpened, db: Database, line: ev.EventLine) -> None:
    note_opening(db, event, line.time)


@apply_event.register(ev.TestScored)
def _test(event: ev.TestScored, db: Database, line: ev.EventLine) -> None:
    change_one(db, "UPDATE search SET test = ?", [event.model_dump_json()], "there is no search yet")


@apply_event.register(ev.GateAsked)
def _gate_asked(event: ev.GateAsked, db: Database, line: ev.EventLine) -> None:
    ask_gate(db, event, line)


@apply_event.register(ev.GateDecided)
def _gate_decided(event: ev.GateDecided, db: Database, line: ev.EventLine) -> None:
    decide_gate(db, event, line)


@apply_event.register(ev.Note)
def _note(event: ev.Note, db: Database, line: ev.EventLine) -> None:
    db.execute("INSERT INTO notes (time, text, node) VALUES (?, ?, ?)", [line.time, event.text, event.node])
