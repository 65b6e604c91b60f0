"""Evaluated dev rows as parts of a context: the bad ones by group, each group in turn, and some right ones beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from hpc_trex.agents.attribution import attributor
from hpc_trex.agents.bad_cases import bad_rows, in_turn
from hpc_trex.agents.case_lines import movement_lines
from hpc_trex.agents.llm.fence import neutral, row_line
from hpc_trex.agents.llm.fit import MUST, Part
from hpc_trex.agents.protocol import Sample, TreeView
from hpc_trex.models.cases import CaseReport

#: Longest text of one row's prompt, answer or reference that is shown, in characters.
ROW_CHARS = 400

#: Most bad rows, and most right ones, that are shown.
MOST_BAD = 24
MOST_RIGHT = 6

#: Priority of the broken rows' examples: they tell more than another bad row does.
BROKEN = 65


def row_parts(
    view: TreeView, samples: Iterable[Sample], *, priority: int, right: bool = False, cases: CaseReport | None = None
) -> list[Part]:
    """Return the count of the bad rows by group, the rows themselves, and with ``right`` some that are right.

    With ``cases`` also how the rows moved against the parent's.
    """
    rows = list(samples)
    if not rows:
        return [Part("Bad cases", "There are no evaluated rows.", MUST)]
    bar = cases.bar if cases is not None else None
    bad = bad_rows(rows, higher_is_better=view.task.metric.higher_is_better, bar=bar)
    group = attributor(view.task)
    kinds: dict[str, list[Sample]] = defaultdict(list)
    for row in bad:
        kinds[group(row)].append(row)
    ordered = sorted(kinds, key=lambda kind: (-len(kinds[kind]), kind))
    counts = "".join(f"\n- {kind}: {len(kinds[kind])} ({len(kinds[kind]) / len(rows):.0%})" for kind in ordered)
    parts = [Part("Bad cases", f"{len(bad)} of {len(rows)} dev rows are bad, grouped by rules:{counts}", MUST)]
    if cases is not None:
        parts += _movement(cases)
    shown = in_turn([kinds[kind] for kind in ordered], MOST_BAD)
    if shown:
        parts.append(_part("Bad dev rows", shown, priority))
    if right:
        wrong = {row.row_id for row in bad}
        good = [row for row in rows if row.row_id not in wrong][:MOST_RIGHT]
        parts += [_part("Right dev rows", good, priority - 1)] if good else []
    return parts


def _movement(cases: CaseReport) -> list[Part]:
    """The counts are told whatever the budget; of the broken rows, which quote answers, the first stand longest."""
    lines = movement_lines(cases)
    counts = [line for line in lines if not line.startswith("- ")]
    broken = [neutral(line) for line in lines if line.startswith("- ")]
    parts = [Part("Rows against the parent's", "\n".join(counts), MUST)] if counts else []
    if broken:
        text = "\n\n".join(reversed(broken))
        parts.append(Part("Rows that were right and are bad", text, BROKEN, "rows", data=True))
    return parts


def _part(title: str, rows: Sequence[Sample], priority: int) -> Part:
    """The last rows are the least telling ones, and stand first: they are left out first."""
    text = "\n\n".join(row_line(row, ROW_CHARS) for row in reversed(rows))
    return Part(title, text, priority, "rows", data=True)
