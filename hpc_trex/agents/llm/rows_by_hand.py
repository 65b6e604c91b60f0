"""Rows of a recipe that is run by hand: the same questions as in a search, asked at once and waited for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel

from hpc_trex.agents.llm.client import LlmClient, Question
from hpc_trex.agents.llm.errors import LlmBadAnswer
from hpc_trex.agents.llm.keys import read_key
from hpc_trex.agents.llm.ledger import Ledger
from hpc_trex.agents.llm.row_asking import AT_ONCE
from hpc_trex.agents.llm.row_book import Batch, RowBook, memory_of, open_book
from hpc_trex.errors import TrexError
from hpc_trex.files import write_record
from hpc_trex.layout import cache
from hpc_trex.models import LlmSettings
from hpc_trex.models.asking import AnsweredRows, RowQuestion
from hpc_trex.models.base import digest
from hpc_trex.models.llm import EXECUTOR


class ByHand:
    """Asks for one recipe. What was paid stands in the user's cache, below ``rows/by-hand``: a run that was cut off goes on.

    The caps count all runs of the recipe with this model. Raises as :class:`LlmClient` does.
    """

    def __init__(self, settings: LlmSettings, recipe: str) -> None:
        self._settings = settings
        asked = memory_of(settings, cache()).name  # another model, decoding or wording asks anew
        self._folder = cache() / "rows" / "by-hand" / digest([recipe, asked])[:24]
        self._ledger = Ledger(self._folder)
        self._client = LlmClient(settings, self._ledger, key=read_key(settings))

    def ask(self, questions: Sequence[RowQuestion]) -> tuple[Path, AnsweredRows]:
        """Return the answers and the file that holds them.

        Raises LlmUnavailable, CredentialsMissing, LlmBudgetReached; what was answered before that is kept.
        """
        name = digest([one.key for one in questions])[:24]
        book = open_book(self._folder / f"known-{name}.jsonl", questions, self._settings, lambda _: None)
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            batches = list(book.batches)
            for batch, value in zip(batches, pool.map(lambda batch: self._value(book, batch), batches), strict=True):
                book.take(batch, value)
                book.paid(self._ledger.find(batch.name))
        except TrexError:
            raise  # those under way come to their end: they are paid
        except BaseException:
            self._client.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        rows = book.result()
        path = self._folder / "answers" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_record(path, rows)
        return path, rows

    def _value(self, book: RowBook, batch: Batch) -> BaseModel | None:
        """Return the answer to a batch; None where none came that could be used."""
        try:
            return self._client.ask(Question(batch.name, EXECUTOR, 0, book.messages(batch)), batch.form).value
        except LlmBadAnswer:
            return None
