"""The local library: papers, notes and data cards of one's own, searched without any network (docs/research.md)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hpc_trex.errors import EnvironmentProblem, NotFound, TrexError, UsageProblem
from hpc_trex.files import sync_folder, temporary_name
from hpc_trex.research.documents import MOST_BYTES, Document, Refused, kind_of, read_files
from hpc_trex.research.protocol import TITLE, Finding, Result, clean, clean_number, clean_url
from hpc_trex.research.shelf import INDEX, has_index, is_sqlite, reading, writing
from hpc_trex.research.terms import Terms, count_terms, like_pattern, match_expression, passage, terms_of

if TYPE_CHECKING:
    from sqlite_utils import Database

#: Texts without the index's help that are read for one search.
_MOST_READ = 200
_COLUMNS = (
    "documents.id AS id, digest, name, kind, documents.title AS title, licence, url, year, documents.text AS text"
)


class Added(NamedTuple):
    """What an ``add`` did."""

    new: int
    replaced: int
    """Files that were there already with another text."""
    known: int
    """Texts that were there already."""
    refused: tuple[Refused, ...]


class Entry(NamedTuple):
    """One document as the list shows it."""

    id: str
    name: str
    kind: str
    title: str
    licence: str
    year: int | None
    added: str
    size: int
    """Characters."""


class Library:
    """A :class:`~hpc_trex.research.protocol.Tool` over one file."""

    name = "library"

    def __init__(self, path: Path) -> None:
        self.path = path

    def search(self, query: str, *, limit: int) -> Result:
        """Return the documents that answer best, each with its best passage. Never raises."""
        try:
            return Result(tuple(self.find(query, limit=limit)))
        except TrexError as error:
            # The note may go to a language model elsewhere, which need not know where files lie here.
            words = error.message.replace(str(self.path), self.path.name)
            return Result(note="; ".join(filter(None, (words, error.hint))), asked=False)

    def find(self, query: str, *, limit: int) -> list[Finding]:
        """As :meth:`search`, but raises what is wrong with the library."""
        terms = terms_of(query)
        if not terms.all:
            return []
        with reading(self.path) as database:
            return [_finding(row, terms) for row in _best(database, terms, limit)]

    def add(self, paths: Iterable[Path], *, kind: str | None = None) -> Added:
        """Take in files, folders and other libraries, all in one transaction."""
        today = datetime.now(UTC).date().isoformat()
        counts, refused = {"new": 0, "replaced": 0, "known": 0}, []
        with writing(self.path) as database:
            for document in (one for path in paths for one in self._read(path, kind)):
                if isinstance(document, Refused):
                    refused.append(document)
                else:
                    counts[_store(database, document, today)] += 1
        return Added(**counts, refused=tuple(refused))

    def _read(self, path: Path, kind: str | None) -> Iterator[Document | Refused]:
        if is_sqlite(path):
            if self.path.exists() and path.samefile(self.path):
                raise UsageProblem(f"{path} is this library itself")
            return _other(path)
        return read_files(path, kind)

    def entries(self) -> list[Entry]:
        """Return all documents in the order of their names."""
        with reading(self.path) as database:
            rows = database.execute(
                "SELECT substr(digest, 1, 12), name, kind, title, licence, year, added, length(text) FROM documents ORDER BY name, id"
            )
            return [Entry(*row) for row in rows]

    def matching(self, wanted: Iterable[str]) -> list[Entry]:
        """Return documents by id, name, or pattern of names (``papers/*``). Raises NotFound if one of them matches nothing."""
        known = self.entries()
        found: dict[str, Entry] = {}
        for word in wanted:
            mine = [one for one in known if word in (one.id, one.name) or fnmatchcase(one.name, word)]
            if not mine:
                raise NotFound(f"the library has no document {word!r}", hint="hpc-trex library list")
            found |= {one.id: one for one in mine}
        return list(found.values())

    def remove(self, wanted: Iterable[str]) -> list[Entry]:
        """Remove what :meth:`matching` returns."""
        gone = self.matching(wanted)
        with writing(self.path) as database:
            for entry in gone:
                database.execute("DELETE FROM documents WHERE substr(digest, 1, 12) = ?", [entry.id])
        return gone

    def export(self, target: Path) -> int:
        """Write the whole library as one compact file to carry elsewhere; return its bytes. An existing file is left."""
        if target.exists():
            raise UsageProblem(f"{target} exists already", hint="give another name, or remove it")
        if not target.parent.is_dir():
            raise NotFound(f"folder {target.parent} not found")
        temporary = temporary_name(target)
        try:
            with reading(self.path) as database:
                database.execute("VACUUM INTO ?", [str(temporary)])
            temporary.chmod(0o666 & ~_umask())
            os.link(temporary, target)  # unlike a rename, this never takes the place of another's file
            sync_folder(target.parent)
        except OSError as error:
            raise EnvironmentProblem(f"cannot write {target}: {error.strerror}", hint="df -h") from error
        finally:
            temporary.unlink(missing_ok=True)
        return target.stat().st_size


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _store(database: Database, document: Document, today: str) -> str:
    """Put one document in; return what became of it, as a field of :class:`Added`."""
    if database.execute("SELECT 1 FROM documents WHERE digest = ?", [document.digest]).fetchone():
        return "known"
    replaced = 0
    if document.origin:
        replaced = database.execute("DELETE FROM documents WHERE origin = ?", [document.origin]).rowcount
    database.execute(
        "INSERT INTO documents (digest, name, origin, kind, title, licence, url, year, added, text) VALUES (?,?,?,?,?,?,?,?,?,?)",
        [document.digest, document.name, document.origin, document.kind, document.title, document.licence,
         document.url, document.year, today, document.text],
    )  # fmt: skip
    return "replaced" if replaced else "new"


def _other(path: Path) -> Iterator[Document | Refused]:
    """Yield the documents of another library. Its digests are not believed: they are made again from the texts."""
    with reading(path) as database:
        for row in database.query(f"SELECT {_COLUMNS} FROM documents ORDER BY documents.id"):  # noqa: S608 - constants
            name, text = clean(row["name"], TITLE), row["text"]
            if not isinstance(text, str) or not text.strip() or len(text) > MOST_BYTES:
                yield Refused(f"{path.name}: {name}", "no text")
                continue
            yield Document(
                name=name,
                origin="",
                kind=kind_of(row["kind"]),
                title=clean(row["title"], TITLE) or name,
                text=text,
                licence=clean(row["licence"]) or "unknown",
                url=clean_url(row["url"]),
                year=clean_number(row["year"]),
            )


def _best(database: Database, terms: Terms, limit: int) -> list[dict[str, Any]]:
    """Return the rows that answer best: by the index, then what only reading finds, by how many terms it has."""
    found: dict[int, dict[str, Any]] = {}
    indexed = has_index(database)
    if terms.long and indexed:
        sql = (
            f"SELECT {_COLUMNS} FROM {INDEX} JOIN documents ON documents.id = {INDEX}.rowid "  # noqa: S608 - constants
            f"WHERE {INDEX} MATCH ? ORDER BY bm25({INDEX}, 4.0, 1.0) LIMIT ?"
        )
        found = {row["id"]: row for row in database.query(sql, [match_expression(terms.long), limit])}
    to_read = terms.short if indexed else terms.all
    if len(found) < limit and to_read:
        either = " OR ".join(["documents.title || char(10) || documents.text LIKE ? ESCAPE '\\'"] * len(to_read))
        sql = f"SELECT {_COLUMNS} FROM documents WHERE {either} LIMIT ?"  # noqa: S608 - constants
        rows = database.query(sql, [*map(like_pattern, to_read), _MOST_READ])
        counted = [
            (count_terms(f"{row['title']}\n{row['text']}", terms), row) for row in rows if row["id"] not in found
        ]
        counted.sort(key=lambda one: -one[0])
        found |= {row["id"]: row for count, row in counted[: limit - len(found)] if count}
    return list(found.values())


def _finding(row: dict[str, Any], terms: Terms) -> Finding:
    return Finding(
        source=Library.name,
        id=clean(row["digest"])[:12],
        title=clean(row["title"], TITLE) or clean(row["name"], TITLE),
        year=clean_number(row["year"]),
        url=clean_url(row["url"]),
        summary=passage(str(row["text"]), terms),
        licence=clean(row["licence"]) or "unknown",
        kind=kind_of(str(row["kind"])),
        extra={"file": clean(row["name"], TITLE)},
    )
