"""``metric.options`` of a task card: what a metric can be told, one record a metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from hpc_trex.models.base import Record

#: Metric -> the record that its options must fit; a metric that is not here takes none.
METRIC_OPTIONS: dict[str, type[Record]] = {}


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
