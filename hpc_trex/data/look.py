"""Look at a prepared set: what it holds, how long its rows are, some of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpc_trex.data.errors import DataProblem
from hpc_trex.data.manifest import NAME
from hpc_trex.data.operators.base import columns, texts
from hpc_trex.data.seeds import choose
from hpc_trex.errors import NotFound

if TYPE_CHECKING:
    from datasets import Dataset

    from hpc_trex.data.steps import Seen

MARKS = {"min": 0.0, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
KEYS = {"rows": int, "holdout_rows": int, "format": str, "rows_by_source": dict, "sources": dict, "steps": list, "licence": str, "sha256": str}  # fmt: skip
"""Of a manifest, what is shown."""


def look(folder: Path, examples: int = 3, seed: int = 0) -> dict[str, Any]:
    """Return manifest, lengths in characters and examples of a set that a preparation wrote.

    Raises :class:`NotFound` where there is none and :class:`DataProblem` for one that is cut short.
    """
    from datasets import load_from_disk

    manifest = read_set_manifest(folder)
    try:
        data = load_from_disk(str(folder / "rows"))
        lengths = {name: _lengths(data, name) for name in ("prompt", "answer")}
        shown = [dict(data[place]) for place in choose(seed, [str(place) for place in range(len(data))], examples)]
    except (OSError, ValueError, KeyError) as error:
        raise DataProblem(f"{folder / 'rows'} cannot be read: {error}", hint="prepare the set again") from None
    return {"folder": str(folder), "manifest": manifest, "lengths": lengths, "examples": shown}


def read_set_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a prepared set.

    Raises :class:`NotFound` where there is none and :class:`DataProblem` for what is no such manifest.
    """
    try:
        manifest = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except OSError:
        raise NotFound(
            f"no prepared set in {folder}",
            hint="name the folder that holds manifest.json, e.g. nodes/0003/data of a search",
        ) from None
    except ValueError as error:
        raise DataProblem(f"{folder / NAME} is no manifest: {error}", hint="prepare the set again") from None
    wrong = [
        key for key, kind in KEYS.items() if not (isinstance(manifest, dict) and isinstance(manifest.get(key), kind))
    ]
    if wrong:
        raise DataProblem(
            f"{folder / NAME} is no manifest of a prepared set: {', '.join(wrong)} missing or of another kind",
            hint="name a folder that hpc-trex data run --out or a search's round wrote",
        )
    return dict(manifest)


def _lengths(data: Dataset, name: str) -> dict[str, float]:
    counts = sorted(len(text) for (text,) in texts(data, name))
    marks: dict[str, float] = {mark: counts[round(share * (len(counts) - 1))] for mark, share in MARKS.items()}
    return {"mean": round(sum(counts) / len(counts), 1), **marks}


def dropped_examples(seen: Seen, each: int) -> list[dict[str, Any]]:
    """Return what a step dropped: reason, rows, and up to ``each`` of the rows with their texts."""
    wanted = {name for drop in seen.outcome.drops for name in drop.examples[:each]}
    found: dict[str, dict[str, str]] = {}
    for batch in columns(seen.before, "row_id", "prompt", "answer") if wanted else ():
        for name, prompt, answer in batch:
            if name in wanted and name not in found:
                found[name] = {"row_id": name, "prompt": prompt, "answer": answer}
        if len(found) == len(wanted):
            break
    return [
        {
            "reason": drop.reason,
            "rows": drop.rows,
            "examples": [found[name] for name in drop.examples[:each] if name in found],
        }
        for drop in seen.outcome.drops
    ]
