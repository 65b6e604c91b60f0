"""The drawing of the tree: where each round stands, its colour (score), shape (state) and the path to the best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpc_trex.models import NodeState, NodeView
from hpc_trex.report.charts import colour
from hpc_trex.report.layout import LABEL, lay_out
from hpc_trex.report.source import ReportSource, points

MOVE_CHARS = 22


def tree_view(source: ReportSource) -> dict[str, Any]:
    """Return ``nodes``, ``edges``, ``width``, ``height`` and the score scale of the drawing."""
    nodes = {node.id: node for node in source.nodes}
    best = best_node(source)
    path = _path(nodes, best)
    layout = lay_out({node.id: node.parent for node in source.nodes}, path)
    shades = _shades(nodes, higher_is_better=source.task.metric.higher_is_better)
    scores = [node.score for node in source.nodes if node.score is not None]
    edges = []
    for node in source.nodes:
        if node.parent in layout.places and node.parent is not None:
            edges.append(_edge(layout.places[node.parent], layout.places[node.id], on_path=node.id in path))
    edges.sort(key=lambda edge: bool(edge["best"]))  # the best path is drawn over the others
    return {
        "nodes": [
            {
                "id": node.id,
                "x": layout.places[node.id][0],
                "y": layout.places[node.id][1],
                "state": node.state.value,
                "fill": shades.get(node.id),
                "best": node.id == best,
                "label": _label(node),
                "move": _move(node),
                "on_path": node.id in path,
                "title": _title(node),
            }
            for node in source.nodes
        ],
        "edges": edges,
        "width": layout.width,
        "height": layout.height,
        "low": min(scores, default=None),
        "high": max(scores, default=None),
        "scale": [colour(i / 8) for i in range(9)],
    }


def best_node(source: ReportSource) -> int | None:
    """Return the chosen round, before the choice the best one; None while nothing has a score."""
    best = source.status.chosen or source.status.best
    return best.node if best else None


def _shades(nodes: Mapping[int, NodeView], *, higher_is_better: bool) -> dict[int, str]:
    """Return each scored round's colour. Ranks and scores weigh alike, or one bad round would make all others equal."""
    scored = {key: node.score for key, node in nodes.items() if node.score is not None}
    if not scored:
        return {}
    values = sorted(set(scored.values()), reverse=not higher_is_better)
    rank = {value: i / max(len(values) - 1, 1) for i, value in enumerate(values)}
    span = values[-1] - values[0]
    return {
        key: colour((rank[value] + ((value - values[0]) / span if span else rank[value])) / 2)
        for key, value in scored.items()
    }


def _path(nodes: Mapping[int, NodeView], best: int | None) -> set[int]:
    """Return the rounds from the root to ``best``."""
    path: set[int] = set()
    while best is not None and best in nodes and best not in path:
        path.add(best)
        best = nodes[best].parent
    return path


def _edge(start: tuple[float, float], end: tuple[float, float], *, on_path: bool) -> dict[str, Any]:
    """Return the line between two rounds: level between the parent's two lines of text, then the bend."""
    (x1, y1), (x2, y2) = start, end
    left, right = x1 + LABEL + 6, x2 - 10
    middle = (left + right) / 2
    path = f"M{x1:g} {y1:g}L{left:g} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {right:g} {y2:g}"
    return {"path": path, "best": on_path}


def _move(node: NodeView) -> str:
    """Return what is written below a round's score: the move that led to it."""
    move = node.move or (node.plan.move if node.plan else "") or ("baseline" if node.parent is None else "")
    return move if len(move) <= MOVE_CHARS else move[: MOVE_CHARS - 1] + "…"


def _label(node: NodeView) -> str:
    if node.score is not None:
        return points(node.score)
    if node.failure is not None:
        return node.failure.value
    return node.state.value


def _title(node: NodeView) -> str:
    """Return what a pointer resting on the round shows, and a screen reader says."""
    what = "baseline" if node.parent is None else f"round {node.id}"
    parts = [what, node.state.value, f"score {points(node.score)}" if node.score is not None else ""]
    if node.failure is not None and node.state is NodeState.FAILED:
        parts.append(node.failure.value)
    if node.plan is not None:
        parts.append(node.plan.hypothesis[:160])
    return " · ".join(part for part in parts if part)
