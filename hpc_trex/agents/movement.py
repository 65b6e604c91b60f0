"""The bad rows of a round by group, and how they moved against the same rows of its parent (docs/diagnosis.md).

Rows are read as a stream and kept cut: two thousand long answers of two rounds must not fill a login node.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from math import comb, fsum
from typing import NamedTuple

from hpc_trex.agents.attribution import attributor
from hpc_trex.agents.bad_cases import bar_of, in_turn, is_bad, short
from hpc_trex.agents.protocol import Sample
from hpc_trex.models import TaskCard
from hpc_trex.models.cases import RIGHT, CaseGroup, CaseReport, ChangedRow, GroupView, Movement, Transition

#: Longest text of a row that is kept, in characters.
KEPT_CHARS = 200
MOST_EXAMPLES = 5


class Outcome(NamedTuple):
    """One evaluated row, cut. ``asked``: digest of prompt and reference, equal for the same question only."""

    row_id: str
    score: float
    group: CaseGroup
    """Why it is bad, should it be."""
    prompt: str
    answer: str
    reference: str
    asked: bytes


Outcomes = dict[str, Outcome]


class Before(NamedTuple):
    """The parent's best trial, and its rows."""

    parent: int
    trial: int
    rows: Outcomes


def outcomes(samples: Iterable[Sample], card: TaskCard) -> Outcomes:
    """Return what became of each row, by its id."""
    group = attributor(card)
    best = 1.0 if card.metric.higher_is_better else None
    found: Outcomes = {}
    for row in samples:
        asked = hashlib.sha256(f"{row.prompt}\0{row.reference}".encode("utf-8", "surrogatepass")).digest()[:16]
        texts = [short(text, KEPT_CHARS) for text in (row.prompt, row.answer, row.reference)]
        kind: CaseGroup = "content" if row.score == best else group(row)
        found[row.row_id] = Outcome(row.row_id, row.score, kind, texts[0], texts[1], texts[2], asked)
    return found


def case_report(card: TaskCard, node: int, trial: int, rows: Outcomes, before: Before | str) -> CaseReport:
    """Return the bad cases of a trial. ``before``: the parent's rows, or why there are none to compare with."""
    higher = card.metric.higher_is_better
    earlier = before.rows if isinstance(before, Before) else {}
    reason = before if isinstance(before, str) else _other_rows(rows, before)
    scores = [row.score for row in rows.values()]
    # One bar for both rounds, so that a row that did not move is bad in both or in none.
    bar = bar_of(scores if reason else [*scores, *(row.score for row in earlier.values())], higher_is_better=higher)
    bad = [row for row in rows.values() if is_bad(row.score, bar, higher_is_better=higher)]
    compared = isinstance(before, Before) and not reason
    return CaseReport(
        node=node,
        trial=trial,
        rows=len(rows),
        bad=len(bad),
        bar=bar,
        groups=_groups(bad),
        movement=_movement(rows, before, bar, higher=higher) if compared and isinstance(before, Before) else None,
        not_compared=reason,
    )


def _other_rows(rows: Outcomes, before: Before) -> str:
    """Return why two rounds cannot be paired; empty where they can."""
    both = rows.keys() & before.rows.keys()
    if not both:
        return f"node {before.parent} answered none of these rows"
    other = sum(1 for row_id in both if rows[row_id].asked != before.rows[row_id].asked)
    if other:
        return (
            f"{other} of {len(both)} rows with the same id had another prompt or right answer in node {before.parent}: "
            "its samples belong to another evaluation"
        )
    return ""


def _groups(bad: Iterable[Outcome]) -> tuple[GroupView, ...]:
    by_group: dict[CaseGroup, list[Outcome]] = {}
    for row in bad:
        by_group.setdefault(row.group, []).append(row)
    return tuple(
        GroupView(
            group=group,
            rows=len(own),
            row_id=own[0].row_id,
            prompt=own[0].prompt,
            answer=own[0].answer,
            reference=own[0].reference,
        )
        for group, own in sorted(by_group.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    )


def _movement(rows: Outcomes, before: Before, bar: float, *, higher: bool) -> Movement:
    """Pair the rows by their ids."""
    pairs = [(before.rows[row_id], row) for row_id, row in rows.items() if row_id in before.rows]

    def state(row: Outcome) -> CaseGroup | str:
        return row.group if is_bad(row.score, bar, higher_is_better=higher) else RIGHT

    moved = Counter((state(then), state(now)) for then, now in pairs)
    fixed = sum(count for (then, now), count in moved.items() if then != RIGHT and now == RIGHT)
    broken = sum(count for (then, now), count in moved.items() if then == RIGHT and now != RIGHT)
    right = moved.pop((RIGHT, RIGHT), 0)
    gains = [(now.score - then.score) * (1 if higher else -1) for then, now in pairs]
    graded = any(row.score not in (0.0, 1.0) for pair in pairs for row in pair)
    up, down = (sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)) if graded else (fixed, broken)
    return Movement(
        parent=before.parent,
        parent_trial=before.trial,
        pairs=len(pairs),
        unpaired=len(rows) + len(before.rows) - 2 * len(pairs),
        fixed=fixed,
        broken=broken,
        still_bad=len(pairs) - fixed - broken - right,
        still_right=right,
        gain=fsum(gains) / len(gains),
        test="sign" if graded else "mcnemar",
        up=up,
        down=down,
        p_value=exact_p(up, down),
        transitions=_transitions(moved),
        examples=_broken(pairs, {now.row_id for then, now in pairs if state(then) == RIGHT and state(now) != RIGHT}),
    )


def _transitions(moved: Mapping[tuple[str, str], int]) -> tuple[Transition, ...]:
    ordered = sorted(moved.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        Transition.model_validate({"before": then, "now": now, "rows": count}) for (then, now), count in ordered
    )


def _broken(pairs: Iterable[tuple[Outcome, Outcome]], ids: set[str]) -> tuple[ChangedRow, ...]:
    """Return some of the rows that were right and are bad, each group in turn."""
    by_group: dict[CaseGroup, list[ChangedRow]] = {}
    for then, now in pairs:
        if now.row_id in ids:
            row = ChangedRow(
                row_id=now.row_id,
                group=now.group,
                prompt=now.prompt,
                before=then.answer,
                now=now.answer,
                reference=now.reference,
            )
            by_group.setdefault(now.group, []).append(row)
    return tuple(in_turn([by_group[group] for group in sorted(by_group)], MOST_EXAMPLES))


def exact_p(up: int, down: int) -> float:
    """Return the two-sided exact binomial p-value of ``up`` against ``down`` with even odds.

    Of fixed and broken rows it is McNemar's exact test (McNemar, Psychometrika 12, 1947), of rows that rose and fell the
    sign test. 1 where nothing moved.
    """
    count = up + down
    tail = sum(comb(count, k) for k in range(min(up, down) + 1))
    return min(1.0, 2 * tail / (1 << count))
