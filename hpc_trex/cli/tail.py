"""Read the end of a log file, and follow it. What a job writes is not trusted: control characters are taken out."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

BLOCK = 64 * 1024
PAUSE_SECONDS = 0.5

#: Escape sequences (colours, cursor, title) and the control characters that are neither tab nor newline.
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(line: str) -> str:
    """Return a line that cannot steer a terminal. Of a progress bar only the last state is kept."""
    return CONTROL.sub("", line.rstrip("\r\n").rsplit("\r", 1)[-1])


def tail_lines(path: Path, count: int) -> list[str]:
    """Return the last ``count`` lines (0: all) of a file, cleaned; none when the file is not there."""
    try:
        with path.open("rb") as handle:
            end = handle.seek(0, 2)
            start, newlines = end, 0
            while start > 0 and (count == 0 or newlines <= count):
                step = min(BLOCK, start)
                start -= step
                handle.seek(start)
                newlines += handle.read(step).count(b"\n")
            handle.seek(start)
            text = handle.read(end - start).decode(errors="replace")
    except FileNotFoundError:
        return []
    lines = [clean(line) for line in text.split("\n")]
    if lines and not lines[-1]:
        lines.pop()
    return lines[-count:] if count else lines


def follow_file(path: Path, *, over: Callable[[], bool], pause: float = PAUSE_SECONDS) -> Iterator[str]:
    """Yield the lines that are added to a file from now on, until ``over()`` and nothing more comes.

    The file need not exist yet. It is opened anew for each look, so that a network file system shows what was added.
    """
    position = path.stat().st_size if path.exists() else 0
    rest = b""
    while True:
        ended = over()
        if path.exists():
            with path.open("rb") as handle:
                handle.seek(position)
                added = handle.read()
            position += len(added)
            *whole, rest = (rest + added).split(b"\n")
            yield from (clean(line.decode(errors="replace")) for line in whole)
        if ended:
            break
        time.sleep(pause)
    if rest:
        yield clean(rest.decode(errors="replace"))
