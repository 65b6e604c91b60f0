"""The questions about rows of one data recipe: put together some rows at a time, asked, taken apart again, remembered.

Which rows go together follows from the questions alone, and a question's name from its rows. So a controller that died
finds what it had paid for under the same name. What is known of a row by its content, from whatever recipe, is not asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from hpc_trex.agents.llm.answers import CONTROL, ShortText
from hpc_trex.agents.llm.endpoint import plain
from hpc_trex.agents.llm.fence import fence, neutral
from hpc_trex.agents.llm.pricing import added
from hpc_trex.agents.llm.prompts import Prompt, load_prompt
from hpc_trex.errors import TrexError
from hpc_trex.files import read_record, temporary_name, write_atomic
from hpc_trex.layout import cache
from hpc_trex.models import LlmCall, LlmSettings, LlmUsage
from hpc_trex.models.asking import (
    LONGEST_ANSWER,
    AnsweredRows,
    Generate,
    Judge,
    Label,
    NewRow,
    Rewrite,
    RowAnswer,
    RowQuestion,
)
from hpc_trex.models.base import Record, digest

#: Rows of one question at most, and characters of them together by what a question and an answer may hold. Dense text has
#: two characters a token; the rest is room for the prompt and for JSON.
MOST_ROWS = 10
CHARS_A_TOKEN = 1.5

Words = Annotated[str, Field(max_length=LONGEST_ANSWER), AfterValidator(lambda text: CONTROL.sub("", text).strip())]


class JudgedRow(Record):
    """Points of one row."""

    row: int
    reason: ShortText
    score: int = Field(ge=1, le=5)


class JudgedRows(Record):
    """Answer to ``judge``."""

    rows: tuple[JudgedRow, ...]


class LabelledRow(Record):
    """Label of one row, empty where none fits."""

    row: int
    label: Words


class LabelledRows(Record):
    """Answer to ``label``."""

    rows: tuple[LabelledRow, ...]


class WrittenRow(Record):
    """A row as the model wrote it; ``row`` is the number of the one that it was made of."""

    row: int
    prompt: Words
    answer: Words


class RewrittenRows(Record):
    """Answer to ``rewrite``."""

    rows: tuple[WrittenRow, ...]


class GeneratedRows(Record):
    """Answer to ``generate``."""

    rows: tuple[WrittenRow, ...]


FORMS: dict[str, type[BaseModel]] = {
    "judge": JudgedRows,
    "label": LabelledRows,
    "rewrite": RewrittenRows,
    "generate": GeneratedRows,
}


class Batch(NamedTuple):
    """Rows of one step that are asked about together; those that are known are left out, their numbers stay free."""

    name: str
    questions: tuple[RowQuestion, ...]
    open: tuple[int, ...]
    """Numbers, from 1, of the rows that are not known."""

    @property
    def form(self) -> type[BaseModel]:
        """The schema of the answer."""
        return FORMS[self.questions[0].step.op]


class RowBook:
    """All questions of one preparation. ``known`` are answers from before; ``memory`` the folder of this model's answers."""

    def __init__(
        self, questions: Sequence[RowQuestion], known: Iterable[RowAnswer], settings: LlmSettings, memory: Path | None
    ) -> None:
        self._settings = settings
        self._prompt = load_prompt("data")
        self._memory = memory
        self._questions = {one.key: one for one in questions}
        self.remembered = {one.key: one for one in known if one.key in self._questions}
        self._answers = dict(self.remembered)
        self.batches = self._batches()
        self.trouble: TrexError | None = None
        """Why no further question can be asked now."""
        self._calls: list[str] = []
        self._usage = LlmUsage()

    @property
    def asked(self) -> int:
        """Rows that the model is asked about."""
        return sum(len(batch.open) for batch in self.batches)

    def _batches(self) -> list[Batch]:
        groups: list[list[RowQuestion]] = []
        chars = 0
        for one in self._questions.values():
            length, room = len(one.prompt) + len(one.answer), self._room(one)
            last = groups[-1] if groups else []
            if not last or last[-1].step != one.step or len(last) >= MOST_ROWS or chars + length > room:
                groups.append([])
                chars = 0
            groups[-1].append(one)
            chars += length
        made = []
        for group in groups:
            unknown = tuple(number for number, one in enumerate(group, 1) if one.key not in self._answers)
            if unknown:
                name = f"rows-{digest([one.key for one in group])[:20]}"
                made.append(Batch(name, tuple(group), unknown))
        return made

    def _room(self, question: RowQuestion) -> float:
        """Return the characters of rows that one question may hold: what is written anew must fit into the answer too."""
        step = question.step
        tokens = float(self._settings.context_tokens)
        if isinstance(step, Generate | Rewrite):
            tokens = min(tokens, self._settings.max_tokens / (step.each if isinstance(step, Generate) else 1))
        return tokens * CHARS_A_TOKEN

    def messages(self, batch: Batch) -> list[dict[str, str]]:
        """Return the question about a batch."""
        step = batch.questions[0].step
        values: dict[str, object] = {"instruction": neutral(step.instruction)}
        if isinstance(step, Generate):
            values["each"] = step.each
        elif isinstance(step, Rewrite):
            values["column"] = step.column
        elif isinstance(step, Label):
            values["labels"] = fence("\n".join(step.labels))
        lines = []
        for number in batch.open:
            one = batch.questions[number - 1]
            lines.append(json.dumps({"row": number, "prompt": one.prompt, "answer": one.answer}, ensure_ascii=False))
        user = self._prompt.user(step.op, context=f"### Rows\n{fence(chr(10).join(lines))}", **values)
        return [{"role": "system", "content": self._prompt.system()}, {"role": "user", "content": user}]

    def take(self, batch: Batch, value: BaseModel | None) -> None:
        """Note the answer to a batch; None: none came that could be used. Usable ones are remembered for other recipes."""
        said = _by_row(value)
        for number in batch.open:
            question = batch.questions[number - 1]
            answer = row_answer(question, said.get(number, []))
            self._answers[question.key] = answer
            if answer.usable and self._memory is not None:
                remember(self._memory, answer)
        self.batches.remove(batch)

    def paid(self, call: LlmCall | None) -> None:
        """Count what a recorded call used."""
        if call is not None:
            self._calls.append(call.call)
            self._usage = added(self._usage, call.usage)

    def result(self) -> AnsweredRows:
        """Return all answers with where they come from, once no batch is open."""
        assert not self.batches, "a question is open"
        return AnsweredRows(
            model=self._settings.model,
            base_url=plain(self._settings.base_url or ""),
            prompt_digest=prompt_digest(self._prompt),
            calls=tuple(sorted(self._calls)),
            remembered=len(self.remembered),
            usage=self._usage,
            answers=tuple(self._answers[key] for key in self._questions),
        )


