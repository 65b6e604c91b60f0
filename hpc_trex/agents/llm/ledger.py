"""The calls of a search on disk: who asks again gets the recorded answer, and what was used is counted once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from hpc_trex.models import LlmCall


class Spent(NamedTuple):
    """What all calls of a search used, failed ones included. Sums of what servers said."""

    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    money: float = 0.0
    seconds: float = 0.0
    requests: int = 0
    calls: int = 0
    unknown: int = 0
    """Calls whose tokens no server told."""
    tokens_guessed: int = 0
    """Of those calls, a quarter of their characters: only the cap looks at it."""


class Ledger:
    """``SEARCH/llm/``: one JSON file a call, ``CALL.json``; attempts that came to nothing stand beside it as
    ``CALL.failed-1.json``, ``CALL.failed-2.json``. A search is replayed by copying another's folder before its start.

    Safe for several threads. A call's identity is words of letters, digits, ``_`` and ``-``, parted by ``/``;
    any other is refused with ValueError.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, call: str) -> LlmCall | None:
        """Return the recorded call that came to an answer; None where there is none."""
        raise NotImplementedError

    def record(self, call: LlmCall) -> None:
        """Write a call: an answer to its own file, a failure beside it under the next number."""
        raise NotImplementedError

    def calls(self, node: int | None = None) -> list[LlmCall]:
        """Return all records, failed ones before the answer they led to, of one node or of all."""
        raise NotImplementedError

    def spent(self, node: int | None = None) -> Spent:
        """Return what the calls of a node, or of all nodes, used."""
        raise NotImplementedError
