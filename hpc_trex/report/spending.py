"""The text of ``budget``, and the line on the budget in ``status``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpc_trex.models import SpentRow, StatusView

_HEAD = f"{'GPU-h used':>11} {'reserved':>9} {'cap':>9} {'left':>9}   {'CPU-h used':>11} {'reserved':>9} {'cap':>9} {'left':>9}"


def budget_text(bodies: Sequence[Mapping[str, Any]], by: str | None) -> str:
    """Return one line a search and, ``by`` node, user or account, one line for each of them; a sum of several searches."""
    keys = [body["search"] for body in bodies] + [f"  {row.key}" for body in bodies for row in body["rows"]]
    wide = max(len(key) + 5 for key in [*keys, "all searches"])
    lines = [f"{'search':<{wide}} {_HEAD}"]
    for body in bodies:
        lines.append(f"{body['search']:<{wide}} {_figures(body)}")
        lines += [_row(row, by, wide) for row in body["rows"]]
    if len(bodies) > 1:
        total = {
            name: {unit: sum(body[name][unit] for body in bodies) for unit in ("gpu_hours", "cpu_hours")}
            for name in ("used", "reserved")
        }
        lines.append(f"{'all searches':<{wide}} {_figures(total)}")
    return "\n".join(line.rstrip() for line in lines)


def _figures(body: Mapping[str, Any]) -> str:
    parts = []
    for unit in ("gpu_hours", "cpu_hours"):
        cap, left = (body.get(name, {}).get(unit) for name in ("cap", "left"))
        used, held = body["used"][unit], body["reserved"][unit]
        parts.append(f"{used:>11.2f} {held:>9.2f} {_or_dash(cap):>9} {_or_dash(left):>9}")
    return "   ".join(parts)


def _row(row: SpentRow, by: str | None, wide: int) -> str:
    name = row.key or "-"
    name = f"  node {name}" if by == "node" and name != "server" else f"  {name}"
    used = {"gpu_hours": row.gpu_hours, "cpu_hours": row.cpu_hours}
    held = {"gpu_hours": row.reserved_gpu_hours, "cpu_hours": row.reserved_cpu_hours}
    return f"{name:<{wide}} {_figures({'used': used, 'reserved': held})}   {row.jobs} job(s)"


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def budget_words(status: StatusView) -> str:
    """Return what is reserved, and the caps with what is left of them, in words; empty where there is neither."""
    spent, words = status.spent, []
    for used, held, cap, unit in (
        (spent.gpu_hours, spent.reserved_gpu_hours, status.gpu_hours_cap, "GPU-hours"),
        (spent.cpu_hours, spent.reserved_cpu_hours, status.cpu_hours_cap, "CPU-hours"),
    ):
        if cap is not None:
            words.append(f"{used:.2f} used + {held:.2f} reserved of {cap:g} {unit}")
        elif held:
            words.append(f"{held:.2f} {unit} reserved")
    return ", ".join(words)
