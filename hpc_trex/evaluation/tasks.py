"""A task card as an lm-eval task: our rows, our scorers, greedy answers (DESIGN section 7).

The task is built in memory and handed to lm-eval's evaluator directly, so lm-eval's index of some 14,000 built-in task
files, ten seconds on a slow file system, is never read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.metrics import NO_COLUMNS, Judged
from hpc_trex.ftbench.frozen import decoding
from hpc_trex.models import TaskCard

COLUMNS = ("row_id", "prompt", "answer", "source")


class EvalRow(NamedTuple):
    """One row to evaluate; ``text`` is the prompt as the model gets it, chat markup included."""

    row_id: str
    prompt: str
    answer: str
    text: str
    choices: tuple[str, ...] = ()
    """Mode ``choice``: the options, one of which is ``answer``."""
    place: tuple[str, dict[str, Any]] | None = None
    """Of a task of lm-eval: the task's name and the document."""
    columns: Mapping[str, Any] = NO_COLUMNS
    """Those of ``metric.keep``."""


def read_rows(path: Path, render: Callable[[str], str]) -> list[EvalRow]:
    """Return the rows of a JSONL file with the columns :data:`COLUMNS`, rendered.

    Raises :class:`UsageProblem` naming file and line for a broken row, and for a file without any row.
    """
    rows = []
    with path.open(encoding="utf-8") as handle:
        for number, line in enumerate(handle, start=1):
            try:
                data = json.loads(line)
                row_id, prompt, answer = (str(data[column]) for column in COLUMNS[:3])
                choices = tuple(str(choice) for choice in data.get("choices", ()))
                columns = dict(data.get("row", {}))
                place = (str(data["lm_eval"]["task"]), dict(data["lm_eval"]["doc"])) if "lm_eval" in data else None
            except (ValueError, TypeError, KeyError) as error:
                raise UsageProblem(
                    f"{path}:{number}: not a row with {', '.join(COLUMNS)}: {error!r}",
                    hint="launch writes these files from the task card; start the search again if it was edited",
                ) from error
            rows.append(EvalRow(row_id, prompt, answer, render(prompt), choices, place, columns))
    if not rows:
        raise UsageProblem(f"{path} holds no rows to evaluate", hint="correct the split in the task card")
    return rows


class Answered(NamedTuple):
    """What came of one row: the text that stands for the model's answer, and its judgement."""

    text: str
    judged: Judged


def compile_task(card: TaskCard, rows: Sequence[EvalRow]) -> Any:
    """Return the card as an ``lm_eval.api.task.ConfigurableTask`` over ``rows``, of type ``generate_until``.

    lm-eval has the answers written and counts which hold anything; what they are worth is judged afterwards
    (:mod:`hpc_trex.evaluation.scoring`), which may be in another job.
    """
    return card_task(
        card,
        [{"index": index, "text": row.text, "answer": row.answer} for index, row in enumerate(rows)],
        metrics=["answered"],
        output_type="generate_until",
        doc_to_target=lambda doc: doc["answer"],
        process_results=lambda _, texts: {"answered": float(bool(texts[0].strip()))},
        generation_kwargs=decoding(card.metric),
    )


def card_task(card: TaskCard, docs: Sequence[Mapping[str, Any]], *, metrics: Iterable[str], **config: Any) -> Any:
    """Return a task of lm-eval over ``docs``, whose column ``text`` is what the model gets."""
    from datasets import Dataset, DatasetDict
    from lm_eval.api.task import ConfigurableTask

    class CardTask(ConfigurableTask):  # type: ignore[misc]
        """Hands the model exactly the text that the training formats; lm-eval would strip and join it anew."""

        def fewshot_context(self, doc: Mapping[str, str], *_: object, **__: object) -> str:
            return doc["text"]

    data = DatasetDict({"test": Dataset.from_list(list(docs))})
    return CardTask(
        config={
            "task": card.name,
            "custom_dataset": lambda **_: data,
            "test_split": "test",
            "doc_to_text": lambda doc: doc["text"],
            "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in metrics],
            "metadata": {"version": 1},
        }
        | config
    )
