"""Operators whose rows a language model has seen. The job asks nobody: it looks its answers up, or names its questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from hpc_trex.data.errors import NeedsAnswers
from hpc_trex.data.operators.base import (
    EXAMPLES,
    Context,
    Drop,
    Outcome,
    column,
    dropped,
    from_rows,
    numbered,
    picked,
    texts,
)
from hpc_trex.data.seeds import choose
from hpc_trex.ftbench.rows import Row
from hpc_trex.models import digest
from hpc_trex.models.asking import LONGEST_ROW, Generate, Judge, Label, Rewrite, RowAnswer, RowQuestion, row_question

if TYPE_CHECKING:
    from datasets import Dataset

#: Note of such a step: the SHA-256 over the answers that its rows hang on.
ANSWERS = "answers_sha256"
NO_ANSWER = "the model gave no usable answer"


class _Asked(NamedTuple):
    """The answers of a step, by the place of their row, and what the manifest says of them."""

    answers: dict[int, RowAnswer]
    notes: dict[str, object]


def judge(step: Judge, data: Dataset, context: Context) -> Outcome:
    """Drop the rows to which the model gave fewer points than ``min_score``."""
    asked = _asked(step, data, context)
    bad = [place for place, one in asked.answers.items() if one.score is not None and one.score < step.min_score]
    silent = [place for place, one in asked.answers.items() if one.score is None]
    gone = {*bad, *silent}
    stays = [place for place in range(len(data)) if place not in gone]
    drops = [
        dropped(data, bad, f"the model gave less than {step.min_score} of 5 points"),
        dropped(data, silent, NO_ANSWER),
    ]
    return picked(data, stays, drops, **asked.notes)


def label(step: Label, data: Dataset, context: Context) -> Outcome:
    """Write the model's label as the answer."""
    asked = _asked(step, data, context)

    def change(row: Row, answer: RowAnswer) -> list[Row]:
        return [row._replace(answer=answer.label)] if answer.label in step.labels else []

    return _rewritten(data, asked, change, context)


def rewrite(step: Rewrite, data: Dataset, context: Context) -> Outcome:
    """Put what the model wrote in the place of the prompt, the answer or both."""
    asked = _asked(step, data, context)

    def change(row: Row, answer: RowAnswer) -> list[Row]:
        return [row._replace(**_texts_of(step, new.prompt, new.answer)) for new in answer.rows[:1]]

    return _rewritten(data, asked, change, context)


def _texts_of(step: Rewrite, prompt: str, answer: str) -> dict[str, str]:
    both = {"prompt": prompt, "answer": answer}
    return both if step.column == "both" else {step.column: both[step.column]}


def generate(step: Generate, data: Dataset, context: Context) -> Outcome:
    """Add the model's new rows, each after the one that it was made like. Its id is that row's with ``#1``, ``#2``, ..."""
    asked = _asked(step, data, context)
    taken = set(column(data, "row_id"))

    def change(row: Row, answer: RowAnswer) -> list[Row]:
        new = [row._replace(row_id=numbered(row.row_id, taken), prompt=one.prompt, answer=one.answer) for one in answer.rows[: step.each]]  # fmt: skip
        return [row, *new]

    outcome = _rewritten(data, asked, change, context)
    return outcome._replace(notes=outcome.notes | {"made": len(outcome.data) - len(data)})


def _rewritten(
    data: Dataset, asked: _Asked, change: Callable[[Row, RowAnswer], list[Row]], context: Context
) -> Outcome:
    lost: list[str] = []

    def rows() -> Iterator[Row]:
        for place, row in enumerate(Row(*values) for values in texts(data, *Row._fields)):
            answer = asked.answers.get(place)
            new = [row] if answer is None else change(row, answer)
            if not new:
                lost.append(row.row_id)
            yield from new

    made = from_rows(rows(), context.scratch)
    drops = (Drop(NO_ANSWER, len(lost), tuple(lost[:EXAMPLES])),) if lost else ()
    return Outcome(made, drops, notes=asked.notes)


def _asked(step: Generate | Rewrite | Judge | Label, data: Dataset, context: Context) -> _Asked:
    """Return the answers to the rows that the step draws. Raises :class:`NeedsAnswers` where some are missing."""
    fitting = [place for place, row in enumerate(texts(data, "prompt", "answer")) if sum(map(len, row)) <= LONGEST_ROW]
    places = fitting
    if len(fitting) > step.rows:
        ids = column(data, "row_id")
        places = [fitting[index] for index in choose(context.seed, [ids[place] for place in fitting], step.rows)]
    rows = zip(places, texts(data.select(places), "prompt", "answer"), strict=True)
    questions: dict[int, RowQuestion] = {place: row_question(step, *row) for place, row in rows}
    missing = {one.key: one for one in questions.values() if one.key not in context.answers}
    if missing:
        raise NeedsAnswers(step.op, tuple(missing.values()))
    answers = {place: context.answers[one.key] for place, one in questions.items()}
    notes: dict[str, object] = {
        ANSWERS: digest([one.model_dump(mode="json") for one in answers.values()]),
        "asked": len(questions),
        "answered": sum(one.usable for one in answers.values()),
        "too_long": len(data) - len(fitting),
    }
    return _Asked(answers, notes)
