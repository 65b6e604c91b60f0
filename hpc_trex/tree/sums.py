"""The sums that each round holds over its subtree, and how a change of one round is added to all above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

#: Adds to the sums of a node and of all its ancestors: parameters (node, then one number a column).
_BACK_UP = """
WITH RECURSIVE up (id) AS (
    SELECT ? UNION ALL SELECT nodes.parent FROM nodes JOIN up ON nodes.id = up.id WHERE nodes.parent IS NOT NULL
)
UPDATE nodes SET pending = pending + ?, scored = scored + ?, score_sum = score_sum + ?, failures = failures + ?
WHERE id IN up
"""


def back_up(db: Database, node: int, *, pending: int = 0, scored: int = 0, score: float = 0, failures: int = 0) -> None:
    """Add to the sums of a round and of all its ancestors."""
    db.execute(_BACK_UP, [node, pending, scored, score, failures])


def count_child(db: Database, node: int, more: int) -> None:
    """Add to how many children of the round's parent count against its cap."""
    db.execute(
        "UPDATE nodes SET children = children + ? WHERE id = (SELECT parent FROM nodes WHERE id = ?)", [more, node]
    )
