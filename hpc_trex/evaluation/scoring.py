"""From the answers of one model to its score: each is judged, then all are brought together. No model, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hpc_trex.evaluation.intervals import difference_interval, score_interval
from hpc_trex.evaluation.metrics import FLAGS, AnswerSet, Judged, aggregate, by_group, judge
from hpc_trex.evaluation.tasks import EvalRow
from hpc_trex.ftbench.frozen import eval_digest
from hpc_trex.models import EvalSettings, MetricSpec, Score, TaskCard


class Evaluation(NamedTuple):
    """The outcome of one model on one split."""

    main: Score
    extra: dict[str, float]
    """The rate of each flag, further metrics, the score of each group (``column=value``) and ``eval_seconds``."""
    answers: AnswerSet
    """Row by row, for a paired comparison."""
    row_ids: list[str]
    rules: str
    """:func:`hpc_trex.ftbench.frozen.eval_digest` of the card and settings that were used."""

    @property
    def per_sample(self) -> list[float]:
        return list(self.answers.scores)


def judge_rows(rows: Sequence[EvalRow], texts: Iterable[str], metric: MetricSpec) -> list[Judged]:
    """Return the judgement of each row's text, in order. Raises as :func:`hpc_trex.evaluation.metrics.judge`."""
    return [judge(text, row.answer, metric, row.columns) for row, text in zip(rows, texts, strict=True)]


def ordered_flags(found: Iterable[str]) -> tuple[str, ...]:
    """Return flags in one order: the known ones, then a scorer's own by name."""
    return tuple(sorted(set(found), key=lambda flag: (FLAGS.index(flag) if flag in FLAGS else len(FLAGS), flag)))


def brought_together(
    card: TaskCard,
    settings: EvalSettings,
    rows: Sequence[EvalRow],
    judgements: Sequence[Judged],
    flags: Sequence[tuple[str, ...]],
) -> Evaluation:
    """Return main score, rates of flags, further metrics and the groups' scores of judged rows (all in one order)."""
    spec = card.metric
    groups = [str(row.columns[spec.groups]) for row in rows] if spec.groups else []
    answers = AnswerSet(
        metric=spec.shown,
        labels=spec.labels,
        scores=[judged.score for judged in judgements],
        references=[judged.wanted for judged in judgements],
        predictions=[judged.answer for judged in judgements],
        counts=[judged.counts for judged in judgements],
        groups=groups if spec.average == "groups" else (),
    )
    known = ordered_flags([*FLAGS, *(flag for found in flags for flag in found)])
    extra = {flag: sum(flag in found for found in flags) / len(flags) for flag in known}
    extra |= _further(judgements)
    if spec.name in ("accuracy", "accuracy_norm") and spec.labels:
        extra["macro_f1"] = float(aggregate(answers._replace(metric="macro_f1", groups=()))[0])
    for name, places in by_group(groups).items():
        extra[f"{spec.groups}={name}"] = float(aggregate(answers.of(places))[0])
    main = score_interval(answers, settings, higher_is_better=spec.higher_is_better)
    return Evaluation(main, extra, answers, [row.row_id for row in rows], eval_digest(card, settings))


def _further(judgements: Sequence[Judged]) -> dict[str, float]:
    """Return each further metric's mean over the answers that have it: a scorer may look at kinds of rows differently."""
    values: dict[str, list[float]] = {}
    for judged in judgements:
        for name, value in judged.also:
            values.setdefault(name, []).append(value)
    return {name: sum(found) / len(found) for name, found in values.items()}


def paired_difference(base: Evaluation, chosen: Evaluation, settings: EvalSettings) -> Score:
    """Return ``chosen`` minus ``base`` with its paired bootstrap interval. Raises ``ValueError`` for other rows."""
    if base.row_ids != chosen.row_ids:
        raise ValueError("a paired difference needs the same rows in the same order")
    return difference_interval(base.answers, chosen.answers, settings, higher_is_better=chosen.main.higher_is_better)
