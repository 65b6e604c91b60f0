"""Several labels for one text, or none of them: macro-F1 over the labels (task hoc).

The rule is F1 of each label over all rows, 2 TP / (2 TP + FP + FN), and the plain mean over the labels, as scikit-learn's
``f1_score(average="macro")`` has it on rows that are made binary. Two upstream scorers of HoC were read: ``blue/hoc/eval_hoc.py``
of ncbi-nlp/BLUE_Benchmark at 1babff1b (precision and recall of each abstract, then F1 of their means) and an evaluator of BLURB
built on bigbio/hallmarks_of_cancer (sentences brought together by abstract, "none" is no label, F1 over the ten). FT-Bench
names macro-F1, so ours differs from BLUE in the average, and from neither in what is a label.

Ours too: how the labels are found in what a model wrote (:func:`read_labels`), since both upstream scorers get label ids.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.metrics import Judged
from hpc_trex.models import MetricSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hpc_trex.evaluation.metrics import AnswerSet

NONE = "none"
"""What a text without any label is answered with."""
_BETWEEN = re.compile(r"[;,\n]")
_MARKS = re.compile(r"^[\s\-*\u2022(\[\"'`_#]*(?:\d{1,2}[.)]\s*)?[\s*\"'`_]*|[\s.!\"'`*_)\]]*$")


class Labels(NamedTuple):
    """What was read: labels in the card's order; whether anything was said that is a label or ``none``; whether more was."""

    found: tuple[str, ...]
    said: bool
    other: bool


def read_labels(text: str, labels: tuple[str, ...]) -> Labels:
    """Return the labels that ``text`` names.

    Parts stand between ``;``, ``,`` and line breaks. Of a part, bullets, numbers, quotes and a full stop are left out,
    and whatever stands before its last colon (``Hallmarks: ...``). What remains must be a label as a whole, whatever its
    case: a label inside of a sentence is none, since ``not resisting cell death`` names it too. ``none`` beside a label
    counts for nothing.
    """
    by_name = {label.casefold(): label for label in labels}
    named: set[str] = set()
    said = other = False
    for part in _BETWEEN.split(text):
        bare = " ".join(_MARKS.sub("", part.rpartition(":")[2]).casefold().split())
        if bare in by_name:
            named.add(by_name[bare])
            said = True
        elif bare == NONE:
            said = True
        elif bare:
            other = True
    return Labels(tuple(label for label in labels if label in named), said, other)


def judge_label_set(answer: str, reference: str, spec: MetricSpec, _: Mapping[str, Any]) -> Judged:
    """Judge one answer: its score is 2 |both| / (|answer| + |reference|), 1 where both are rightly empty.

    ``counts`` has, for each of ``spec.labels``, TP, and then for each of them 2 TP + FP + FN. An answer in which nothing
    could be read names no label, and scores 0 also where there is none. Raises :class:`UsageProblem` for a card without
    labels, and for a reference with something that is no label.
    """
    if not spec.labels:
        raise UsageProblem(f"metric.labels: {spec.name} needs the valid labels", hint='e.g. labels = ["a", "b"]')
    wanted = read_labels(reference, spec.labels)
    if wanted.other or not wanted.said:
        raise UsageProblem(
            f"the reference answer {reference!r:.120} is no list of metric.labels, nor {NONE!r}",
            hint='correct metric.labels or prompt.answer of the task card: labels with "; " between them',
        )
    found = read_labels(answer, spec.labels)
    both = set(found.found) & set(wanted.found)
    size = len(found.found) + len(wanted.found)
    score = float(found.said) if not size else 2 * len(both) / size
    flags = ("unparsable",) if not found.said else ("other_label",) if found.other else ()
    return Judged(
        score,
        _written(found.found) if found.said else "",
        _written(wanted.found),
        flags,
        also=(("exact_set", float(found.said and found.found == wanted.found)),),
        counts=(
            *(int(label in both) for label in spec.labels),
            *((label in found.found) + (label in wanted.found) for label in spec.labels),
        ),
    )


def _written(labels: tuple[str, ...]) -> str:
    return "; ".join(labels) or NONE


def macro_f1(answers: AnswerSet, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return macro-F1 for each row of ``weights`` (resamples x answers).

    A label that occurs neither in a resample's references nor in its answers is left out of that resample's mean, as
    :func:`hpc_trex.evaluation.metrics.aggregate` does for one label a row; scikit-learn counts it as 0.
    """
    import numpy as np

    counts = np.asarray(answers.counts, dtype=np.int64)
    hits, sums = np.split(weights @ counts, 2, axis=1)
    present = sums > 0
    f1 = np.divide(2 * hits, sums, out=np.zeros(hits.shape), where=present)
    return np.asarray(f1.sum(axis=1) / np.maximum(present.sum(axis=1), 1))
