"""Which round has the prepared data of a recipe: equal recipes are prepared once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpc_trex.models import LIVE, AttemptState, NodeState
from hpc_trex.tree.rows import Row

if TYPE_CHECKING:
    from hpc_trex.tree.reads import TreeReads


def find_recipe(tree: TreeReads, recipe_digest: str) -> int | None:
    """Return the node whose data was prepared under this digest, or else the first that is about to be.

    Data of a struck round are not used again: they may be what it was struck for.
    """
    newest = """SELECT coalesce(new.data_from, new.id) FROM nodes AS new JOIN nodes AS owner
                ON owner.id = coalesce(new.data_from, new.id) AND owner.state != 'struck'
                WHERE new.recipe_digest = ? ORDER BY new.id DESC LIMIT 1"""
    owner = tree._value(newest, [recipe_digest]) if recipe_digest else None
    made = None if owner is None else tree.preparation(owner)
    if made is not None and made.state is AttemptState.SUCCEEDED:
        return made.node  # without a look at all the rounds that use it
    sql = """SELECT id, state, (SELECT attempts.state FROM attempts WHERE node = nodes.id AND trial = 0
                                ORDER BY attempt DESC LIMIT 1) AS preparation
             FROM nodes WHERE recipe_digest = ? AND coalesce(data_from, id) = id AND state != 'struck' ORDER BY id"""
    rows = tree._rows(sql, [recipe_digest]) if recipe_digest else []
    done = [row["id"] for row in rows if row["preparation"] == AttemptState.SUCCEEDED]
    coming = [row["id"] for row in rows if _is_coming(row)]
    return next(iter(done + coming), None)


def _is_coming(row: Row) -> bool:
    """Tell whether a node's data will be there: its preparation is live, or has not begun in a live round."""
    if row["preparation"] is None:
        return bool(row["state"] == NodeState.PENDING)
    return row["preparation"] in LIVE
