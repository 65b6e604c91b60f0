"""What a row of dev or test carries beside prompt and answer: its options, or its place in a task of lm-eval."""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.render import RowProblem
from hpc_trex.models import MetricSpec

#: The column of a staged lm-eval task that holds ``task`` and ``doc``.
LM_EVAL = "lm_eval"


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
        """Return ``choices`` or ``lm_eval`` of a row, as its metric needs. Raises :class:`RowProblem`."""
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
