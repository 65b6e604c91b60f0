"""Where each round stands in the drawing of the tree: depth to the right, one line for each leaf, the best path on top."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

COLUMN = 190.0
"""Pixels between two depths: a round's two lines of text, then the bend of the edges to its children."""
LINE = 36.0
MARGIN_X, MARGIN_Y = 26.0, 28.0
LABEL = 130.0
"""Room for the text at the right of a round."""


class Layout(NamedTuple):
    """Positions in pixels by node, and the size of the drawing."""

    places: dict[int, tuple[float, float]]
    width: float
    height: float


def lay_out(parents: Mapping[int, int | None], first: Collection[int] = ()) -> Layout:
    """Place every node: a parent stands level with its first child, further children as high below as there is room.

    ``parents`` maps each node to its parent, in the order of design. Of several children one that is in ``first`` (the
    path to the best round) comes before the others, so that the whole path is the top line. No two nodes share a place
    and no two lines cross. Works without recursion: a chain of a thousand rounds is no problem. A node whose parent is
    not among them stands at the left like a root.
    """
    children: dict[int | None, list[int]] = {}
    for node, parent in parents.items():
        children.setdefault(parent if parent in parents else None, []).append(node)
    for several in children.values():
        several.sort(key=lambda node: node not in first)  # stable: the rest stays in the order of design
    lines = _lines(children)
    return Layout(
        {node: (MARGIN_X + lines[node][0] * COLUMN, MARGIN_Y + lines[node][1] * LINE) for node in parents},
        MARGIN_X * 2 + max((depth for depth, _ in lines.values()), default=0) * COLUMN + LABEL,
        MARGIN_Y * 2 + max((line for _, line in lines.values()), default=0) * LINE,
    )


def _lines(children: Mapping[int | None, Sequence[int]]) -> dict[int, tuple[int, int]]:
    """Return (depth, line) of each node.

    The nodes are taken in chains: a node, its first child, that one's first child and so on stand on one line, the
    highest that is free at all their depths. The line to a further child takes up room at its parent's depth too, down
    to that child, so that nothing comes to stand between.
    """
    lines: dict[int, tuple[int, int]] = {}
    used: dict[int, int] = {}  # the lowest line taken at each depth
    waiting = [(node, 0) for node in reversed(children.get(None, []))]
    while waiting:
        node, depth = waiting.pop()
        chain = [node]
        while children.get(chain[-1]):
            chain.append(children[chain[-1]][0])
        line = 1 + max(used.get(depth + i, -1) for i in range(len(chain)))
        used[depth - 1] = max(used.get(depth - 1, -1), line)
        for i, member in enumerate(chain):
            lines[member] = (depth + i, line)
            used[depth + i] = line
            waiting += [(child, depth + i + 1) for child in reversed(children.get(member, [])[1:])]
    return lines
