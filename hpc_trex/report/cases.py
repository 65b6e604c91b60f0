"""The bad cases of a round by group, and how its rows moved against the parent's: ``cases.json`` as a table."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hpc_trex.files import read_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models.cases import RIGHT, CaseReport, Movement


def read_cases(search: SearchPaths, node: int) -> CaseReport | None:
    """Return what was read of a round; None before it was read, and of a round without evaluated rows."""
    return read_record(search.cases(node), CaseReport)


def cases_text(cases: CaseReport) -> str:
    """Return counts and transitions as plain lines. They hold no text of a row: the diagnosis quotes some."""
    lines = [f"bad cases  {summary(cases)}"]
    before = _before(cases.movement)
    for group, rows in _counts(cases).items():
        earlier = f"   {before[group]:>5} in node {cases.movement.parent}" if cases.movement else ""
        lines.append(f"  {group:<11} {rows:>5}   {rows / max(1, cases.rows):>4.0%}{earlier}")
    if cases.movement is None:
        return "\n".join(lines + ([f"  not compared: {cases.not_compared}"] if cases.not_compared else []))
    lines += [f"  {line}" for line in movement_words(cases.movement)]
    table = transition_table(cases.movement)
    wide = max(len(row[0]) for row in table)
    lines += ["  " + f"{row[0]:<{wide}}" + "".join(f" {cell:>10}" for cell in row[1:]) for row in table]
    return "\n".join(lines)


def cases_view(cases: CaseReport | None) -> dict[str, Any] | None:
    """Return what the report's drawer shows of it: lines of words, and a table of texts with its heading first."""
    if cases is None:
        return None
    moved = cases.movement
    words = [f"{group}: {rows}" for group, rows in _counts(cases).items() if rows]
    lines = [summary(cases) + (f" {', '.join(words)}." if words else "")]
    lines += movement_words(moved) if moved else [f"Not compared: {cases.not_compared}."] if cases.not_compared else []
    broken = [
        {"row": one.row_id, "group": one.group, "before": one.before, "now": one.now, "wanted": one.reference}
        for one in (moved.examples if moved else ())
    ]
    return {"lines": lines, "table": transition_table(moved) if moved else [], "broken": broken}


def summary(cases: CaseReport) -> str:
    """Return how many rows are bad, and from which score on a row is not."""
    return (
        f"{cases.bad} of {cases.rows} dev rows of trial {cases.trial} are bad (the bar is a score of {cases.bar:.3g})."
    )


def movement_words(moved: Movement) -> list[str]:
    """Return the counts of a movement, and what its test says."""
    counts = f"{moved.fixed} fixed, {moved.broken} broken, {moved.still_bad} still bad, {moved.still_right} still right"
    name = (
        "McNemar's exact test" if moved.test == "mcnemar" else f"sign test, {moved.up} rows rose and {moved.down} fell"
    )
    lines = [
        f"Against node {moved.parent} trial {moved.parent_trial}, {moved.pairs} rows: {counts}.",
        f"Mean gain of a row {moved.gain:+.4f}; {name}: p = {moved.p_value:.2g}.",
    ]
    return lines + ([f"{moved.unpaired} rows have no partner and are not compared."] if moved.unpaired else [])


def transition_table(moved: Movement) -> list[list[str]]:
    """Return the rows counted by group before (down) and now (across), headings included; only groups that occur."""
    cells = {(one.before, one.now): one.rows for one in moved.transitions} | {(RIGHT, RIGHT): moved.still_right}
    downward = [RIGHT, *sorted({one.before for one in moved.transitions} - {RIGHT})]
    across = [RIGHT, *sorted({one.now for one in moved.transitions} - {RIGHT})]
    table = [["before, now:", *across]]
    table += [[then, *(str(cells.get((then, now), 0)) for now in across)] for then in downward]
    return table


def _before(moved: Movement | None) -> Counter[str]:
    """Return how many rows each group had in the parent."""
    found: Counter[str] = Counter()
    for one in moved.transitions if moved else ():
        found[one.before] += one.rows
    return found


def _counts(cases: CaseReport) -> dict[str, int]:
    """Return the rows of each group that occurs now or did in the parent, the most frequent first."""
    now: dict[str, int] = {one.group: one.rows for one in cases.groups}
    gone = sorted(set(_before(cases.movement)) - set(now) - {RIGHT})
    return {**now, **dict.fromkeys(gone, 0)}
