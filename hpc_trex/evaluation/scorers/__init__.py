"""Scorers of tasks of their own, by metric name: each in a module that is imported when its metric is used.

So a library that one metric needs (rdkit, jieba) is loaded by jobs of that metric only. A scorer's module says which
upstream file and commit its rule was read from, and where it differs. A scorer whose set is not the mean of its answers
has an aggregate too.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hpc_trex.evaluation.metrics import AnswerSet, Judged
    from hpc_trex.models import MetricSpec

    Scorer = Callable[[str, str, MetricSpec, Mapping[str, Any]], Judged]
    Aggregate = Callable[[AnswerSet, NDArray[np.int64]], NDArray[np.float64]]

#: Metric -> ``module:function``, called with answer, reference, spec and the kept columns of the row.
SCORERS: dict[str, str] = {
    "gta_steps": "hpc_trex.evaluation.scorers.gta:judge_gta_step",
    "omes": "hpc_trex.evaluation.scorers.omes:judge_omes",
    "tomg": "hpc_trex.evaluation.scorers.tomg:judge_tomg",
    "lawbench": "hpc_trex.evaluation.scorers.lawbench:judge_lawbench",
    "cs_bench": "hpc_trex.evaluation.scorers.cs_bench:judge_cs_bench",
    "event_order": "hpc_trex.evaluation.scorers.event_order:judge_order",
    "label_set_f1": "hpc_trex.evaluation.scorers.label_sets:judge_label_set",
    "openfindata": "hpc_trex.evaluation.scorers.openfindata:judge_openfindata",
}

#: Metric -> ``module:function``, called with the judged answers and the weights of
#: :func:`hpc_trex.evaluation.metrics.aggregate`; for metrics that are no mean. Its scorer fills ``Judged.counts``.
AGGREGATES: dict[str, str] = {
    "lawbench": "hpc_trex.evaluation.scorers.lawbench:bring_together",
    "label_set_f1": "hpc_trex.evaluation.scorers.label_sets:macro_f1",
}


@cache
def scorer(metric: str) -> Scorer:
    """Return the function that judges one answer. Raises ``KeyError`` for a metric that is not here."""
    return _loaded(SCORERS[metric])  # type: ignore[no-any-return]


@cache
def own_aggregate(metric: str) -> Aggregate | None:
    """Return what brings the metric's answers together; None where it is their mean."""
    return _loaded(AGGREGATES[metric]) if metric in AGGREGATES else None


def _loaded(place: str) -> Any:
    module, _, function = place.partition(":")
    return getattr(importlib.import_module(module), function)
