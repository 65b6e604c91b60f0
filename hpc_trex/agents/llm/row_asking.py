"""Rows of a round's recipe that the model is asked about, beside the jobs: the Executor's part of ``generate`` and its kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hpc_trex.agents.llm.asking import Questions
from hpc_trex.agents.llm.errors import LlmBadAnswer, LlmBudgetReached
from hpc_trex.agents.llm.ledger import Ledger
from hpc_trex.agents.llm.row_book import Batch, RowBook, open_book, rows_asked
from hpc_trex.agents.protocol import NothingToPropose, StillThinking
from hpc_trex.errors import TrexError
from hpc_trex.models import LlmSettings
from hpc_trex.models.asking import AnsweredRows, RowQuestion
from hpc_trex.models.asking import Questions as Asked
from hpc_trex.models.llm import EXECUTOR

M = TypeVar("M", bound=BaseModel)

#: Questions about rows that are under way at a time.
AT_ONCE = 8


class AsksAboutRows:
    """The part of the Researcher ``llm`` that stands behind :meth:`hpc_trex.agents.protocol.Researcher.ask_rows`."""

    settings: LlmSettings
    questions: Questions
    ledger: Ledger
    _books: dict[tuple[int, int], RowBook]

    def _answer(
        self, node: int, name: str, role: str, answer: type[M], messages: Callable[[], Sequence[dict[str, Any]]]
    ) -> M:
        raise NotImplementedError

    def ask_rows(self, node: int, attempt: int, file: Path) -> AnsweredRows:
        """Return the answers to the questions in a job's ``file``; see the protocol."""
        if not self.settings.rows_cap:
            raise NothingToPropose
        book = self._books.get((node, attempt))
        if book is None:
            book = self._books[node, attempt] = self._opened(node, attempt, read_questions(file))
        trouble = self._ask(node, book)
        if trouble is not None:
            raise trouble
        if book.batches:
            raise StillThinking
        del self._books[node, attempt]
        return book.result()

    def _ask(self, node: int, book: RowBook) -> TrexError | None:
        """Fetch what has come in, and keep some questions under way; a batch without a usable answer is over too.

        Return why no more can be asked, once those under way have come to their end: they are paid, and a search that
        pauses at once would lose them.
        """
        waits = 0
        for batch in list(book.batches):
            if waits >= AT_ONCE:
                break
            if book.trouble is not None and not self.questions.under_way(node, batch.name):
                continue
            try:
                value: BaseModel | None = self._answer(node, batch.name, EXECUTOR, batch.form, _asks(book, batch))
            except StillThinking:
                waits += 1
                continue
            except LlmBadAnswer:
                value = None
            except TrexError as error:
                book.trouble = error
                continue
            book.take(batch, value)
            book.paid(self.ledger.find(f"node-{node:04d}/{batch.name}"))
        if waits or book.trouble is None:
            return None
        trouble, book.trouble = book.trouble, None
        return trouble

    def _opened(self, node: int, attempt: int, questions: Sequence[RowQuestion]) -> RowBook:
        path = self.ledger.folder / f"node-{node:04d}" / f"known-{attempt}.jsonl"
        return open_book(path, questions, self.settings.of(EXECUTOR), self._check_cap)

    def _check_cap(self, rows: int) -> None:
        asked = sum(rows_asked(path) for path in self.ledger.folder.glob("node-*/known-*.jsonl"))
        if asked + rows > self.settings.rows_cap:
            raise LlmBudgetReached(
                f"the recipes of this search asked about {asked} rows; {rows} more pass the cap of {self.settings.rows_cap}",
                hint="--llm-rows is the cap; fewer rows in the step",
            )


def _asks(book: RowBook, batch: Batch) -> Callable[[], list[dict[str, str]]]:
    return lambda: book.messages(batch)


def read_questions(file: Path) -> tuple[RowQuestion, ...]:
    """Return the questions in a job's file. Raises :class:`LlmBadAnswer` for one that is none."""
    try:
        return Asked.model_validate_json(file.read_bytes()).questions
    except (OSError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise LlmBadAnswer(f"the questions in {file} cannot be read: {first}") from error
