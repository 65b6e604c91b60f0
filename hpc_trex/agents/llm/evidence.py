"""What literature and data sources say on a task: asked once a search, after the brief, beside the jobs; kept for replays."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from hpc_trex.agents.llm.fit import Part
from hpc_trex.errors import TrexError
from hpc_trex.files import write_atomic
from hpc_trex.layout import research_answers
from hpc_trex.models import Profile, TaskCard

#: Of the context: left out after the key rounds, before the way to the parent.
PRIORITY = 25
#: Findings of one source for one question.
LIMIT = 4


class Evidence:
    """The digest of all sources, in a file of the search; a thread makes it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._thread: threading.Thread | None = None
        self._found: str | None = None
        self._said: str | None = None

    @property
    def under_way(self) -> bool:
        """Whether the sources are being asked, or have answered and nobody has fetched it."""
        return self._thread is not None and self._said is None

    @property
    def asking(self) -> bool:
        """Whether the sources are being asked just now."""
        return self._thread is not None and self._thread.is_alive()

    def text(self, queries: Sequence[str], card: TaskCard, profile: Profile) -> str | None:
        """Return what was found; None while the sources are asked. Nothing that goes wrong there ends a search."""
        if self._said is None:
            self._said = self._found if self._found is not None else self._kept()
        if self._said is None and self._thread is None:
            self._thread = threading.Thread(
                target=self._ask, args=(tuple(queries), card, profile), name="research", daemon=True
            )
            self._thread.start()
        return self._said

    def wait(self, seconds: float) -> None:
        """Wait so long for the sources."""
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(seconds)
        else:
            time.sleep(seconds)

    def _kept(self) -> str | None:
        try:
            return self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def _ask(self, queries: tuple[str, ...], card: TaskCard, profile: Profile) -> None:
        from hpc_trex.research.http import Web
        from hpc_trex.research.hub import own_data_sets
        from hpc_trex.research.research import research
        from hpc_trex.research.sources import make_tools

        try:
            tools = make_tools(Web(research_answers(), network=profile.network), blocked=own_data_sets(card))
            text = research(queries, tools, limit=LIMIT).text
        except Exception as error:  # noqa: BLE001 # it is told to the model and to people; no search waits for it
            text = f"The sources could not be asked: {type(error).__name__}: {error}"
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._file, text)
        except (TrexError, OSError) as error:
            logging.getLogger(__name__).warning("what the sources said is not kept: %s", error)
        self._found = text


def part(text: str) -> list[Part]:
    """Return what was found as a part of a context; it is fenced already, and none of it is an instruction."""
    return [Part("What literature and data sources say", text, PRIORITY, "findings")] if text else []
