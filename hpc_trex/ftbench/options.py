"""What a row of dev or test carries beside prompt and answer: its options, its place in a task of lm-eval, kept columns."""

from __future__ import annotations

import json
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.render import RowProblem
from hpc_trex.models import MetricSpec

#: The column of a staged lm-eval task that holds ``task`` and ``doc``.
LM_EVAL = "lm_eval"
#: The key of the columns that ``metric.keep`` names.
KEPT = "row"


class Options:
    """The further keys of a row under one metric. Raises :class:`UsageProblem` where ``choices`` is no expression."""

    def __init__(self, metric: MetricSpec, where: str) -> None:
        self._metric = metric
        self._own = None
        if isinstance(metric.choices, str) and metric.choices:
            try:
                environment = ImmutableSandboxedEnvironment()
                self._own = environment.compile_expression(metric.choices, undefined_to_none=True)
            except TemplateSyntaxError as error:
                raise UsageProblem(
                    f"{where}: metric.choices: {error.message}",
                    hint='name the column that holds a row\'s options, e.g. choices = "options"',
                ) from None

    def __call__(self, columns: dict[str, Any], answer: str) -> dict[str, Any]:
        """Return ``choices``, ``lm_eval`` and ``row`` of a row, as its metric needs them. Raises :class:`RowProblem`."""
        kept = {KEPT: _kept(columns, self._metric)} if self._metric.keep else {}
        return kept | self._asked(columns, answer)

    def _asked(self, columns: dict[str, Any], answer: str) -> dict[str, Any]:
        if self._metric.lm_eval is not None:
            return {LM_EVAL: _place(columns)}
        if self._metric.mode != "choice":
            return {}
        choices = list(self._metric.choices) if self._own is None else self._of_row(columns)
        if answer not in choices:
            raise RowProblem(f"the answer {answer!r:.80} is none of the row's options {choices!r:.200}")
        return {"choices": choices}

    def _of_row(self, columns: dict[str, Any]) -> list[str]:
        assert self._own is not None
        try:
            found = self._own(**columns)
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise RowProblem(f"metric.choices: {type(error).__name__}: {error}") from None
        if not isinstance(found, list | tuple):
            raise RowProblem(f"metric.choices = {self._metric.choices!r} gives {found!r:.60}, not a list of options")
        choices = [str(choice).strip() for choice in found]
        if len(choices) < 2 or "" in choices or len(set(choices)) < len(choices):
            raise RowProblem(f"a row needs two different options or more, none of them empty, not {choices!r:.200}")
        return choices


def _place(columns: dict[str, Any]) -> dict[str, Any]:
    place = columns.get(LM_EVAL)
    if not isinstance(place, dict) or set(place) != {"task", "doc"}:
        raise RowProblem(f"a row of a task of lm-eval needs the column {LM_EVAL} as hpc-trex stage writes it")
    return place


def _kept(columns: dict[str, Any], metric: MetricSpec) -> dict[str, Any]:
    missing = [name for name in metric.keep if name not in columns]
    if missing:
        raise RowProblem(f"metric.keep: no column {', '.join(missing)}; the row has {', '.join(sorted(columns))}")
    kept = {name: columns[name] for name in metric.keep}
    for name, value in kept.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise RowProblem(f"metric.keep: the column {name} is no JSON: {error}") from None
    if metric.groups and (not isinstance(kept[metric.groups], str | int) or kept[metric.groups] == ""):
        raise RowProblem(f"metric.groups: {metric.groups} is {kept[metric.groups]!r:.60}, not a text or a whole number")
    return kept
