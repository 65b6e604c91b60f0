"""Questions beside the tick: asked in threads, known by their names, and given their recorded answers (decision 0015)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

from pydantic import BaseModel

from hpc_trex.agents.llm.client import LlmClient, Question
from hpc_trex.agents.llm.errors import LlmBadAnswer, LlmUnavailable
from hpc_trex.agents.llm.ledger import Ledger
from hpc_trex.agents.llm.replay import is_replay
from hpc_trex.agents.llm.served import Served
from hpc_trex.agents.protocol import StillThinking
from hpc_trex.models import LlmCall, LlmSettings
from hpc_trex.models.llm import EXECUTOR, RESEARCHER, REVIEWER

__all__ = ["EXECUTOR", "RESEARCHER", "REVIEWER", "Questions"]

M = TypeVar("M", bound=BaseModel)


class Questions:
    """The questions of one search. Called from the controller's thread only."""

    def __init__(self, settings: LlmSettings, client: LlmClient, ledger: Ledger) -> None:
        self._settings = settings
        self._client = client
        self._ledger = ledger
        self._replays = is_replay(ledger.folder)
        self.server: Served | None = None
        """The model is served by a job of the search; the controller sets it."""
        self._asking: dict[str, Future[BaseModel]] = {}
        self._sought: set[str] = set()
        """Questions whose answers somebody wanted since the last :meth:`new_calls`."""
        self._unwanted: set[str] = set()
        """Questions that have come to an end, and nobody wanted to know: their round was cancelled, say."""
        self._ended: list[int] | None = None
        """Nodes with calls that came to an end since they were booked; None: all that lie on disk are to be booked."""

    @property
    def open(self) -> bool:
        """Whether a question is under way, or an answer is there that somebody will fetch."""
        return any(call not in self._unwanted for call in self._asking)

    def answer(
        self, node: int, name: str, role: str, answer: type[M], messages: Callable[[], Sequence[dict[str, Any]]]
    ) -> M:
        """Return the recorded answer to a question, or begin to ask it. Raises StillThinking meanwhile."""
        call = f"node-{node:04d}/{name}"
        self._sought.add(call)
        self._unwanted.discard(call)
        asked = self._asking.get(call)
        if asked is None:
            known = self.recorded(call, answer)
            if known is not None:
                return known
            if self._replays:
                raise LlmBadAnswer(f"{call} is not among the recorded answers of the search that is replayed")
            settings = self._endpoint(role)
            self._begin(Question(call, role, node, messages()), answer, settings)
            raise StillThinking
        if not asked.done():
            raise StillThinking
        del self._asking[call]
        if self._ended is not None:
            self._ended.append(node)
        try:
            given = asked.result()
        except LlmUnavailable as error:
            if self.server is not None and self._settings.of(role).served is not None and self.server.lost():
                raise StillThinking from error  # another server is started, and asked again
            raise
        assert isinstance(given, answer)
        return given

    def recorded(self, call: str, answer: type[M]) -> M | None:
        """Return the recorded answer to a question; None where there is none. Asks nobody.

        Raises LlmBadAnswer for one that does not fit this version of the program.
        """
        if self._ledger.find(call) is None:
            return None
        return self._client.ask(Question(call, RESEARCHER, 0, ()), answer).value

    def under_way(self, node: int, name: str) -> bool:
        """Tell whether a question has been begun whose answer nobody has fetched."""
        return f"node-{node:04d}/{name}" in self._asking

    def another(self, node: int, beginning: str, name: str) -> bool:
        """Tell whether a round's question with such a beginning of its name is open, other than this one."""
        own = f"node-{node:04d}/"
        open_ones = [call for call in self._asking if call not in self._unwanted]
        return any(call.startswith(f"{own}{beginning}") and call != f"{own}{name}" for call in open_ones)

    @property
    def asking(self) -> bool:
        """Whether a question is under way."""
        return any(not future.done() for future in self._asking.values())

    def close(self) -> None:
        """End the questions under way. What they have not recorded is asked again by the next controller."""
        self._client.close()

    def _endpoint(self, role: str) -> LlmSettings:
        """Return where an agent asks. Raises StillThinking while the search's own server starts."""
        own = self._settings.of(role)
        if self.server is None or own.served is None:
            return own
        served = self.server.settings()
        if served is None:
            raise StillThinking
        return served.of(role)

    def _begin(self, question: Question, answer: type[BaseModel], settings: LlmSettings) -> None:
        """Ask in a thread that does not keep the process: what it has not recorded when that ends is asked again."""
        future: Future[BaseModel] = Future()

        def run() -> None:
            try:
                future.set_result(self._client.ask(question, answer, settings=settings).value)
            except BaseException as error:  # noqa: BLE001 # it is raised in the thread that fetches the answer
                future.set_exception(error)

        self._asking[question.call] = future
        threading.Thread(target=run, name=question.call, daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Sleep so long, or until an answer has come in."""
        under_way = [asked for asked in self._asking.values() if not asked.done()]
        if under_way:
            wait(under_way, timeout=seconds, return_when=FIRST_COMPLETED)
        else:
            time.sleep(seconds)

    def new_calls(self, known: Container[str]) -> list[LlmCall]:
        """Return the calls that came to an end and whose names are not known; a failed one is named as its file."""
        # Also of answers that nobody has fetched, and perhaps nobody will: they are paid.
        unfetched = [_node_of(call) for call, asked in self._asking.items() if asked.done()]
        nodes = None if self._ended is None else {*self._ended, *unfetched}
        self._ended = []
        self._unwanted = {call for call, asked in self._asking.items() if asked.done() and call not in self._sought}
        self._sought = set()
        if nodes is not None and not nodes:
            return []
        return [
            call if call.value is not None else call.model_copy(update={"call": name})
            for name, call in self._ledger.named(known)
            if nodes is None or call.node in nodes
        ]


def _node_of(call: str) -> int:
    return int(call.removeprefix("node-").partition("/")[0])
