"""What the readers of upstream's files have in common: how a file is opened, and what is said of one that is another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.readers import READERS, RawRow

T = TypeVar("T", list, dict)  # type: ignore[type-arg]
_KINDS = {list: "a list", dict: "an object"}


def wrong(where: str, what: str) -> UsageProblem:
    """Return the user's error for a file or row that is not what its reader was written for."""
    return UsageProblem(f"{where}: {what}", hint="upstream has changed it; what the card pins is what the reader knows")


def rows_of(path: Path) -> Iterator[RawRow]:
    """Yield the rows of a file by the end of its name. Raises :class:`UsageProblem` for another, and for a bad row."""
    if path.suffix not in READERS:
        raise wrong(str(path), f"none of {', '.join(f'*{one}' for one in READERS)}")
    yield from READERS[path.suffix](path)


def json_of(path: Path, kind: type[T]) -> T:
    """Return what a JSON file holds. Raises :class:`UsageProblem` where that is no JSON, or not of the ``kind``."""
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise wrong(str(path), f"not valid JSON: {error}") from None
    if not isinstance(value, kind):
        raise wrong(str(path), f"a JSON {type(value).__name__}, not {_KINDS[kind]}")
    return value
