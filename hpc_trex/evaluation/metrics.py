"""The metrics of a task card: one answer is judged at a time, then the judged answers are brought together.

All scores lie between 0 and 1, but a prison term of LawBench may score less. Nearly every metric is the mean of its
per-answer scores; macro-F1, BLEU and some of :mod:`hpc_trex.evaluation.scorers` need the whole set, so :func:`aggregate`
also takes how often each answer counts (``weights``), which is what a bootstrap draws.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.answers import find_label, first_line, parse_object, same_value
from hpc_trex.evaluation.scorers import own_aggregate, scorer
from hpc_trex.models import MetricSpec
from hpc_trex.models.metric_options import RougeOptions
from hpc_trex.samples import without_reasoning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: What may be said of one answer; a scorer may say more. ``truncated`` and ``prompt_cut`` are set by whoever ran the model.
FLAGS = ("empty", "truncated", "prompt_cut", "unparsable", "invalid_json", "other_label")


class Judged(NamedTuple):
    """One answer against its reference. ``answer``: what was read from the text, empty when nothing could be."""

    score: float
    answer: str
    wanted: str
    """The reference in the same form."""
    flags: tuple[str, ...] = ()
    also: tuple[tuple[str, float], ...] = ()
    """Further scores of the same answer by name."""
    counts: tuple[int, ...] = ()
    """What a metric that is no mean adds up. Of BLEU: lengths of answer and reference, then matching and all n-grams of
    1 to 4 words."""


#: A row without kept columns.
NO_COLUMNS: Mapping[str, Any] = MappingProxyType({})


def judge(text: str, reference: str, spec: MetricSpec, row: Mapping[str, Any] = NO_COLUMNS) -> Judged:
    """Judge the model's raw ``text``; ``row`` holds the columns of ``spec.keep``.

    An empty answer (also: nothing but reasoning) scores 0 under every metric and is flagged ``empty``. Raises
    :class:`UsageProblem` for a reference that the metric cannot use, :class:`EnvironmentProblem` where its library lacks.
    """
    answer = without_reasoning(text)
    reference = without_reasoning(reference)
    judged = (_JUDGES.get(spec.name) or scorer(spec.name))(answer, reference, spec, row)
    if answer:
        return judged
    return judged._replace(
        score=0.0, flags=("empty", *judged.flags), also=tuple((name, 0.0) for name, _ in judged.also)
    )


def _exact_match(answer: str, reference: str, _: MetricSpec, __: Mapping[str, Any]) -> Judged:
    return Judged(float(answer == reference), answer, reference)


def _label(answer: str, reference: str, spec: MetricSpec, _: Mapping[str, Any]) -> Judged:
    """Compare the label on the first line; without ``labels`` in the card any first line counts as one."""
    if not spec.labels:
        line, expected = first_line(answer), first_line(reference)
        right = line.casefold() == expected.casefold()
        return Judged(float(right), expected if right else line, expected)
    wanted = find_label(reference, spec.labels)
    if wanted is None:
        raise UsageProblem(
            f"the reference answer {reference!r} is none of the labels {', '.join(spec.labels)}",
            hint="correct metric.labels or the rows of the task card",
        )
    found = find_label(answer, spec.labels)
    if found is None:
        return Judged(0.0, "", wanted, ("unparsable",))
    return Judged(1.0, found, wanted) if found == wanted else Judged(0.0, found, wanted, ("other_label",))


def _macro_f1(answer: str, reference: str, spec: MetricSpec, row: Mapping[str, Any]) -> Judged:
    judged = _label(answer, reference, spec, row)
    return judged._replace(also=(("accuracy", judged.score),))


def _json_fields(answer: str, reference: str, _: MetricSpec, __: Mapping[str, Any]) -> Judged:
    """Score the fraction of the reference's fields that the answer has right."""
    wanted = parse_object(reference)
    if wanted is None:
        raise UsageProblem(
            f"the reference answer {reference[:80]!r} is no JSON object, which the metric json_fields needs",
            hint="correct prompt.answer or the rows of the task card, or choose another metric",
        )
    found = parse_object(answer)
    if found is None:
        return Judged(0.0, "", reference, ("invalid_json",), (("all_fields", 0.0),))
    right = sum(key in found and same_value(found[key], value) for key, value in wanted.items())
    score = right / len(wanted) if wanted else float(not found)
    return Judged(score, answer, reference, also=(("all_fields", float(same_value(found, wanted))),))


class _Words:
    """The tokenizer for ROUGE: words in any alphabet, and each Chinese, Japanese or Korean sign by itself.

    rouge-score's own keeps a-z and 0-9 only, so that two equal Chinese sentences score 0.
    """

    _SIGN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    _PATTERN = re.compile(rf"[{_SIGN}]|[^\W_{_SIGN}]+")

    def tokenize(self, text: str) -> list[str]:
        return self._PATTERN.findall(text.casefold())


@cache
def _rouge(kind: str, tokenizer: str) -> Any:
    rouge_score: Any = importlib.import_module("rouge_score.rouge_scorer")  # it has no types
    return rouge_score.RougeScorer([kind], tokenizer=_Words() if tokenizer == "any-script" else None)