def _by_row(value: BaseModel | None) -> dict[int, list[Any]]:
    """Return what was said of each row. Of one that was named twice by ``judge`` and ``label`` the first counts."""
    found: dict[int, list[Any]] = {}
    for item in value.rows if value is not None else ():  # type: ignore[attr-defined]
        found.setdefault(item.row, []).append(item)
    return found


def row_answer(question: RowQuestion, said: Sequence[Any]) -> RowAnswer:
    """Return what was said of a row as its answer: bounded, of the step's form, or nothing."""
    step = question.step
    if not said:
        return RowAnswer(key=question.key)
    if isinstance(step, Judge):
        return RowAnswer(key=question.key, score=said[0].score)
    if isinstance(step, Label):
        given = said[0].label.strip().casefold()
        return RowAnswer(key=question.key, label=next((one for one in step.labels if one.casefold() == given), None))
    most = step.each if isinstance(step, Generate) else 1
    rows = [new for one in said if (new := _new_row(question, one)) is not None]
    return RowAnswer(key=question.key, rows=tuple(rows[:most]))


def _new_row(question: RowQuestion, written: WrittenRow) -> NewRow | None:
    """Return a written row; of ``rewrite`` what may not be changed is as it was, of ``generate`` no copy of its origin."""
    step, prompt, answer = question.step, written.prompt, written.answer
    if isinstance(step, Rewrite):
        prompt = question.prompt if step.column == "answer" else prompt
        answer = question.answer if step.column == "prompt" else answer
    elif " ".join(prompt.split()).casefold() == " ".join(question.prompt.split()).casefold():
        return None
    try:
        return NewRow(prompt=prompt, answer=answer)
    except ValidationError:  # an empty text, or half a surrogate pair: as good as none
        return None


