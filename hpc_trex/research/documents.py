"""Files of a library: which are taken, what their head says, and why others are not."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast, get_args

from hpc_trex.errors import NotFound
from hpc_trex.research.protocol import TITLE, Kind, clean, clean_url, clean_year

SUFFIXES = (".md", ".txt")
MOST_BYTES = 20_000_000
KINDS: tuple[str, ...] = ("paper", "note", "card")
_FIELD = re.compile(r"(?P<key>[A-Za-z_]+):(?:[ \t]+(?P<value>.*))?$")
#: Keys that only the cards of data sets and models have.
_CARD_KEYS = {"pretty_name", "dataset_info", "task_categories", "license", "licence", "configs"}


class Document(NamedTuple):
    """One text of the library."""

    name: str
    """Its path from the folder that was added, the folder's own name included."""
    origin: str
    """What tells the file on this machine; no path, since a library travels. Empty for what came from another library."""
    kind: str
    title: str
    text: str
    licence: str = "unknown"
    url: str = ""
    year: int | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the text: the same text is kept once."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Refused(NamedTuple):
    """A file that was not taken."""

    name: str
    why: str


def read_files(path: Path, kind: str | None = None) -> Iterator[Document | Refused]:
    """Yield each text below a folder, or the one file. What is neither text nor a PDF is passed over in silence.

    Raises :class:`NotFound` for a path that is not there.
    """
    if not path.exists():
        raise NotFound(f"{path} not found", hint="give files, folders or another library")
    if path.is_file():
        yield _read(path, path.name, kind)
        return
    base = path.resolve().parent
    for folder, below, names in os.walk(path.resolve()):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if file.suffix.lower() in (*SUFFIXES, ".pdf") and not name.startswith("."):
                yield _read(file, file.relative_to(base).as_posix(), kind)


def _read(path: Path, name: str, kind: str | None) -> Document | Refused:
    shown = clean(name, TITLE)
    if path.suffix.lower() == ".pdf":
        return Refused(shown, "PDF is not read: pdftotext FILE.pdf FILE.txt, and add that")
    if path.suffix.lower() not in SUFFIXES:
        return Refused(shown, f"only {' and '.join(SUFFIXES)} are taken")
    try:
        if path.stat().st_size > MOST_BYTES:
            return Refused(shown, f"larger than {MOST_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return Refused(shown, "not UTF-8: iconv -f ITS-ENCODING -t utf-8")
    except OSError as error:
        return Refused(shown, error.strerror or "cannot be read")
    text = unicodedata.normalize("NFC", text.replace("\0", " "))
    if not text.strip():
        return Refused(shown, "empty")
    origin = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    return document(shown, origin, text, kind, guess="paper" if path.suffix.lower() == ".txt" else "note")


def document(name: str, origin: str, text: str, kind: str | None, *, guess: str) -> Document:
    """Make a document of a text: kind, title, licence, address and year are taken from its head where it has one."""
    head, body = front_matter(text)
    told = head.get("kind", "").lower()
    card = "card" if _CARD_KEYS & set(head) else guess
    heading = re.search(r"^#{1,3}[ \t]+(\S.*)$", body[:20_000], re.MULTILINE)
    first = next((line for line in body[:20_000].splitlines() if line.strip()), "")
    title = head.get("title") or head.get("pretty_name") or (heading[1] if heading else first)
    return Document(
        name=name,
        origin=origin,
        kind=kind or (told if told in KINDS else card),
        title=clean(title, 200) or Path(name).stem,
        text=text,
        licence=clean(head.get("license") or head.get("licence")) or "unknown",
        url=clean_url(head.get("url")) or clean_url(f"https://doi.org/{head['doi']}" if head.get("doi") else ""),
        year=clean_year(head.get("year") or head.get("date")),
    )


def front_matter(text: str) -> tuple[dict[str, str], str]:
    """Return the plain ``key: value`` lines between two ``---`` at the beginning, and what follows.

    No YAML is parsed: a stranger's card must not decide what the parser does. Of a list the items are joined.
    """
    lines = text[:20_000].splitlines()
    if not lines or lines[0].strip() != "---":
        return {}, text
    end = next((at for at, line in enumerate(lines[1:], 1) if line.strip() == "---"), None)
    if end is None:
        return {}, text
    found: dict[str, str] = {}
    key = ""
    for line in lines[1:end]:
        match = _FIELD.match(line)
        if match:
            key = match["key"].lower()
            found.setdefault(key, (match["value"] or "").strip().strip("\"'"))
        elif key and line.lstrip().startswith("- "):
            item = line.lstrip()[2:].strip().strip("\"'")
            found[key] = f"{found[key]}, {item}" if found[key] else item
    return found, "\n".join(text.splitlines()[end + 1 :])


def kind_of(word: str) -> Kind:
    """Return a kind as the records spell it; a foreign library may say anything."""
    return cast("Kind", word) if word in get_args(Kind) else "note"
