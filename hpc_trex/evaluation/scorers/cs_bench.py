"""Choice and true-or-false questions on computer science, each kind by its own rule (task cs-bench).

Read from ``gen_judgment.py`` of csbench/csbench at 4c8898c9, restated: of a choice the first letter A to D that stands by itself,
in either case, is the answer; of a statement the first word ``true`` or ``false``. So ``A hash table: B`` is an A, there and here.

Differences: upstream compares a statement's ``true`` with ``TRUE``, so that no statement is ever right; here case is
no matter. Fill-in and open questions are graded by GPT-4 there and are left out here (the card's ``where``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.metrics import Judged
from hpc_trex.models import MetricSpec

KIND = "Format"
"""The column that tells a question's kind."""
_ANSWERS = {
    "Multiple-choice": re.compile(r"\b[A-D]\b", re.IGNORECASE),
    "Assertion": re.compile(r"\b(?:true|false)\b", re.IGNORECASE),
}


def judge_cs_bench(answer: str, reference: str, _: MetricSpec, row: Mapping[str, Any]) -> Judged:
    """Judge one answer: right or wrong. Raises :class:`UsageProblem` for a kind that no rule reads.

    A reference that no answer can equal makes every answer wrong, as upstream, and is flagged ``odd_reference``.
    """
    kind = row.get(KIND)
    pattern = _ANSWERS.get(str(kind))
    if pattern is None:
        raise UsageProblem(
            f"a question of the kind {kind!r:.40} has no rule: {KIND} is one of {', '.join(_ANSWERS)}",
            hint=f'the task card needs keep = ["{KIND}"], and a where that leaves other kinds out',
        )
    wanted = reference.upper()
    odd = () if pattern.fullmatch(reference) else ("odd_reference",)
    match = pattern.search(answer)
    if match is None:
        return Judged(0.0, "", wanted, ("unparsable", *odd))
    found = match[0].upper()
    return Judged(1.0, found, wanted) if found == wanted else Judged(0.0, found, wanted, ("other_label", *odd))
