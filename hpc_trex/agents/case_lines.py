"""The bad cases of a round in words: for its report, and for the language model that reads it."""

from __future__ import annotations

from collections.abc import Iterable

from hpc_trex.agents.bad_cases import confusions, short
from hpc_trex.agents.protocol import Sample
from hpc_trex.models.cases import CaseReport, Movement

#: Below this p-value fixed and broken rows are called unequal.
CLEAR_P = 0.05
#: Kinds of change that are listed, the most frequent first.
MOST_TRANSITIONS = 12


def case_lines(cases: CaseReport | None, samples: Iterable[Sample], labels: tuple[str, ...]) -> list[str]:
    """Return the bad cases by group with an example each, the labels that were confused, and how the rows moved."""
    if cases is None:
        return []
    lines = [f"Bad cases: {cases.bad} of {cases.rows} rows."]
    lines += [
        f"- {one.group}: {one.rows} ({one.rows / cases.rows:.0%}), e.g. {one.row_id}: "
        f"{short(one.prompt)!r} gave {short(one.answer)!r}, wanted {short(one.reference)!r}"
        for one in cases.groups
    ]
    lines += [
        f"- {count} times {short(said)!r} for {short(right)!r}" for right, said, count in confusions(samples, labels)
    ]
    return lines + movement_lines(cases)


def movement_lines(cases: CaseReport) -> list[str]:
    """Return how the rows moved against the parent's, or why that is not known."""
    moved = cases.movement
    if moved is None:
        return [f"Rows not compared: {cases.not_compared}."] if cases.not_compared else []
    counts = f"{moved.fixed} fixed, {moved.broken} broken, {moved.still_bad} still bad, {moved.still_right} still right"
    lines = [f"Against node {moved.parent} row by row: {counts}; {test_words(moved)}."]
    if moved.unpaired:
        lines.append(f"{moved.unpaired} rows have no partner and are not compared.")
    if moved.transitions:
        shown = moved.transitions[:MOST_TRANSITIONS]
        listed = ", ".join(f"{one.before} to {one.now} {one.rows}" for one in shown)
        more = len(moved.transitions) - len(shown)
        lines.append(f"Moved: {listed}{f', {more} more kinds' if more else ''}.")
    return lines + [
        f"- broken ({row.group}), {row.row_id}: {short(row.prompt)!r} gave {short(row.now)!r}, "
        f"before {short(row.before)!r}, wanted {short(row.reference)!r}"
        for row in moved.examples
    ]


def test_words(moved: Movement) -> str:
    """Return the test of a movement in words."""
    name = "McNemar's exact test" if moved.test == "mcnemar" else f"sign test ({moved.up} rose, {moved.down} fell)"
    clear = "more than chance" if moved.p_value < CLEAR_P else "may be chance"
    return f"mean gain of a row {moved.gain:+.3f}, {name} p = {moved.p_value:.2g}: {clear}"
