"""``metric.options`` of a task card: what a metric can be told, one record a metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError

from hpc_trex.models.base import Record


class RougeOptions(Record):
    """How texts are split into words for ROUGE."""

    tokenizer: Literal["any-script", "rouge-score"] = "any-script"
    """``rouge-score``: that package's own, which keeps a-z and 0-9 only and stems nothing: what ``evaluate.load("rouge")`` uses."""


class OmesOptions(Record):
    """Of ``omes``: which of its four scores is the answer's."""

    score: Literal["S_partial", "S_total", "V", "L"] = "S_partial"


class TomgOptions(Record):
    """Of ``tomg``: success alone, or times the similarity to the molecule that was given (MolEdit and MolOpt)."""

    score: Literal["success", "weighted"] = "success"


#: Metric -> the record that its options must fit; a metric that is not here takes none.
METRIC_OPTIONS: dict[str, type[Record]] = {
    "omes": OmesOptions,
    "tomg": TomgOptions,
    "rouge1": RougeOptions,
    "rouge2": RougeOptions,
    "rougeL": RougeOptions,
}


def check_options(metric: str, options: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for an option that the metric does not know, or a value that it cannot use."""
    known = METRIC_OPTIONS.get(metric)
    if known is None:
        if options:
            raise ValueError(f"{metric} takes no options, and has {', '.join(sorted(options))}")
        return
    try:
        known.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ValueError(
            f"options.{key}: {first['msg']}; {metric} knows {', '.join(sorted(known.model_fields))}"
        ) from None
