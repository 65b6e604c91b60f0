"""The agents' calls to a language model in the database: one row each, and the sums of the search."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

    from hpc_trex.tree.events import AgentCalled


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
