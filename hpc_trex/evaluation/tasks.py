"""A task card as an lm-eval task: our rows, our scorers, greedy answers (DESIGN section 7).

The task is built in memory and handed to lm-eval's evaluator directly, so lm-eval's index of some 14,000 built-in task
files, ten seconds on a slow file system, is never read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.metrics import FLAGS, Judged, judge
from hpc_trex.ftbench.frozen import decoding
from hpc_trex.models import TaskCard

COLUMNS = ("row_id", "prompt", "answer", "source")


class EvalRow(NamedTuple):
    """One row to evaluate; ``text`` is the prompt as the model gets it, chat markup included."""

    row_id: str
    prompt: str
    answer: str
    text: str


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
            except (ValueError, TypeError, KeyError) as error:
                raise UsageProblem(
                    f"{path}:{number}: not a row with {', '.join(COLUMNS)}: {error!r}",
                    hint="launch writes these files from the task card; start the search again if it was edited",
                ) from error
            rows.append(EvalRow(row_id, prompt, answer, render(prompt)))
    if not rows:
        raise UsageProblem(f"{path} holds no rows to evaluate", hint="correct the split in the task card")
    return rows


def compile_task(card: TaskCard, rows: Sequence[EvalRow], judged: dict[int, Judged]) -> Any:
    """Return the card as an ``lm_eval.api.task.ConfigurableTask`` over ``rows``, of type ``generate_until``.

    ``judged`` is filled with the judgement of each row, by the row's position, when lm-eval runs the task.

    Its per-sample results are ``score`` (0 to 1), one 0 or 1 for each flag that an answer's text can earn, and the
    metric's further scores. Sets and intervals are ours (``hpc_trex.evaluation.intervals``).
    """
    from datasets import Dataset, DatasetDict
    from lm_eval.api.task import ConfigurableTask

    class CardTask(ConfigurableTask):  # type: ignore[misc]
        """Hands the model exactly the text that the training formats; lm-eval would strip and join it anew."""

        def fewshot_context(self, doc: Mapping[str, str], *_: object, **__: object) -> str:
            return doc["text"]

    def score(doc: Mapping[str, Any], texts: Sequence[str]) -> dict[str, float]:
        judged[doc["index"]] = judge(texts[0], doc["answer"], card.metric)
        return numbers(judged[doc["index"]])

    docs = [{"index": index, **row._asdict()} for index, row in enumerate(rows)]
    data = DatasetDict({"test": Dataset.from_list(docs)})
    names = numbers(judge("", rows[0].answer, card.metric))
    return CardTask(
        config={
            "task": card.name,
            "custom_dataset": lambda **_: data,
            "test_split": "test",
            "output_type": "generate_until",
            "doc_to_text": lambda doc: doc["text"],
            "doc_to_target": lambda doc: doc["answer"],
            "process_results": score,
            "generation_kwargs": decoding(card.metric),
            "metric_list": [
                {"metric": name, "aggregation": "mean", "higher_is_better": name not in FLAGS} for name in names
            ],
            "metadata": {"version": 1},
        }
    )


def numbers(judged: Judged) -> dict[str, float]:
    """Return a judgement as lm-eval wants it: the same names for every answer, all numbers."""
    flags = {flag: float(flag in judged.flags) for flag in FLAGS if flag not in ("truncated", "prompt_cut")}
    return {"score": judged.score, **flags, **dict(judged.also)}
