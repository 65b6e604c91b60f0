"""From a model's answer without its reasoning to what is scored: label found, JSON parsed."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence

#: Marks around a label that do not change which label it is: ``**Positive.**`` is ``positive``.
_DECORATION = " \t.,:;!\"'`*_()[]"


def first_line(text: str) -> str:
    """Return the first line that is not blank, stripped; empty when there is none."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def find_label(text: str, labels: Sequence[str]) -> str | None:
    """Return the one of ``labels`` that the first line is, whatever its case and the marks around it; else None.

    A line that only contains a label (``not positive``) is no answer: guessing would hide a model that rambles.
    """
    line = first_line(text).casefold()
    bare = line.strip(_DECORATION)
    by_name = {unicodedata.normalize("NFC", label).strip().casefold(): label for label in labels}
    return by_name.get(line) or by_name.get(bare)


def parse_object(text: str) -> dict[str, object] | None:
    """Return the first JSON object in ``text`` (code fences and words around it are allowed); None without one."""
    start = text.find("{")
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def same_value(left: object, right: object) -> bool:
    """Tell whether two JSON values are equal: 3 and 3.0 are, ``true`` and 1 are not, strings are stripped."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, str) and isinstance(right, str):
        return left.strip() == right.strip()
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_value, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_value(left[key], right[key]) for key in left)
    return left == right
