"""Where each round stands in the drawing of the tree: depth to the right, one line for each leaf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

COLUMN = 172.0
"""Pixels between two depths; room for the label of the move on the edge."""
LINE = 30.0
MARGIN_X, MARGIN_Y = 26.0, 24.0
LABEL = 120.0
"""Room to the right of the deepest rounds."""


class Layout(NamedTuple):
    """Positions in pixels by node, and the size of the drawing."""

    places: dict[int, tuple[float, float]]
    width: float
    height: float


def lay_out(parents: Mapping[int, int | None]) -> Layout:
    """Place every node: leaves in lines from top to bottom, a parent level with the middle of its children.

    ``parents`` maps each node to its parent, in the order of design. Works without recursion, so a chain of a thousand
    rounds is no problem. A node whose parent is not among them stands at the left like a root.
    """
    children: dict[int | None, list[int]] = {}
    for node, parent in parents.items():
        children.setdefault(parent if parent in parents else None, []).append(node)
    order = _depth_first(children)
    lines: dict[int, float] = {}
    next_line = 0.0
    for node, _ in reversed(order):  # children before their parents, leaves from the bottom up
        below = children.get(node, [])
        if below:
            lines[node] = (lines[below[0]] + lines[below[-1]]) / 2
        else:
            lines[node] = next_line
            next_line -= 1
    lowest = min(lines.values(), default=0.0)
    places = {node: (MARGIN_X + depth * COLUMN, MARGIN_Y + (lines[node] - lowest) * LINE) for node, depth in order}
    deepest = max((depth for _, depth in order), default=0)
    return Layout(
        {node: places[node] for node in parents},
        MARGIN_X * 2 + deepest * COLUMN + LABEL,
        MARGIN_Y * 2 + max(0.0, -next_line - 1) * LINE,
    )


def _depth_first(children: Mapping[int | None, Sequence[int]]) -> list[tuple[int, int]]:
    """Return (node, depth) with every parent before its children, and siblings' subtrees one after the other."""
    order: list[tuple[int, int]] = []
    stack = [(node, 0) for node in reversed(children.get(None, []))]
    while stack:
        node, depth = stack.pop()
        order.append((node, depth))
        stack += [(child, depth + 1) for child in reversed(children.get(node, []))]
    return order
