"""How text is laid out for a terminal or for a program, and how numbers are written in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from click import style

STATE_COLOURS = {
    "running": "cyan",
    "pending": "cyan",
    "active": "cyan",
    "queued": "blue",
    "done": "green",
    "succeeded": "green",
    "finishing": "cyan",
    "paused": "yellow",
    "failed": "red",
    "cancelled": "yellow",
    "struck": "red",
}


class Look(NamedTuple):
    """How text is laid out. ``width`` is in columns; None cuts nothing."""

    unicode: bool = False
    color: bool = False
    width: int | None = None

    def paint(self, text: str, colour: str | None = None, *, bold: bool = False) -> str:
        """Return the text in a colour, where there are colours."""
        return style(text, fg=colour, bold=bold) if self.color and (colour or bold) else text

    def state(self, state: str) -> str:
        """Return a state in its colour."""
        return self.paint(state, STATE_COLOURS.get(state))

    def cut_end(self, line: str) -> str:
        """Return a line of a table, cut where the terminal ends."""
        return line if self.width is None or len(line) <= self.width else line[: self.width - 3] + "..."

    def cut_start(self, path: str, used: int = 0) -> str:
        """Return a path whose end fits: the end is what tells paths apart."""
        room = None if self.width is None else max(10, self.width - used)
        return path if room is None or len(path) <= room else "..." + path[3 - room :]

    def cut(self, text: str, used: int = 0) -> str:
        """Return one line of text that leaves ``used`` columns of the width free."""
        line = " ".join(text.split())
        room = None if self.width is None else max(10, self.width - used)
        if room is None or len(line) <= room:
            return line
        return line[: room - 3] + "..."


PLAIN = Look()


def columns(lines: Sequence[Sequence[str]], left: int, look: Look = PLAIN) -> str:
    """Return cells as a table, cut where the terminal ends: the first ``left`` columns stand left, the others right."""
    wide = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        look.cut_end(
            "  ".join(
                f"{cell:<{width}}" if place < left else f"{cell:>{width}}"
                for place, (cell, width) in enumerate(zip(line, wide, strict=True))
            ).rstrip()
        )
        for line in lines
    )


def number(value: float | None, digits: int = 4) -> str:
    """Return a score for a table; ``-`` where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """Return a difference with its sign; ``-`` where there is none."""
    return "-" if value is None else f"{value:+.{digits}f}"


def duration(seconds: float | None) -> str:
    """Return seconds as ``42s``, ``3m10s`` or ``2h05m``."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
