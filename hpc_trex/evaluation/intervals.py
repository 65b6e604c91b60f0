"""Confidence intervals: the percentile bootstrap over rows, for one model and for the difference of two.

Rows are drawn with replacement as counts (a multinomial draw), so one matrix product does all resamples of a mean and
of macro-F1 alike. See B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpc_trex.evaluation.metrics import AnswerSet, aggregate, by_group
from hpc_trex.models import EvalSettings, Score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def score_interval(answers: AnswerSet, settings: EvalSettings, *, higher_is_better: bool = True) -> Score:
    """Return the metric over all answers with its interval. Raises ``ValueError`` when there are no answers."""
    draws = aggregate(answers, _resamples(answers, settings))
    value = float(aggregate(answers)[0])
    low, high = _interval(value, draws, _telling(answers), settings, *_range(answers))
    return Score(
        metric=answers.metric,
        value=value,
        low=low,
        high=high,
        n=len(answers.scores),
        higher_is_better=higher_is_better,
    )


def difference_interval(
    base: AnswerSet, chosen: AnswerSet, settings: EvalSettings, *, higher_is_better: bool = True
) -> Score:
    """Return ``chosen`` minus ``base`` with the interval of a paired bootstrap: both are drawn with the same rows.

    Raises ``ValueError`` when the two were not measured on the same references by the same metric.
    """
    same = (base.metric, list(base.references), list(base.groups))
    if same != (chosen.metric, list(chosen.references), list(chosen.groups)):
        raise ValueError("a paired difference needs the same metric and the same rows in the same order")
    weights = _resamples(base, settings)
    draws = aggregate(chosen, weights) - aggregate(base, weights)
    value = float(aggregate(chosen)[0] - aggregate(base)[0])
    least, most = _range(base, chosen)
    low, high = _interval(value, draws, _telling(base), settings, least - most, most - least)
    return Score(
        metric=base.metric,
        value=value,
        low=low,
        high=high,
        n=len(base.scores),
        higher_is_better=higher_is_better,
    )


def _resamples(answers: AnswerSet, settings: EvalSettings) -> NDArray[np.int64]:
    """Return how often each row is drawn in each resample (bootstrap x rows); the same for the same seed.

    Where the score is a mean of groups the rows of each group are drawn among themselves: the groups are the task's own,
    no sample of others.
    """
    import numpy as np

    n = len(answers.scores)
    if n < 1:
        raise ValueError("no rows were evaluated")
    generator = np.random.default_rng(settings.seed)
    weights = np.zeros((settings.bootstrap, n), dtype=np.int64)
    for places in by_group(answers.groups).values() if answers.groups else [list(range(n))]:
        size = len(places)
        weights[:, places] = generator.multinomial(size, np.full(size, 1 / size), size=settings.bootstrap)
    return weights


def _telling(answers: AnswerSet) -> int:
    """Return for how many rows the set stands in :func:`_interval`; of groups, as if all were as small as the smallest.

    Rows that would behave otherwise may all be in the smallest group, where fewest were asked: more groups of that size
    bound how much of the mean they can be.
    """
    sizes = [len(places) for places in by_group(answers.groups).values()]
    return min(sizes) * len(sizes) if sizes else len(answers.scores)


def _range(*several: AnswerSet) -> tuple[float, float]:
    """Return between which values a score can lie: 0 and 1, but where a metric gives a row less (LawBench's prison terms)."""
    return min(0.0, *(score for answers in several for score in answers.scores)), 1.0


def _interval(
    value: float, draws: NDArray[np.float64], n: int, settings: EvalSettings, least: float, most: float
) -> tuple[float, float]:
    """Return the percentile interval, widened to hold ``value``; for draws that are all alike, see below.

    A bootstrap of answers that are all right (or one single answer) has no spread and would claim certainty. Then the
    exact argument is used: with ``q = (alpha / 2) ** (1 / n)``, a population in which more than ``1 - q`` of the rows
    behave otherwise would have shown one among ``n`` with probability ``1 - alpha / 2``. Those unseen rows may lie
    anywhere between ``least`` and ``most``. For scores of 0 or 1 this is the interval of Clopper and Pearson (1934).
    """
    import numpy as np

    alpha = 1 - settings.confidence
    if np.ptp(draws) < 1e-12:
        q = (alpha / 2) ** (1 / n)
        low, high = q * value + (1 - q) * least, q * value + (1 - q) * most
    else:
        low, high = (float(bound) for bound in np.quantile(draws, [alpha / 2, 1 - alpha / 2]))
    return max(least, min(low, value)), min(most, max(high, value))
