"""The event log ``events.jsonl``: the truth of a search (DESIGN section 5).

One event a line, numbered from 1 without gaps, so the number of a line is the number of its event. There is one writer.
A line that a crash cut short can only be the last one; it was never acted upon, so it is moved aside. Anything
broken before the last line is damage, and named.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from hpc_trex.errors import EnvironmentProblem, LeaseHeld, UsageProblem
from hpc_trex.files import DISK_ERRORS, disk_problem, is_newer, newer_problem, sync_folder, write_atomic
from hpc_trex.tree.events import EVENT_LINE, EventLine

#: A file-size limit (``ulimit -f``) stops a write as a full disk does.
WRITE_ERRORS = (*DISK_ERRORS, errno.EFBIG)


class Entry(NamedTuple):
    """One event and the byte at which its line ends."""

    line: EventLine
    end: int


def encode(line: EventLine) -> bytes:
    """Return the line as it stands in the log. JSON escapes line breaks, so it is one line."""
    return EVENT_LINE.dump_json(line) + b"\n"


class EventReader:
    """Iterates over the events after ``seq``, whose line ends at byte ``offset``.

    After the iteration ``end`` is where the last whole line ends, and ``torn`` holds the bytes of a last line that is
    not whole. Raises :class:`EnvironmentProblem`, with the line's number, for damage before the last line.
    """

    def __init__(self, path: Path, *, offset: int = 0, seq: int = 0) -> None:
        self.path = path
        self.end = offset
        self.seq = seq
        self.torn = b""

    def __iter__(self) -> Iterator[Entry]:
        with self.path.open("rb") as handle:
            handle.seek(self.end)
            for raw in handle:
                try:
                    entry = self._entry(raw)
                except ValueError as error:  # pydantic's ValidationError is one
                    # What a newer program wrote is whole, and never cut off.
                    if raw.endswith(b"\n") and (is_newer(error) or handle.read(1)):
                        raise self._damaged(error) from error
                    self.torn = raw
                    return
                yield entry

    def _entry(self, raw: bytes) -> Entry:
        if not raw.endswith(b"\n"):
            raise ValueError("the line has no end")
        line = EVENT_LINE.validate_json(raw)
        if line.seq != self.seq + 1:
            raise self._damaged(f"event {line.seq} stands where {self.seq + 1} is due")
        self.seq = line.seq
        self.end += len(raw)
        return Entry(line, self.end)

    def _damaged(self, why: ValueError | str) -> EnvironmentProblem:
        if isinstance(why, ValueError) and is_newer(why):
            return newer_problem(f"{self.path} line {self.seq + 1}")
        if isinstance(why, ValidationError):
            first = why.errors(include_url=False, include_input=False)[0]
            why = f"{'.'.join(map(str, first['loc']))} {first['msg']}".strip()
        return EnvironmentProblem(
            f"{self.path} line {self.seq + 1} is damaged: {why}",
            hint="restore the file from a backup; hpc-trex db check lists what disagrees",
        )


class EventLog:
    """The writer's end of the log. ``size`` is where the last whole line ends."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    @classmethod
    def create(cls, path: Path) -> EventLog:
        """Make an empty log. Raises :class:`UsageProblem` when there is one already."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError as error:
            raise UsageProblem(
                f"{path.parent} holds a search already",
                hint="choose another --name, or go on with it: hpc-trex resume",
            ) from error
        except OSError as error:
            if error.errno in WRITE_ERRORS:
                raise disk_problem(error, path) from error
            raise
        sync_folder(path.parent)
        return cls(path, descriptor)

    @classmethod
    def open(cls, path: Path) -> EventLog:
        """Open an existing log for appending."""
        try:
            return cls(path, os.open(path, os.O_WRONLY | os.O_APPEND))
        except OSError as error:
            if error.errno in WRITE_ERRORS:
                raise disk_problem(error, path) from error
            raise

    def append(self, raw: bytes) -> None:
        """Add one whole line and flush it to the disk.

        Raises :class:`EnvironmentProblem` when the disk refuses, after cutting the file back to its last whole line,
        and :class:`LeaseHeld` when somebody else has written to it.
        """
        if os.fstat(self._descriptor).st_size != self.size:
            raise LeaseHeld(
                f"another process has written to {self.path}",
                hint="one controller at a time: end the other one, then: hpc-trex resume",
            )
        try:
            self._write(raw)
        except OSError as error:
            with contextlib.suppress(OSError):  # if this fails too, the next open() cuts the torn line off
                os.ftruncate(self._descriptor, self.size)
            if error.errno in WRITE_ERRORS:
                raise disk_problem(error, self.path) from error
            raise
        self.size += len(raw)

    def _write(self, raw: bytes) -> None:
        view = memoryview(raw)
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fsync(self._descriptor)

    def cut(self, end: int, torn: bytes) -> Path:
        """Move a torn last line aside to ``events.torn-<n>`` and return that file's path."""
        number = 1
        while (aside := self.path.with_name(f"events.torn-{number}")).exists():
            number += 1
        write_atomic(aside, torn)
        os.ftruncate(self._descriptor, end)
        os.fsync(self._descriptor)
        self.size = end
        return aside

    def close(self) -> None:
        """Release the file; the log may be closed twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def line_before(path: Path, end: int) -> EventLine:
    """Return the event whose line ends at byte ``end``. Raises ``ValueError`` when no event ends there."""
    with path.open("rb") as handle:
        block, start = b"", end
        while start > 0 and block[:-1].rfind(b"\n") < 0:
            start = max(0, start - 65536)
            handle.seek(start)
            block = handle.read(end - start)
            if len(block) < end - start:
                raise ValueError(f"the file ends before byte {end}")
    return EVENT_LINE.validate_json(block[block[:-1].rfind(b"\n") + 1 :])
