"""The insights of a search with all that was said before: which stand, and which were taken back and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hpc_trex.tree.insights import Fate, settle, stated, weight
from hpc_trex.tree.review import struck_nodes

if TYPE_CHECKING:
    from hpc_trex.tree.store import Store


class Said(NamedTuple):
    """One insight: as it was made, or as it stands with the rounds of all that say the same. ``by``: the node whose diagnosis made it."""

    text: str
    nodes: tuple[int, ...]
    kind: str
    by: int
    fate: Fate
    """``renewed``: a later one says the same; ``taken back``: another one says something else, or a round below it is struck."""
    instead: str = ""
    """The text of the other one, or the reason."""
    direction: str = ""
    weight: float = 0.0
    """Standard errors of the effect; of one that a model told, the rounds that it rests on."""
    measured: bool = False


def history(store: Store) -> list[Said]:
    """Return all insights that were ever made, oldest first. Those that stand are those of ``store.insights()``."""
    return [
        Said(
            text=one.insight.text,
            nodes=one.insight.nodes,
            kind=one.insight.kind,
            by=one.by,
            fate=one.fate,
            instead=one.instead,
            direction=one.insight.direction,
            weight=weight(one.insight),
            measured=one.insight.errors is not None,
        )
        for one in settle(stated(store), struck_nodes(store))
    ]
