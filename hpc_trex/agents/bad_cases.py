"""Group the dev rows that a trial got wrong by kind, with one example each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hpc_trex.agents.protocol import Sample

#: Flags that say what is wrong with the form of an answer, the plainest first: a row counts under the first it has.
FORM_FLAGS = ("empty", "truncated", "prompt_cut", "invalid_json", "other_label", "unparsable")

#: What a wrong answer in good form is called.
CONTENT = "wrong content"


class Group(NamedTuple):
    """The bad cases of one kind."""

    kind: str
    rows: int
    example: Sample


class BadCases(NamedTuple):
    """All bad cases of a trial: ``total`` rows were evaluated, ``bad`` of them are below half of the best row."""

    total: int
    bad: int
    groups: tuple[Group, ...]
    confusions: tuple[tuple[str, str, int], ...]
    """(reference, answer, count) of the wrong answers in good form, the most frequent first; at most 3."""


def bad_cases(samples: Iterable[Sample], labels: tuple[str, ...], *, higher_is_better: bool = True) -> BadCases:
    """Group the bad rows. Confusions are counted only where the task has labels: elsewhere each answer is its own."""
    rows = list(samples)
    bad = bad_rows(rows, higher_is_better=higher_is_better)
    kinds = Counter(kind_of(row) for row in bad)
    first = {kind_of(row): row for row in reversed(bad)}
    groups = tuple(
        Group(kind, count, first[kind]) for kind, count in sorted(kinds.items(), key=lambda p: (-p[1], p[0]))
    )
    pairs = Counter((row.reference, row.answer) for row in bad if labels and kind_of(row) == CONTENT)
    ordered = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:3]
    return BadCases(len(rows), len(bad), groups, tuple((ref, answer, count) for (ref, answer), count in ordered))


def bad_rows(rows: Sequence[Sample], *, higher_is_better: bool = True) -> list[Sample]:
    """Return the bad rows in their order: right or wrong of an exact metric, the weaker rows of a graded one."""
    sign = 1 if higher_is_better else -1
    marks = [sign * row.score for row in rows]
    # Half-way between nothing and the best row.
    bar = (max([0.0, *marks]) if higher_is_better else max(marks, default=0.0) + min(marks, default=0.0)) / 2
    return [row for row, mark in zip(rows, marks, strict=True) if mark < bar or (mark <= 0 and higher_is_better)]


def kind_of(row: Sample) -> str:
    """Return the kind of a bad row: its form's first fault, else its other flags, else wrong content."""
    form = next((flag for flag in FORM_FLAGS if flag in row.flags), None)
    return form or ", ".join(sorted(row.flags)) or CONTENT


def short(text: str, length: int = 60) -> str:
    """Return a text on one line, cut to a length."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."
