"""The operators of a data recipe, by the record of their parameters (``hpc_trex.models.operators``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpc_trex.data.operators.asked import generate, judge, label, rewrite
from hpc_trex.data.operators.augment import augment
from hpc_trex.data.operators.base import Context, Drop, Outcome
from hpc_trex.data.operators.collect import convert, format_, load, mix, order, sample, split
from hpc_trex.data.operators.copies import dedup
from hpc_trex.data.operators.filters import filter_conflicts, filter_length, filter_regex
from hpc_trex.data.operators.judged import filter_loss, filter_perplexity, filter_similar
from hpc_trex.data.operators.looks import filter_language, filter_quality, filter_tokens
from hpc_trex.data.operators.python import python
from hpc_trex.models import Record, asking
from hpc_trex.models import operators as parameters

OPERATORS: dict[type[Record], Callable[[Any, Any, Context], Outcome]] = {
    parameters.Load: load,
    parameters.Mix: mix,
    parameters.FilterLength: filter_length,
    parameters.FilterRegex: filter_regex,
    parameters.FilterTokens: filter_tokens,
    parameters.FilterLanguage: filter_language,
    parameters.FilterQuality: filter_quality,
    parameters.Convert: convert,
    parameters.Dedup: dedup,
    parameters.FilterSimilar: filter_similar,
    parameters.FilterConflicts: filter_conflicts,
    parameters.FilterLoss: filter_loss,
    parameters.FilterPerplexity: filter_perplexity,
    parameters.Augment: augment,
    asking.Generate: generate,
    asking.Rewrite: rewrite,
    asking.Judge: judge,
    asking.Label: label,
    parameters.Python: python,
    parameters.Sample: sample,
    parameters.Split: split,
    parameters.Order: order,
    parameters.Format: format_,
}

#: Those that draw at random: the step's seed is part of what they make.
SEEDED = frozenset(
    {parameters.Mix, parameters.Sample, parameters.Split, parameters.FilterLoss, parameters.Python, parameters.Augment}
)


def judged(step: Record) -> bool:
    """Tell whether a step asks the base model, so that what it makes depends on that model."""
    match step:
        case parameters.FilterLoss() | parameters.FilterPerplexity() | parameters.FilterTokens():
            return True
        case parameters.Order(by="loss") | parameters.Sample(method="hardest") | parameters.Dedup(method="semantic"):
            return True
        case parameters.FilterSimilar(by="embedding"):
            return True
    return False


__all__ = ["OPERATORS", "SEEDED", "Context", "Drop", "Outcome", "judged"]
