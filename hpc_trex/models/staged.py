"""What ``hpc-trex stage`` has brought here: one manifest for each model, data set or tokenizer at one commit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hpc_trex.models.base import Record

StagedKind = Literal["models", "datasets", "tokenizers"]


class StagedFile(Record):
    """One file of a staged item."""

    name: str
    """Relative to the item's folder."""
    size: int = Field(ge=0)
    sha256: str


class StagedItem(Record):
    """The manifest ``COMMIT.json`` beside the folder ``COMMIT/``: where it stands, the folder is whole."""

    schema_version: Literal[1] = 1
    kind: StagedKind
    repository: str
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    asked: tuple[str, ...] = ()
    """The names (``main``, a tag) under which this commit was asked for; without network they still lead here."""
    licence: str = "unknown"
    """As the hub's page says."""
    endpoint: str = ""
    staged_at: str
    """UTC, ISO 8601."""
    program: str
    """The version of HPC-TREX that brought it."""
    files: tuple[StagedFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)
