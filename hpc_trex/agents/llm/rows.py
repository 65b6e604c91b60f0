"""Evaluated dev rows as parts of a context: the bad ones by kind, each kind in turn, and some right ones beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from hpc_trex.agents.bad_cases import bad_rows, kind_of
from hpc_trex.agents.llm.fence import row_line
from hpc_trex.agents.llm.fit import MUST, Part
from hpc_trex.agents.protocol import Sample, TreeView

#: Longest text of one row's prompt, answer or reference that is shown, in characters.
ROW_CHARS = 400

#: Most bad rows, and most right ones, that are shown.
MOST_BAD = 24
MOST_RIGHT = 6


def row_parts(view: TreeView, samples: Iterable[Sample], *, priority: int, right: bool = False) -> list[Part]:
    """Return the count of the bad rows by kind, the rows themselves, and with ``right`` some that are right."""
    rows = list(samples)
    if not rows:
        return [Part("Bad cases", "There are no evaluated rows.", MUST)]
    bad = bad_rows(rows, higher_is_better=view.task.metric.higher_is_better)
    kinds: dict[str, list[Sample]] = defaultdict(list)
    for row in bad:
        kinds[kind_of(row)].append(row)
    ordered = sorted(kinds, key=lambda kind: (-len(kinds[kind]), kind))
    counts = "".join(f"\n- {kind}: {len(kinds[kind])} ({len(kinds[kind]) / len(rows):.0%})" for kind in ordered)
    parts = [Part("Bad cases", f"{len(bad)} of {len(rows)} dev rows are bad, by the form of the answer:{counts}", MUST)]
    shown = in_turn([kinds[kind] for kind in ordered], MOST_BAD)
    if shown:
        parts.append(_part("Bad dev rows", shown, priority))
    if right:
        wrong = {row.row_id for row in bad}
        good = [row for row in rows if row.row_id not in wrong][:MOST_RIGHT]
        parts += [_part("Right dev rows", good, priority - 1)] if good else []
    return parts


def in_turn(groups: Sequence[Sequence[Sample]], most: int) -> list[Sample]:
    """Return up to ``most`` rows: the first of each group, then the second of each, and so on."""
    longest = max((len(group) for group in groups), default=0)
    found = [group[place] for place in range(longest) for group in groups if place < len(group)]
    return found[:most]


def _part(title: str, rows: Sequence[Sample], priority: int) -> Part:
    """The last rows are the least telling ones, and stand first: they are left out first."""
    text = "\n\n".join(row_line(row, ROW_CHARS) for row in reversed(rows))
    return Part(title, text, priority, "rows", data=True)
