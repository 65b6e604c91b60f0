"""Score rows by the definition of the lm-eval task that they came from: its own filters, metrics and functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpc_trex.data.formatting import answer_text
from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.lm_definition import read_definition
from hpc_trex.evaluation.metrics import Judged
from hpc_trex.evaluation.tasks import Answered, EvalRow
from hpc_trex.ftbench.frozen import greedy
from hpc_trex.models import LmEvalTarget


class Doc(dict[str, Any]):
    """A document with the text that the model gets for it."""

    text: str = ""


class Docs(list[Doc]):
    """Documents as lm-eval wants a split; not a ``datasets`` table, which would change what is in them."""

    @property
    def features(self) -> Mapping[str, None]:
        return dict.fromkeys(self[0])


def score_rows(held: Any, target: LmEvalTarget, folder: Path, rows: Sequence[EvalRow], style: str) -> list[Answered]:
    """Return what came of each row. Raises :class:`UsageProblem` where definition and rows do not fit."""
    from lm_eval.evaluator import evaluate as run

    definitions = read_definition(folder, target.digest)
    places: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        if row.place is None or row.place[0] not in definitions:
            raise UsageProblem(
                f"row {row.row_id} does not say to which task of lm-eval it belongs", hint="stage it again"
            )
        places.setdefault(row.place[0], []).append(index)
    tasks = {name: _task(definitions[name], [rows[i] for i in where], style) for name, where in places.items()}
    result = run(held, {"tasks": tasks, "groups": {}}, bootstrap_iters=0, log_samples=True)
    answered: dict[int, Answered] = {}
    for name, where in places.items():
        for sample in result["samples"][name]:
            if sample["filter"] == target.filter:
                index = where[sample["doc_id"]]
                answered[index] = _answered(sample, rows[index], target, tasks[name])
    return [answered[index] for index in range(len(rows))]


def _task(config: dict[str, Any], rows: Sequence[EvalRow], style: str) -> Any:
    """Return the real task over our rows, in our prompts' format."""
    from lm_eval.api.task import ConfigurableTask

    delimiter = config.get("target_delimiter", " ")

    class StagedTask(ConfigurableTask):  # type: ignore[misc]
        """Hands the model the text that the training formats, and its options as the training formats answers."""

        def fewshot_context(self, doc: Doc, *_: object, **__: object) -> str:
            return doc.text

        def construct_requests(self, doc: Doc, ctx: str, **given: Any) -> Any:
            made = super().construct_requests(doc, ctx, **given)
            if self.OUTPUT_TYPE == "multiple_choice":
                for one in made:
                    option = one.arguments[1].removeprefix(delimiter)
                    one.arguments = (one.arguments[0], answer_text(option, style, doc.text))
            return made

    docs = Docs()
    for row in rows:
        assert row.place is not None
        doc = Doc(row.place[1])
        doc.text = row.text
        docs.append(doc)
    more: dict[str, Any] = {}
    if config.get("output_type", "generate_until") == "generate_until":
        more["generation_kwargs"] = greedy(config.get("generation_kwargs") or {})
    return StagedTask(config={**config, "custom_dataset": lambda **_: {"test": docs}, "test_split": "test"} | more)


def _answered(sample: Mapping[str, Any], row: EvalRow, target: LmEvalTarget, task: Any) -> Answered:
    value = sample[target.metric]
    if not isinstance(value, bool | int | float) or not 0 <= value <= 1:
        raise UsageProblem(
            f"the metric {target.metric} of {target.name} gives {value!r:.60} for {row.row_id}, not a number from 0 to 1",
            hint=f"stage it with another of its metrics: hpc-trex stage --task lm-eval:{target.name}:METRIC",
        )
    also = tuple(
        (name, float(found))
        for name in task.aggregation()
        if name != target.metric and isinstance(found := sample.get(name), bool | int | float)
    )
    if task.OUTPUT_TYPE != "multiple_choice":
        text = sample["resps"][0][0]
        flags = () if text.strip() else ("empty",)
        return Answered(text, Judged(float(value), text, row.answer, flags, also))
    choices = task.doc_to_choice(sample["doc"])
    sums = [one[0] for one in sample["filtered_resps"]][: len(choices)]
    if target.metric == "acc_norm":
        sums = [total / len(choice) for total, choice in zip(sums, choices, strict=True)]
    picked = str(choices[max(range(len(choices)), key=sums.__getitem__)]).strip()
    return Answered(picked, Judged(float(value), picked, row.answer, (), also))
