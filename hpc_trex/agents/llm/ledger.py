"""The calls of a search on disk: who asks again gets the recorded answer, and what was used is counted once."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple

from hpc_trex.agents.llm.pricing import added
from hpc_trex.files import read_record, write_record
from hpc_trex.models import LlmCall, LlmUsage

_CALL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9_-]{0,99}){0,5}")
_FAILED = re.compile(r"(?P<call>.+)\.failed-(?P<number>\d+)\.json")
CHARACTERS_A_TOKEN = 4


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


class _Entry(NamedTuple):
    """What the sums need of one record, read once as long as its file is the same."""

    stamp: tuple[int, int]
    node: int
    usage: LlmUsage
    guessed: int


class Ledger:
    """``SEARCH/llm/``: one JSON file a call, ``CALL.json``; attempts that came to nothing stand beside it as
    ``CALL.failed-1.json``, ``CALL.failed-2.json``. A search is replayed by copying another's folder before its start.

    Safe for several threads. A call's identity is words of letters, digits, ``_`` and ``-``, parted by ``/``;
    any other is refused with ValueError.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._entries: dict[Path, _Entry] = {}

    def path(self, call: str) -> Path:
        """Return where a call's answer stands, or will stand."""
        if not _CALL.fullmatch(call):
            raise ValueError(f"no identity of a call: {call!r}")
        return self.folder / f"{call}.json"

    def find(self, call: str) -> LlmCall | None:
        """Return the recorded call that came to an answer; None where there is none."""
        found = read_record(self.path(call), LlmCall)
        return found if found is not None and found.value is not None else None

    def record(self, call: LlmCall) -> None:
        """Write a call: an answer to its own file, a failure beside it under the next number.

        A failure that cost nothing takes the place of one before it that cost nothing: an endpoint that is away for
        days fills no disk.
        """
        path = self.path(call.call)
        with self._lock:
            path.parent.mkdir(parents=True, exist_ok=True)
            if call.value is None:
                last, path = self._failures(call.call)
                before = read_record(last, LlmCall) if last else None
                if last and before and _free(before) and _free(call) and before.digest == call.digest:
                    path = last
                    call = call.model_copy(update={"usage": added(before.usage, call.usage)})
            write_record(path, call)

    def calls(self, node: int | None = None) -> list[LlmCall]:
        """Return all records, failed ones before the answer they led to, of one node or of all."""
        return [call for _, call in self.named() if node in (None, call.node)]

    def named(self, known: Container[str] = ()) -> Iterator[tuple[str, LlmCall]]:
        """Yield the records with the names of their files, in that order; those of ``known`` names are left out unread."""
        names = {self._name(path): path for path in self._files()}
        for name in sorted((name for name in names if name not in known), key=_order):
            call = read_record(names[name], LlmCall)
            if call is not None:
                yield name, call

    def spent(self, node: int | None = None) -> Spent:
        """Return what the calls of a node, or of all nodes, used."""
        with self._lock:
            entries = [entry for path in self._files() if (entry := self._entry(path)) and node in (None, entry.node)]
        total, unknown, guessed = LlmUsage(), 0, 0
        for entry in entries:
            total = added(total, entry.usage)
            unknown += entry.guessed > 0
            guessed += entry.guessed
        return Spent(
            total.tokens_in or 0,
            total.tokens_out or 0,
            total.tokens_cached or 0,
            total.money or 0.0,
            total.seconds,
            total.requests,
            len(entries),
            unknown,
            guessed,
        )

    def _failures(self, call: str) -> tuple[Path | None, Path]:
        """Return the last failure of a call, if any, and the path of the next."""
        path = self.path(call)
        numbers = [
            int(match["number"])
            for other in path.parent.iterdir()
            if (match := _FAILED.fullmatch(other.name)) and match["call"] == path.stem
        ]
        last = max(numbers, default=0)
        paths = [path.with_name(f"{path.stem}.failed-{number}.json") for number in (last, last + 1)]
        return (paths[0] if numbers else None), paths[1]

    def _files(self) -> Iterator[Path]:
        return (path for path in self.folder.rglob("*.json") if not path.name.startswith("."))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).with_suffix("").as_posix()

    def _entry(self, path: Path) -> _Entry | None:
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._entries.get(path)
        if known is None or known.stamp != stamp:
            call = read_record(path, LlmCall)
            if call is None:
                return None
            known = self._entries[path] = _Entry(stamp, call.node, call.usage, _guess(call))
        return known


def _free(call: LlmCall) -> bool:
    """Tell whether a failed call got nothing from the server that could have been paid."""
    return call.value is None and not call.replies and call.usage.tokens_in is None and call.usage.tokens_out is None


def _guess(call: LlmCall) -> int:
    """Return a guess of the tokens of a call whose server told none; 0 where it did, or where nothing was answered."""
    if call.usage.tokens_in is not None or call.usage.tokens_out is not None or not call.replies:
        return 0
    text = json.dumps(call.messages, ensure_ascii=False) + "".join(call.replies)
    return len(text) // CHARACTERS_A_TOKEN


def _order(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return what names are sorted by, numbers as numbers: ``a.failed-1``, ``a``, ``a-2``, ``a-10``."""
    pieces = re.split(r"(\d+)", name.replace(".failed", "\0") + "\1")
    return tuple((0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces)
