"""The insights of a search with all that was said before: which stand, and which were taken back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, NamedTuple

from hpc_trex.agents.findings import MOVE
from hpc_trex.models import Insight
from hpc_trex.tree.review import on_firm_ground, struck_nodes

if TYPE_CHECKING:
    from hpc_trex.tree.store import Store

Fate = Literal["stands", "renewed", "taken back"]


class Said(NamedTuple):
    """One insight as it was made. ``by``: the node whose diagnosis made it."""

    text: str
    nodes: tuple[int, ...]
    kind: str
    by: int
    fate: Fate
    """``renewed``: a later one says the same with more evidence; ``taken back``: a later one says something else."""
    instead: str = ""
    """The text of the later one; of one that stands on a struck round, that it does."""


def history(store: Store) -> list[Said]:
    """Return all insights that were ever made, oldest first. Those that stand are those of ``store.insights()``."""
    struck = struck_nodes(store)
    rows = store.db.conn.execute("SELECT text, nodes, kind, node FROM insights ORDER BY id").fetchall()
    newer: dict[str, str] = {}
    found: list[Said] = []
    for text, listed, kind, by in reversed(rows):
        nodes = tuple(json.loads(listed))
        if not on_firm_ground(Insight(text=text, nodes=nodes, kind=kind), by, struck):
            found.append(Said(text, nodes, kind, by, "taken back", f"it stands on {_struck(struck & {*nodes, by})}"))
            continue
        instead = newer.get(kind, "") if kind else ""
        fate: Fate = (
            "stands" if not instead else "renewed" if claim(instead, kind) == claim(text, kind) else "taken back"
        )
        found.append(Said(text, nodes, kind, by, fate, instead))
        newer[kind] = text
    return found[::-1]


def _struck(nodes: set[int]) -> str:
    return f"struck node{'s' if len(nodes) > 1 else ''} {', '.join(map(str, sorted(nodes)))}"


def claim(text: str, kind: str) -> str:
    """Return what an insight says apart from its figures: of a move the verb (``gained``, ``lost``, ``depends``), else all."""
    if not kind.startswith(MOVE):
        return text
    rest = text.removeprefix(kind.removeprefix(MOVE)).split()
    return " ".join(rest[:2]) if rest[:1] in (["made"], ["makes"]) else rest[0] if rest else ""
