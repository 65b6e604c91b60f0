"""The data operators that ask a language model about rows, and what passes between their job and whoever asks.

A job holds no key. It looks up the answers that it was given; where some are missing it writes its questions, ends with
failure class ASKS, and is started again with their answers (docs/decisions/0024-rows-of-a-model.md).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from hpc_trex.models.base import Record, digest
from hpc_trex.models.llm import LlmUsage

#: Longest text of an answer, in characters: no training row of a card is longer by much.
LONGEST_ANSWER = 50_000
#: Rows of more characters are not asked about.
LONGEST_ROW = 12_000


def _text(value: str) -> str:
    value.encode()  # half of a surrogate pair is no text: UnicodeEncodeError is a ValueError
    if not value.strip():
        raise ValueError("empty")
    return value


Text = Annotated[str, Field(min_length=1, max_length=LONGEST_ANSWER), AfterValidator(_text)]
Instruction = Annotated[str, Field(min_length=1, max_length=2000)]
MostRows = Annotated[int, Field(ge=1, le=20_000)]


class Generate(Record):
    """Ask the language model for new rows like those there are: ``each`` new ones for each of ``rows`` drawn rows.

    The rows stay, the new ones follow theirs and belong to its source. Follow it by ``judge``: a model's rows may be wrong.
    """

    op: Literal["generate"] = "generate"
    instruction: Instruction
    """What shall be new in them, e.g. ``harder sums, with two carries``."""
    rows: MostRows = 100
    each: int = Field(default=1, ge=1, le=5)


class Rewrite(Record):
    """Ask the language model to write rows anew: all, or ``rows`` drawn ones; the others stay as they are.

    A row to which no usable answer came is dropped.
    """

    op: Literal["rewrite"] = "rewrite"
    instruction: Instruction
    column: Literal["prompt", "answer", "both"] = "answer"
    rows: MostRows = 200


class Judge(Record):
    """Ask the language model how well rows meet a criterion, 1 to 5, and drop those below ``min_score``.

    All rows, or ``rows`` drawn ones; the others stay. A row to which no usable answer came is dropped.
    """

    op: Literal["judge"] = "judge"
    instruction: Instruction
    """The criterion, e.g. ``the answer is right and complete``."""
    min_score: int = Field(default=3, ge=2, le=5)
    rows: MostRows = 200


class Label(Record):
    """Ask the language model for the answer of rows, one of ``labels``; a row of which it gives none is dropped.

    All rows, or ``rows`` drawn ones; the others stay as they are.
    """

    op: Literal["label"] = "label"
    instruction: Instruction
    """When which label is right."""
    labels: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(min_length=2, max_length=50)
    rows: MostRows = 200


Asking = Annotated[Generate | Rewrite | Judge | Label, Field(discriminator="op")]
#: The classes of the operators that ask.
ASKING = (Generate, Rewrite, Judge, Label)


class RowQuestion(Record):
    """One row that the model is asked about. Its key is its content: equal questions have one answer."""

    key: str
    step: Asking
    prompt: str
    answer: str


def row_question(step: Generate | Rewrite | Judge | Label, prompt: str, answer: str) -> RowQuestion:
    """Return the question of a step about a row; how many rows are drawn, and what score suffices, is no part of it."""
    asked = step.model_dump(mode="json", exclude={"rows", "min_score"})
    return RowQuestion(key=digest([asked, prompt, answer]), step=step, prompt=prompt, answer=answer)


class NewRow(Record):
    """Prompt and answer as the model wrote them."""

    prompt: Text
    answer: Text


class RowAnswer(Record):
    """What the model said of one row. With nothing in it: no usable answer came."""

    key: str
    score: int | None = Field(default=None, ge=1, le=5)
    """Of ``judge``."""
    label: str | None = None
    """Of ``label``."""
    rows: tuple[NewRow, ...] = Field(default=(), max_length=5)
    """Of ``rewrite`` one, of ``generate`` up to ``each``."""

    @property
    def usable(self) -> bool:
        """Whether there is an answer."""
        return self.score is not None or self.label is not None or bool(self.rows)


class Questions(Record):
    """``questions.json`` of a job that ended with ASKS."""

    questions: tuple[RowQuestion, ...] = Field(min_length=1)


class AnsweredRows(Record):
    """The answers to the questions of one job, with where they come from: a recorded source of the recipe."""

    model: str
    base_url: str = ""
    """Without user, password and query."""
    prompt_digest: str
    """SHA-256 over the prompt file's sections: what was asked in which words."""
    calls: tuple[str, ...] = ()
    """Names of the recorded calls (``llm/CALL.json`` of the search)."""
    remembered: int = 0
    """Rows whose answers were known from earlier recipes: nothing was paid for them."""
    usage: LlmUsage = LlmUsage()
    answers: tuple[RowAnswer, ...]
