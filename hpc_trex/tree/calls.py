"""The agents' calls to a language model in the database: one row each, and the sums of the search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpc_trex.models.llm import AgentSpent

if TYPE_CHECKING:
    from sqlite_utils import Database

    from hpc_trex.tree.events import AgentCalled
    from hpc_trex.tree.reads import TreeReads


def spent_by_agent(tree: TreeReads) -> list[AgentSpent]:
    """Return what the questions of each agent used, by agent and model; empty where no model is asked."""
    sql = """SELECT role, model, count(*) AS calls, sum(error != '') AS failed, coalesce(sum(tokens_in), 0) AS tokens_in,
                    coalesce(sum(tokens_out), 0) AS tokens_out, sum(money) AS money
             FROM calls GROUP BY role, model ORDER BY role, model"""
    return [AgentSpent.model_validate(row) for row in tree._rows(sql)]


def record_call(event: AgentCalled, db: Database, time: str) -> None:
    """Add a call. Raises ValueError for one that is recorded already."""
    usage = event.usage
    if db.execute("SELECT 1 FROM calls WHERE call = ?", [event.call]).fetchone():
        raise ValueError(f"the call {event.call} is recorded already")
    db.execute(
        "INSERT INTO calls (call, node, role, model, tokens_in, tokens_out, money, seconds, error, time)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            event.call,
            event.node,
            event.role,
            event.model,
            usage.tokens_in,
            usage.tokens_out,
            usage.money,
            usage.seconds,
            event.error,
            time,
        ],
    )
    tokens = (usage.tokens_in or 0) + (usage.tokens_out or 0)
    if (
        db.execute("UPDATE search SET tokens = tokens + ?, money = money + ?", [tokens, usage.money or 0.0]).rowcount
        != 1
    ):
        raise ValueError("there is no search yet")
