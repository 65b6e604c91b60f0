"""Answers that are scored by a job of their own: what the model said goes into a file, and is judged where the metric's library is.

``answers.jsonl`` has a line for each row: its id, the raw text, and how it came to its end. The rows themselves stay where they are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hpc_trex.errors import EnvironmentProblem
from hpc_trex.evaluation.scoring import Evaluation, brought_together, judge_rows, ordered_flags
from hpc_trex.evaluation.tasks import EvalRow, read_rows
from hpc_trex.files import read_record, write_atomic
from hpc_trex.models import JobSpec, TaskCard
from hpc_trex.samples import EvaluatedRow, write_samples


class Said(NamedTuple):
    """What a model said to one row."""

    row_id: str
    text: str
    flags: tuple[str, ...] = ()
    """``truncated``, ``prompt_cut``."""


def can_wait(card: TaskCard) -> bool:
    """Tell whether the card's answers are texts: options are chosen, and tasks of lm-eval scored, beside the model."""
    return card.metric.mode == "generate" and card.metric.lm_eval is None


def write_answers(path: Path, said: Sequence[Said]) -> None:
    """Write answers as JSON lines, whole or not at all."""
    write_atomic(path, "".join(json.dumps(one._asdict(), ensure_ascii=False) + "\n" for one in said))


def read_answers(path: Path, rows: Sequence[EvalRow]) -> list[Said]:
    """Return the answers in the order of ``rows``. Raises :class:`EnvironmentProblem` for a file that has not one for each."""
    try:
        with path.open(encoding="utf-8", newline="\n") as handle:  # a model's text may hold other line ends (U+2028)
            lines = [json.loads(line) for line in handle]
        said = {str(one["row_id"]): Said(str(one["row_id"]), str(one["text"]), tuple(one["flags"])) for one in lines}
        return [said[row.row_id] for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnvironmentProblem(
            f"{path} does not hold an answer to each row: {type(error).__name__}: {error}",
            hint="the job that made it wrote it whole: it, or the rows, were changed since; hpc-trex retry makes it anew",
        ) from error


def score_answers(spec: JobSpec, answers: Path, samples: Path) -> Evaluation:
    """Judge answers by the task card's metric, write ``samples``, and return the score as the model's own job would."""
    began = time.monotonic()
    card = read_record(Path(spec.task_card), TaskCard)
    if card is None or spec.eval_rows is None:
        raise EnvironmentProblem(f"no valid task card at {spec.task_card}", hint="start the search anew")
    rows = read_rows(Path(spec.eval_rows), str)  # the prompts as a model gets them are not needed
    said = read_answers(answers, rows)
    judged = judge_rows(rows, (one.text for one in said), card.metric)
    flags = [ordered_flags((*one.flags, *found.flags)) for one, found in zip(said, judged, strict=True)]
    evaluation = brought_together(card, spec.evaluate, rows, judged, flags)
    write_samples(
        samples,
        (
            EvaluatedRow(row.row_id, row.prompt, one.text, row.answer, found.score, marks)
            for row, one, found, marks in zip(rows, said, judged, flags, strict=True)
        ),
    )
    evaluation.extra["score_seconds"] = time.monotonic() - began
    return evaluation
