"""Which edits make one Chinese sentence of another, sign by sign, and F0.5 of a correction's edits against a reference's.

The rule is that of ChERRANT (Zhang et al., NAACL 2022) as LawBench's task 2-1 uses it, read from ``evaluation/utils`` of
open-compass/LawBench at e30981bb (the same files stand in open-compass/opencompass, ``opencompass/datasets/lawbench/utils``):
the cheapest alignments of both sentences, neighbouring steps merged into edits, the edits of *all* cheapest alignments
pooled. Differences, each because its source is a data file or a model that we do not ship:

- to replace one sign by another costs what it costs there between signs that its thesaurus (Cilin), its list of confusable
  signs and pypinyin know nothing about: 1.4 insertions, cheaper between two punctuation marks, dearer between a mark and
  another sign. Which of several almost equal alignments is cheapest can differ by that;
- traditional signs are not turned into simplified ones (OpenCC);
- at most :data:`MOST` alignments of a pair are looked at, there those of ten seconds;
- precision, recall and F are not rounded to four places on the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby, islice
from typing import NamedTuple

from hpc_trex.evaluation.scorers.swaps import MARKS, merge_swaps

#: Alignments of one pair of sentences that are looked at.
MOST = 64
#: Sentences that differ more in length have one alignment looked at only.
LENGTHS_APART = 10
BETA = 0.5
#: Of replacing a sign by one of which nothing is known, in insertions: for the meaning and the look, then for the kinds of signs. They are
#: added in upstream's order, as floating point numbers: which of two alignments is cheaper can hang on the last digit.
MEANING, LOOK = 4 / 6, 0.5
BOTH_MARKS, ONE_MARK, NO_MARK = 0.0, 0.499, 0.25
#: Signs that only the costs count as punctuation.
RARE_MARKS = frozenset("〰〾〿\ufe4f")


class Step(NamedTuple):
    """One step of an alignment, or an edit: signs ``a`` to ``b`` of the source become ``c`` to ``d`` of the target.

    ``kind``: M (kept), S (replaced), D (deleted), I (inserted), T (the same signs in another order).
    """

    kind: str
    a: int
    b: int
    c: int
    d: int


#: Where in the source, and what stands there instead.
Edit = tuple[int, int, str]
Ops = dict[tuple[int, int], list[tuple[str, int]]]


def edits(source: str, target: str) -> Counter[Edit]:
    """Return the edits that make ``target`` of ``source``, each with the number of alignments that have it."""
    source, target = "".join(source.split()), "".join(target.split())
    pooled: Counter[Edit] = Counter()
    if target in (source, "没有错误"):  # "no mistake"
        return pooled
    seen: list[list[Step]] = []
    for found in readings(source, target):
        if found not in seen:
            seen.append(found)
            pooled.update((one.a, one.b, target[one.c : one.d]) for one in found)
    return pooled


def readings(source: str, target: str) -> Iterator[list[Step]]:
    """Yield the edits of each cheapest alignment: each list alone makes ``target`` of ``source``."""
    most = 1 if abs(len(source) - len(target)) > LENGTHS_APART else MOST
    for steps in islice(_alignments(_cheapest(source, target), len(source), len(target)), most):
        yield [edit for one in merge_swaps(_merged(steps), source, target) for edit in _trimmed(one, source, target)]


def count_edits(found: Counter[Edit], wanted: Counter[Edit]) -> tuple[int, int, int]:
    """Return how many edits are right, too many and missing."""
    right = sum(wanted[edit] for edit in found if edit in wanted)
    more = sum(count for edit, count in found.items() if edit not in wanted)
    missing = sum(count for edit, count in wanted.items() if edit not in found)
    return right, more, missing


def f_half(right: float, more: float, missing: float) -> float:
    """Return F0.5; precision is 1 where nothing is too much, recall 1 where nothing is missing."""
    precision = right / (right + more) if more else 1.0
    recall = right / (right + missing) if missing else 1.0
    if not precision + recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


def _replace(a: str, b: str) -> float:
    marks = sum(sign in MARKS or sign in RARE_MARKS for sign in (a, b))
    return MEANING + LOOK + (NO_MARK, ONE_MARK, BOTH_MARKS)[marks]


def _cheapest(source: str, target: str) -> Ops:
    """Return for each pair of places the last steps of the cheapest ways there: kind and how many signs it spans."""
    cost = [[0.0] * (len(target) + 1) for _ in range(len(source) + 1)]
    ops: Ops = {}
    for i in range(1, len(source) + 1):
        cost[i][0], ops[i, 0] = float(i), [("D", 1)]
    for j in range(1, len(target) + 1):
        cost[0][j], ops[0, j] = float(j), [("I", 1)]
    for i, a in enumerate(source):
        for j, b in enumerate(target):
            if a == b:
                cost[i + 1][j + 1], ops[i + 1, j + 1] = cost[i][j], [("M", 1)]
                continue
            turned = _turned(source, target, i, j, cost)
            ways = [
                ("S", 1, cost[i][j] + _replace(a, b)),
                ("I", 1, cost[i + 1][j] + 1),
                ("D", 1, cost[i][j + 1] + 1),
            ]
            if turned:
                ways.insert(0, ("T", turned + 1, cost[i - turned][j - turned] + turned))
            least = min(way[2] for way in ways)
            cost[i + 1][j + 1] = least
            ops[i + 1, j + 1] = [(kind, span) for kind, span, price in ways if price == least]
    return ops


def _turned(source: str, target: str, i: int, j: int, cost: list[list[float]]) -> int:
    """Return the least k for which the last k + 1 signs of both are the same in another order; 0 where there is none."""
    if source[i] not in target[:j] or target[j] not in source[:i]:
        return 0
    balance = Counter(source[i])
    balance.subtract(target[j])
    k = 1
    while i - k >= 0 and j - k >= 0 and cost[i - k + 1][j - k + 1] != cost[i - k][j - k]:
        balance[source[i - k]] += 1
        balance[target[j - k]] -= 1
        if not any(balance.values()):
            return k
        k += 1
    return 0


def _alignments(ops: Ops, i: int, j: int) -> Iterator[list[Step]]:
    """Yield the cheapest alignments, those first that turn or replace signs late in the sentence."""
    waiting: list[tuple[int, int, tuple[object, ...]]] = [(i, j, ())]
    while waiting:
        i, j, path = waiting.pop()
        if not i + j:
            yield list(_unrolled(path))
            continue
        for kind, span in reversed(ops[i, j]):
            a, c = i - span * (kind != "I"), j - span * (kind != "D")
            waiting.append((a, c, (Step(kind, a, i, c, j), path)))


def _unrolled(path: tuple[object, ...]) -> Iterator[Step]:
    while path:
        step, path = path  # type: ignore[assignment] # a linked list: a step and the rest
        yield step  # type: ignore[misc]


def _merged(steps: list[Step]) -> list[Step]:
    """Return the alignment with neighbouring steps as one. Deletions beside insertions stay single."""
    found: list[Step] = []
    for kind, several in groupby(steps, lambda step: step.kind if step.kind in "MT" else ""):
        group = list(several)
        kinds = {step.kind for step in group}
        if kind == "T" or kinds == {"D", "I"} or len(group) == 1:
            found += group
        else:
            joined = kinds.pop() if len(kinds) == 1 else "S"
            found.append(Step(joined, group[0].a, group[-1].b, group[0].c, group[-1].d))
    return found


def _trimmed(edit: Step, source: str, target: str) -> Iterator[Step]:
    """Yield the edit without what both sides of a replacement begin and end with; nothing for one that changes nothing."""
    before, after = source[edit.a : edit.b], target[edit.c : edit.d]
    if before == after:
        return
    if edit.kind != "S":
        yield edit
        return
    head = _common(before, after)
    tail = _common(before[head:][::-1], after[::-1])
    tail = tail if tail <= len(after) - head else 0
    a, b, c, d = edit.a + head, edit.b - tail, edit.c + head, edit.d - tail
    yield Step("I" if a == b else "D" if c == d else "S", a, b, c, d)


def _common(one: str, other: str) -> int:
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return length
