"""Where rows come from: a source of a task card, and what ``hpc-trex ftbench fetch`` downloads and builds for one."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from hpc_trex.models.base import Record
from hpc_trex.models.shape import Shape

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
"""Of a download or a table: it becomes a file name."""
SOURCE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Of a source, for the same reason."""


class Source(Record):
    """Where rows come from: exactly one of ``path``, ``hub``, ``generator`` or ``table``."""

    path: str | None = None
    """JSON lines, parquet, CSV or TSV file, or a folder of such; relative to the task card."""
    hub: str | None = None
    """Hugging Face data set id; needs ``revision`` (40 hex digits) and ``split``."""
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    split: str | None = None
    generator: str | None = None
    """Name of a built-in generator (``hpc_trex.ftbench.generators``)."""
    part: str | None = None
    """The generator's part, e.g. ``curated``, ``crowd``, ``dev``."""
    table: str | None = None
    """One of the card's ``tables``, as ``hpc-trex ftbench fetch`` has built it on this site."""
    rows: int | None = Field(default=None, ge=1)
    """How many rows to generate, or the first rows to take."""
    seed: int = 0
    shape: Shape | None = None
    """What its rows look like, where they have not the columns that the card's templates ask for."""
    rendered: bool = False
    """The rows have ``prompt`` and ``answer`` already: the card's templates are not for them. An empty ``answer`` makes a
    row of a training source plain text, for a ``pretrain`` stage.
    """
    licence: str = ""
    """Where it is another one than the card's."""
    trusted: bool = False
    """The rows are known to be on task and right, e.g. written by hand; a Researcher may take them as a reference."""

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        given = [name for name in ("path", "hub", "generator", "table") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of path, hub, generator, table; has {', '.join(given) or 'none'}")
        if self.hub and not (self.revision and self.split):
            raise ValueError("hub needs revision (the 40-digit commit) and split")
        if self.generator and not (self.part and self.rows):
            raise ValueError("generator needs part and rows")
        return self


class Download(Record):
    """One thing that ``hpc-trex ftbench fetch`` brings from outside, at a pinned revision or with a checksum."""

    kind: Literal["git", "hub", "file"]
    url: str = Field(default="", max_length=2000)
    """``git``: of the repository; ``file``: of the file."""
    id: str = ""
    """``hub``: the data set's id, ``owner/name``."""
    revision: str = ""
    """``git``: the commit, 40 hex digits. ``hub``: the commit, or its first 7 digits or more."""
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """``file``: its SHA-256; where it is not known, the first fetch records it and every later one compares."""
    paths: tuple[str, ...] = ()
    """Which files of the repository, or of the archive, are taken (globs); all where there is none."""
    licence: str = ""
    """Where it is another one than the card's."""
    consent: str = ""
    """What a user agrees to with ``--accept``, in one sentence."""
    gated: str = ""
    """Where to get access, of a source that asks for it first."""

    @model_validator(mode="after")
    def _pinned(self) -> Download:
        hexadecimal = set(self.revision) <= set("0123456789abcdef")
        if self.kind == "hub":
            if not self.id or self.url or self.sha256:
                raise ValueError('kind = "hub" needs id and revision, and neither url nor sha256')
            if not hexadecimal or not 7 <= len(self.revision) <= 40:
                raise ValueError("revision is the data set's commit: 40 hex digits, or its first 7 or more")
            return self
        schemes = ("https://", "http://", "file://") if self.kind == "git" else ("https://", "http://")
        if not self.url.startswith(schemes) or self.id:
            raise ValueError(f'kind = "{self.kind}" needs url, which begins with https://, and no id')
        if self.kind == "git" and (not hexadecimal or len(self.revision) != 40 or self.sha256):
            raise ValueError('kind = "git" needs revision, the commit of 40 hex digits, and no sha256')
        if self.kind == "file" and self.revision:
            raise ValueError('kind = "file" has no revision: give sha256')
        return self


class Table(Record):
    """Rows that ``fetch`` builds: read ``from`` a download, or carved out ``of`` another table."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    from_: str = Field(default="", alias="from")
    """The download that its files are in."""
    path: str | tuple[str, ...] = ()
    """Its files there: a glob, or several, each read in the order of their names. Left out: the downloaded file."""
    reader: str = ""
    """How they are read, where the ends of their names do not tell (``hpc_trex.ftbench.upstream``)."""
    where: str = ""
    """Jinja2 expression over a row's columns: rows for which it is true are kept."""
    of: str = ""
    """The table that this one's rows are taken out of."""
    rows: int | None = Field(default=None, ge=1)
    """How many rows are carved out, at least: the last group is not cut."""
    group: str = ""
    """Jinja2 template: rows for which it gives the same text stay on one side. Left out: the whole row."""
    seed: int = 0
    """Of the order in which groups are taken."""

    @model_validator(mode="after")
    def _one_origin(self) -> Table:
        if bool(self.from_) == bool(self.of):
            raise ValueError("needs exactly one of from (a download) and of (a table)")
        if self.of and (not self.rows or self.path or self.reader or self.where):
            raise ValueError("of needs rows, and neither path nor reader nor where")
        if self.from_ and (self.rows or self.group or self.seed):
            raise ValueError("rows, group and seed are for a table that is taken of another one")
        return self

    @property
    def globs(self) -> tuple[str, ...]:
        """``path`` as several."""
        return (self.path,) if isinstance(self.path, str) else self.path
