"""How the ``data`` commands put steps and rows into words."""

from __future__ import annotations

import json
from typing import Any

from hpc_trex.errors import EnvironmentProblem

WIDTH = 70


def need_datasets() -> None:
    """Raise :class:`EnvironmentProblem` where the packages that run a recipe are missing."""
    from importlib.util import find_spec

    missing = [name for name in ("datasets", "numpy", "pyarrow", "xxhash") if find_spec(name) is None]
    if missing:
        raise EnvironmentProblem(
            f"data recipes need {', '.join(missing)}, not installed here", hint="pip install 'hpc-trex[train]'"
        )


def cut(text: str, width: int = WIDTH) -> str:
    """Return a text in one line, quoted, cut to a width; it cannot steer a terminal."""
    from hpc_trex.models.base import one_line

    short = text if len(text) <= width else text[: width - 1] + "…"
    return one_line(json.dumps(short, ensure_ascii=False))


def step_line(entry: dict[str, Any], steps: int) -> str:
    """Return what a step did: rows in and kept, then each reason to drop with examples."""
    from hpc_trex.models.base import one_line

    name = entry["op"] if entry["step"] <= steps else f"{entry['op']} (always)"
    known = "  (known: not run again)" if entry["cached"] else ""
    lost = sum(drop["rows"] for drop in entry["dropped"])
    lines = [
        f"{entry['step']:>3}  {name:<24} {entry['rows_in']:>9} in {entry['rows_out']:>9} kept {lost:>9} dropped{known}"
    ]
    for drop in entry["dropped"]:
        lines.append(one_line(f"     {drop['rows']:>9}  {drop['reason']}"))
        lines += [
            f"                {one_line(row['row_id'])}  {cut(row['prompt'])} -> {cut(row['answer'], 40)}"
            for row in drop["examples"]
        ]
    return "\n".join(lines)