@cache
def _chrf_scorer() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


@cache
def _bleu_scorer(tokenizer: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenizer, effective_order=True)


def _rouge_judge(answer: str, reference: str, spec: MetricSpec, _: Mapping[str, Any]) -> Judged:
    tokenizer = RougeOptions.model_validate(spec.options).tokenizer
    score = _rouge(spec.name, tokenizer).score(reference, answer)[spec.name].fmeasure
    return Judged(float(score), answer, reference)


def _chrf(answer: str, reference: str, _: MetricSpec, __: Mapping[str, Any]) -> Judged:
    return Judged(float(_chrf_scorer().sentence_score(answer, [reference]).score) / 100, answer, reference)


_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")


def _bleu(answer: str, reference: str, _: MetricSpec, __: Mapping[str, Any]) -> Judged:
    """Score one answer by sentence BLEU. A Chinese reference is split into its signs: for 13a it would be one word."""
    scorer = _bleu_scorer("zh" if _CHINESE.search(reference) else "13a")
    found = scorer.sentence_score(answer, [reference])
    counts = (found.sys_len, found.ref_len, *found.counts, *found.totals)
    return Judged(float(found.score) / 100, answer, reference, counts=tuple(int(count) for count in counts))


_JUDGES: dict[str, Callable[[str, str, MetricSpec, Mapping[str, Any]], Judged]] = {
    "exact_match": _exact_match,
    "accuracy": _label,
    "macro_f1": _macro_f1,
    "json_fields": _json_fields,
    "rouge1": _rouge_judge,
    "rouge2": _rouge_judge,
    "rougeL": _rouge_judge,
    "chrf": _chrf,
    "bleu": _bleu,
}


class AnswerSet(NamedTuple):
    """The judged answers of one model, in the order of the rows."""

    metric: str
    labels: tuple[str, ...]
    scores: Sequence[float]
    references: Sequence[str]
    predictions: Sequence[str]
    """As read from the text; empty when nothing could be."""
    counts: Sequence[tuple[int, ...]] = ()
    """See :class:`Judged`."""
    groups: Sequence[str] = ()
    """The group of each answer, where the score is the mean of the groups' scores; empty: over all answers alike."""

    def of(self, places: Sequence[int]) -> AnswerSet:
        """Return the answers at these places, as one group."""

        def some(values: Sequence[Any]) -> list[Any]:
            return [values[place] for place in places] if values else []

        return self._replace(
            scores=some(self.scores),
            references=some(self.references),
            predictions=some(self.predictions),
            counts=some(self.counts),
            groups=(),
        )


def aggregate(answers: AnswerSet, weights: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Return the metric once for each row of ``weights`` (resamples x answers); default: one row of ones."""
    import numpy as np

    if weights is None:
        weights = np.ones((1, len(answers.scores)), dtype=np.int64)
    if answers.groups:
        parts = [aggregate(answers.of(places), weights[:, places]) for places in by_group(answers.groups).values()]
        return np.asarray(np.mean(parts, axis=0))
    if answers.metric == "bleu":
        return _bleu_of_counts(answers, weights)
    if answers.metric == "macro_f1":
        return _f1_of_counts(answers, weights)
    own = own_aggregate(answers.metric)
    if own is not None:
        return own(answers, weights)
    return np.asarray(weights @ np.asarray(answers.scores, dtype=np.float64) / weights.sum(axis=1))


def by_group(groups: Sequence[str]) -> dict[str, list[int]]:
    """Return the places of each group's answers, the groups by name."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(groups):
        places.setdefault(name, []).append(place)
    return dict(sorted(places.items()))


def _f1_of_counts(answers: AnswerSet, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return macro-F1, the mean over classes of 2 TP / (2 TP + FP + FN), for each row of ``weights``.

    The classes are the card's labels (without any: those of the references), never what a model made up; a class that
    occurs neither in the references nor in the answers of a resample is left out of that resample's mean.
    """
    import numpy as np

    classes = answers.labels or tuple(sorted(set(answers.references)))
    names = np.asarray(classes)[None, :]
    wanted = np.asarray(answers.references)[:, None] == names  # answers x classes
    found = np.asarray(answers.predictions)[:, None] == names
    hits = weights @ (wanted & found).astype(np.float64)  # resamples x classes
    sums = weights @ wanted.astype(np.float64) + weights @ found.astype(np.float64)  # 2 TP + FP + FN
    present = sums > 0
    f1 = np.divide(2 * hits, sums, out=np.zeros_like(hits), where=present)
    return np.asarray(f1.sum(axis=1) / np.maximum(present.sum(axis=1), 1))


def _bleu_of_counts(answers: AnswerSet, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return corpus BLEU (sacrebleu's, exponential smoothing) for each row of ``weights``."""
    import numpy as np
    from sacrebleu.metrics.bleu import BLEU

    sums = (weights @ np.asarray(answers.counts, dtype=np.int64)).tolist()
    scores = [BLEU.compute_bleu(row[2:6], row[6:10], row[0], row[1], smooth_method="exp").score / 100 for row in sums]
    return np.asarray(scores, dtype=np.float64)