def prompt_digest(prompt: Prompt) -> str:
    """Return the SHA-256 over the sections of a prompt file."""
    return digest(prompt.sections)


def memory_of(settings: LlmSettings, root: Path) -> Path:
    """Return the folder of what a model said of rows: by model, server, decoding and the words of the prompt.

    A model that searches serve themselves has another address each time, and is known by its name.
    """
    where = "served" if settings.served is not None else plain(settings.base_url or "")
    words = prompt_digest(load_prompt("data"))
    return root / "rows" / digest([settings.model, where, settings.temperature, settings.max_tokens, words])[:24]


def remember(memory: Path, answer: RowAnswer) -> None:
    """Write an answer for other recipes to find. Not flushed to disk, which would cost a tick a second: the call is on record,
    and an answer that a power cut has damaged is as good as none.
    """
    path = _memory_file(memory, answer.key)
    with contextlib.suppress(OSError):  # a full or read-only cache: the search has the answer, only others pay again
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = temporary_name(path)
        beside.write_text(answer.model_dump_json(), encoding="utf-8")
        beside.replace(path)


def recall(memory: Path, questions: Iterable[RowQuestion]) -> list[RowAnswer]:
    """Return the answers that are remembered to these questions."""
    found = (read_record(_memory_file(memory, one.key), RowAnswer) for one in questions)
    return [answer for answer in found if answer is not None and answer.usable]


def _memory_file(memory: Path, key: str) -> Path:
    name = hashlib.sha256(key.encode()).hexdigest()  # a key comes from a job's file: it names no path
    return memory / name[:2] / f"{name}.json"


def open_book(
    path: Path, questions: Sequence[RowQuestion], settings: LlmSettings, check: Callable[[int], None]
) -> RowBook:
    """Return the questions with what is remembered of them, which is written to ``path`` before anything is asked: who comes
    later, and a replay, must find the same rows open. ``check`` is given the number of these and may raise.

    Raises :class:`TrexError` where ``path`` is damaged.
    """
    memory = memory_of(settings, cache())
    known = _read_known(path)
    if known is not None:
        return RowBook(questions, known, settings, memory)
    known = recall(memory, questions)
    book = RowBook(questions, known, settings, memory)
    check(book.asked)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"asked": book.asked}), *(one.model_dump_json() for one in known)]
    write_atomic(path, "".join(f"{line}\n" for line in lines))
    return book


def _read_known(path: Path) -> list[RowAnswer] | None:
    """Return what was known when the questions were first looked at; None where nobody has."""
    try:
        with path.open(encoding="utf-8", newline="\n") as handle:  # a model's text may hold other line ends (U+2028)
            return [RowAnswer.model_validate_json(line) for line in islice(handle, 1, None)]
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def rows_asked(path: Path) -> int:
    """Return how many rows the model was asked, by a file that :func:`open_book` wrote. Raises as that does."""
    try:
        with path.open(encoding="utf-8") as handle:
            return int(json.loads(handle.readline())["asked"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> TrexError:
    return TrexError(f"{path} cannot be read: {error}", hint=f"remove {path}: it is made anew")
