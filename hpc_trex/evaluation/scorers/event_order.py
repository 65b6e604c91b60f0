"""The order of four events, A to D, in what a model wrote: right as a whole or wrong (task econlogicqa).

The authors (Quan and Liu, arXiv 2405.07938, section 4.1) take the order from the answer by a regular expression that they
have not published, and compare it as a whole. The rule here was read from the task that lm-eval has since (EleutherAI/
lm-evaluation-harness at 6da340c5, ``lm_eval/tasks/econ_logic_qa/utils.py``), restated:

1. first what stands after the last of the words answer, order, ordering or sequence, then the whole text;
2. there: the first run of four letters with a comma, semicolon, arrow, bar, ``and``, ``then`` or nothing but blanks between
   them; else four capitals on end (``DACB``); else the first four single capitals in a row that are A to D in some order.

A run that names a letter twice is passed over. Differences: reasoning is cut before (lm-eval leaves it in).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.metrics import Judged
from hpc_trex.models import MetricSpec

_BREAK = r"\s*(?:[,;>|\u2192]|-{1,2}>|\b(?:and|then)\b)?\s*"
_RUN = re.compile(rf"(?<![a-z])[a-d](?:{_BREAK}(?<![a-z])[a-d](?![a-z])){{3}}", re.IGNORECASE)
_TIGHT = re.compile(r"(?<![A-Za-z])[A-D]{4}(?![A-Za-z])")
_SINGLE = re.compile(r"(?<![A-Za-z])[A-D](?![A-Za-z])")
_MARK = re.compile(r"\b(?:answer|order(?:ing)?|sequence)\b\s*(?:is)?\s*[:\-\u2013]?\s*", re.IGNORECASE)
_LETTERS = ["A", "B", "C", "D"]


def find_order(text: str) -> str:
    """Return the order that ``text`` names, as ``DACB``; empty where there is none."""
    marks = list(_MARK.finditer(text))
    for part in [text[marks[-1].end() :], text] if marks else [text]:
        for run in _runs(part):
            if sorted(run) == _LETTERS:
                return run
    return ""


def _runs(text: str) -> Iterator[str]:
    """Yield what may be an order, the surest form first."""
    for form in (_RUN, _TIGHT):
        for match in form.finditer(text):
            # Upper case and all: with "and" between them the run has more letters than four, and step 3 finds it.
            yield "".join(re.findall("[A-D]", match[0].upper()))
    single = _SINGLE.findall(text)
    for start in range(len(single) - 3):
        yield "".join(single[start : start + 4])


def judge_order(answer: str, reference: str, _: MetricSpec, __: Mapping[str, Any]) -> Judged:
    """Judge one answer: 1 for the very order, else 0; ``pairwise_accuracy``: how many of the six pairs stand right.

    Raises :class:`UsageProblem` for a reference that is no order of A to D (lm-eval would call an unreadable answer right).
    """
    wanted = "".join(re.findall("[A-D]", reference.upper()))
    if sorted(wanted) != _LETTERS:
        raise UsageProblem(
            f"the reference answer {reference!r:.80} is no order of A, B, C and D",
            hint='correct prompt.answer or the rows of the task card: e.g. "D, A, C, B"',
        )
    found = find_order(answer)
    pairs = sum(found.index(one) < found.index(other) for one, other in combinations(wanted, 2)) / 6 if found else 0.0
    return Judged(
        float(found == wanted),
        ", ".join(found),
        ", ".join(wanted),
        () if found else ("unparsable",),
        (("pairwise_accuracy", pairs),),
    )
