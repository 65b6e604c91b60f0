"""Which of the evaluated rows are bad, and which labels were taken for which. Why they are bad: :mod:`.attribution`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from hpc_trex.agents.protocol import Sample

T = TypeVar("T")

#: Flags that say what is wrong with the form of an answer.
FORM_FLAGS = ("empty", "truncated", "prompt_cut", "invalid_json", "other_label", "unparsable")


def bar_of(scores: Iterable[float], *, higher_is_better: bool = True) -> float:
    """Return the score that a row must reach not to be bad: half-way between nothing and the best row.

    Of a metric where less is better, half-way between the best and the worst row.
    """
    known = list(scores)
    if higher_is_better:
        return max([0.0, *known]) / 2
    return (max(known, default=0.0) + min(known, default=0.0)) / 2


def is_bad(score: float, bar: float, *, higher_is_better: bool = True) -> bool:
    """Tell whether a row is bad: wrong of an exact metric, one of the weaker rows of a graded one."""
    return score < bar or score <= 0 if higher_is_better else score > bar


def bad_rows(rows: Sequence[Sample], *, higher_is_better: bool = True, bar: float | None = None) -> list[Sample]:
    """Return the bad rows in their order. ``bar``: where another one holds than that of these rows alone."""
    if bar is None:
        bar = bar_of([row.score for row in rows], higher_is_better=higher_is_better)
    return [row for row in rows if is_bad(row.score, bar, higher_is_better=higher_is_better)]


def confusions(samples: Iterable[Sample], labels: tuple[str, ...]) -> list[tuple[str, str, int]]:
    """Return (reference, answer, count) of the answers that are another label, the most frequent first; at most 3.

    None where the task has no labels: there each answer is its own.
    """
    wrong = (row for row in samples if labels and "other_label" in row.flags)
    pairs = Counter((row.reference.strip(), row.answer.strip()) for row in wrong)
    ordered = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:3]
    return [(reference, answer, count) for (reference, answer), count in ordered]


def in_turn(groups: Sequence[Sequence[T]], most: int) -> list[T]:
    """Return up to ``most`` rows: the first of each group, then the second of each, and so on."""
    longest = max((len(group) for group in groups), default=0)
    found = [group[place] for place in range(longest) for group in groups if place < len(group)]
    return found[:most]


def short(text: str, length: int = 60) -> str:
    """Return a text on one line, cut to a length."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."
