"""CS-Bench: questions that a rule can score, none of them twice, none of dev in the test (task cs-bench)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hpc_trex.ftbench.upstream.files import rows_of, wrong

KINDS = ("Multiple-choice", "Assertion")
"""The values of ``Format`` that are scored by a rule; the others need a judge."""


def read_test(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield the rule-scored rows whose ``Split`` is ``Test``, the first of those that repeat a question."""
    yield from _once(row for row in _rows(paths) if row["Split"] == "Test")


def read_valid(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield the rule-scored rows whose ``Split`` is ``Valid`` and that are no question of the test, each once."""
    rows = list(_rows(paths))
    test = {question(row) for row in rows if row["Split"] == "Test"}
    yield from _once(row for row in rows if row["Split"] == "Valid" and question(row) not in test)


def question(row: dict[str, Any]) -> tuple[str, ...]:
    """Return what makes a question the same one: its words, and its options in any order, without case and white space."""
    options = sorted(str(row[letter]) for letter in "ABCD" if letter in row)
    return tuple(" ".join(text.casefold().split()) for text in (str(row["Question"]), *options))


def _once(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        key = question(row)
        if key not in seen:
            seen.add(key)
            yield row


def _rows(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        for raw in rows_of(path):
            row = raw.columns
            needed = ["Split", "Format", "Question", "Answer"]
            if row.get("Format") == KINDS[0]:
                needed += "ABCD"
            missing = [name for name in needed if name not in row]
            if missing or row["Split"] not in ("Test", "Valid"):
                told = f"no column {', '.join(missing)}" if missing else f"Split is {row['Split']!r:.20}"
                raise wrong(raw.where, f"not a row of CS-Bench: {told}")
            if row["Format"] in KINDS:
                yield row
