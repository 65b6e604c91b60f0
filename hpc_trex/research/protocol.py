"""What a source of literature or data gives back, and how text of strangers is made harmless to print and bounded."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

Kind = Literal["paper", "note", "card", "dataset", "model"]
#: Characters of a title and of a summary that are kept; a name, a licence and an id get fewer.
TITLE, SUMMARY, WORD = 300, 1200, 120
MOST_AUTHORS = 8
_JOINERS = "\u200c\u200d"

Fact = str | int | bool | None


class Finding(NamedTuple):
    """One thing that was found. Every text went through :func:`clean`: one line, bounded, no control characters."""

    source: str
    """The tool's name."""
    id: str
    """As the source names it, e.g. ``2604.14116`` or ``owner/name``."""
    title: str
    year: int | None = None
    authors: tuple[str, ...] = ()
    url: str = ""
    summary: str = ""
    licence: str = "unknown"
    kind: Kind = "paper"
    extra: Mapping[str, Fact] = {}
    """Papers: ``doi``, ``arxiv``, ``citations``. Data sets and models: ``gated``, ``size`` (bytes), ``commit``, ``loading_script``,
    ``downloads``. None: the source did not say.
    """

    @property
    def key(self) -> str:
        """The finding's identity over all searches: ``source:id``."""
        return f"{self.source}:{self.id}"


class Result(NamedTuple):
    """What one search gave. Where there are no findings, the note says why, unless there simply were none."""

    findings: tuple[Finding, ...] = ()
    note: str = ""
    """Empty, or why something is missing or old: offline, rate-limited, refused, from the cache."""
    asked: bool = True
    """False: the source could not be asked, and nothing of it was in the cache."""


class Tool(Protocol):
    """One source. ``search`` never raises for the network: what went wrong is the result's note."""

    @property
    def name(self) -> str: ...

    def search(self, query: str, *, limit: int) -> Result:
        """Return at most ``limit`` findings, best first."""
        ...


def clean(text: object, most: int = WORD) -> str:
    """Return one line of at most ``most`` characters without control, format and surrogate characters.

    What a stranger wrote can then neither move a terminal's cursor nor hide words from the eye. The two joiners stay:
    they are part of the spelling of several languages. Anything that is no text gives an empty one.
    """
    if not isinstance(text, str):
        return ""
    # A summary of a megabyte need not be walked through to its end.
    kept = "".join(
        " " if char.isspace() or unicodedata.category(char) == "Cc" else char
        for char in text[: 4 * most + 1000]
        if char.isspace() or char in _JOINERS or unicodedata.category(char) not in ("Cf", "Cs", "Co", "Cn")
    )
    line = " ".join(kept.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def clean_year(value: object) -> int | None:
    """Return a year from a number or from the beginning of a date; None for anything else."""
    match = (
        re.match(r"\d{4}(?!\d)", str(value)) if isinstance(value, int | str) and not isinstance(value, bool) else None
    )
    return int(match[0]) if match else None


def clean_number(value: object) -> int | None:
    """Return a whole number that is not negative; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def clean_names(values: object) -> tuple[str, ...]:
    """Return the names of a list, at most :data:`MOST_AUTHORS`."""
    names = [clean(value) for value in values] if isinstance(values, list | tuple) else []
    return tuple(name for name in names if name)[:MOST_AUTHORS]


def clean_url(value: object) -> str:
    """Return a web address; empty for anything that is none (``javascript:``, one with spaces)."""
    text = value.strip() if isinstance(value, str) else ""
    return text if re.fullmatch(r"https?://[!-~]{1,500}", text) else ""
