"""What ``hpc-trex ftbench fetch`` has built for a task card on this site: the manifest of its tables."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hpc_trex.models.base import Record
from hpc_trex.models.staged import StagedFile


class BuiltDownload(Record):
    """One download as it came: at which revision, under which licence, which files were taken."""

    kind: Literal["git", "hub", "file"]
    origin: str
    """The address, or the hub's id."""
    revision: str = ""
    """The commit in full."""
    sha256: str = ""
    """Of a downloaded file: what the card names, or what the first fetch found."""
    licence: str
    accepted: str = ""
    """What the person who fetched it agreed to."""
    files: tuple[StagedFile, ...]


class BuiltTable(Record):
    """One table: a file of JSON lines with the upstream columns."""

    file: str
    """Relative to the build's folder."""
    rows: int = Field(ge=1)
    size: int = Field(ge=0)
    sha256: str
    columns: tuple[str, ...]
    """Of the first row."""


class BuiltTask(Record):
    """The manifest ``manifest.json`` in the build's folder."""

    schema_version: Literal[1] = 1
    task: str
    build: str
    """Which downloads and tables of the card it was made of (:func:`hpc_trex.ftbench.built.build_key`)."""
    licence: str
    training_allowed: bool
    downloads: dict[str, BuiltDownload]
    tables: dict[str, BuiltTable]
    dropped: dict[str, int] = {}
    """Rows of each split that also stand in another one: a launch leaves them out."""
    fetched_at: str
    """UTC, ISO 8601."""
    fetched_by: str
    program: str
    """The version of HPC-TREX that built it."""
