"""Reading JSON of strangers: what is not of the documented shape is a ValueError, what is missing is empty."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def rows(text: str, key: str | None = None) -> list[dict[str, Any]]:
    """Return the objects of a list, which is the whole answer or its ``key``. Raises ValueError for anything else."""
    whole = json.loads(text)
    found = whole.get(key) if isinstance(whole, dict) and key else whole
    if not isinstance(found, list):
        raise ValueError("no list in the answer")
    return [row for row in found if isinstance(row, dict)]


def part(row: Mapping[str, Any], *keys: str) -> Any:
    """Return what lies under a path of keys; None where a part of the path is missing."""
    here: Any = row
    for key in keys:
        here = here.get(key) if isinstance(here, Mapping) else None
    return here
