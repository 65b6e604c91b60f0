"""The tables that ``hpc-trex ftbench fetch`` has built: found in the stage folders, and put in the card's place for them.

They lie in ``STAGE/ftbench/TASK/BUILD/``: ``tables/NAME.jsonl``, the test apart in ``sealed/`` (mode 0700, or 0750 in a
stage folder that a group shares), ``manifest.json``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hpc_trex.errors import EnvironmentProblem, NotFound, UsageProblem
from hpc_trex.files import read_record
from hpc_trex.layout import stage_folders
from hpc_trex.models import BuiltTask, Source, TaskCard, digest

#: Raised when the same downloads would give other tables.
BUILD = 1


class BuiltPaths(NamedTuple):
    """The files of one build of one task's tables."""

    root: Path
    """The stage folder."""
    task: str
    build: str

    @property
    def parent(self) -> Path:
        """All builds of the task."""
        return self.root / "ftbench" / self.task

    @property
    def folder(self) -> Path:
        """Renamed into place when it is whole."""
        return self.parent / self.build

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def partial(self) -> Path:
        """What an interrupted run has downloaded so far."""
        return self.parent / f"{self.build}.partial"

    @property
    def claim(self) -> Path:
        """Made with O_EXCL by the one run that fetches."""
        return self.parent / f"{self.build}.claim"


class Built(NamedTuple):
    """A build that is whole, and where it is."""

    item: BuiltTask
    folder: Path

    def table(self, name: str) -> Path:
        """Return the file of a table."""
        return self.folder / self.item.tables[name].file


def table_file(card: TaskCard, name: str) -> str:
    """Return where a table stands in its build: what the card's test is made of lies apart."""
    return f"{'sealed' if name == card.test.table else 'tables'}/{name}.jsonl"


def build_key(card: TaskCard) -> str:
    """Return what tells builds apart: downloads, tables and which of them is the test. Words of the card may change."""
    words = {"licence", "consent", "gated"}
    return digest(
        {
            "build": BUILD,
            "downloads": {name: one.model_dump(mode="json", exclude=words) for name, one in card.downloads.items()},
            "tables": {name: one.model_dump(mode="json") for name, one in card.tables.items()},
            "test": card.test.table,
        }
    )[:16]


def find_built(card: TaskCard, roots: Iterable[Path] | None = None) -> Built | None:
    """Return the build of this very card; None where it is in no stage folder.

    Raises :class:`EnvironmentProblem` where one is there that this user may not read.
    """
    for root in stage_folders() if roots is None else roots:
        paths = BuiltPaths(root, card.name, build_key(card))
        try:
            item = read_record(paths.manifest, BuiltTask)
        except PermissionError:
            raise _not_yours(paths.parent) from None
        if item is not None:
            return Built(item, paths.folder)
    return None


def earlier_builds(card: TaskCard, roots: Iterable[Path]) -> list[Built]:
    """Return every readable build of a task of this name, the oldest first: what they recorded is compared."""
    found = []
    for root in roots:
        for path in (root / "ftbench" / card.name).glob("*/manifest.json"):
            item = read_record(path, BuiltTask)
            if item is not None:
                found.append(Built(item, path.parent))
    return sorted(found, key=lambda one: one.item.fetched_at)


def require_built(card: TaskCard) -> Built:
    """Return the build. Raises :class:`NotFound` with the line that fetches it, or :class:`EnvironmentProblem`."""
    built = find_built(card)
    if built is None:
        raise NotFound(
            f"task {card.name} is not fetched on this site",
            hint=f"where there is network: hpc-trex ftbench fetch {card.name} (docs/ftbench.md)",
        )
    return built


def needs_build(card: TaskCard) -> bool:
    """Tell whether a card's rows are, in part, tables that have to be fetched."""
    return any(source.table is not None for source in (*card.sources.values(), card.dev, card.test))


def at_hand(card: TaskCard, built: Built | None = None) -> TaskCard:
    """Return the card with the built files in place of its tables: what rows are read with, never what is stored.

    ``built``: which build; the one that is on this site where it is left out.

    Raises :class:`NotFound` where they are not fetched, :class:`EnvironmentProblem` where one is gone or not this
    user's to read.
    """
    if not needs_build(card):
        return card
    found = built or require_built(card)

    def filed(source: Source) -> Source:
        if source.table is None:
            return source
        path = found.table(source.table)
        _require_readable(path, found)
        return source.model_copy(update={"table": None, "path": str(path)})

    return card.model_copy(
        update={
            "sources": {name: filed(source) for name, source in card.sources.items()},
            "dev": filed(card.dev),
            "test": filed(card.test),
        }
    )


def refuse_forbidden(paths: Iterable[Path], what: str) -> None:
    """Raise :class:`UsageProblem` naming ``what`` for a file of a fetched task whose licence forbids training."""
    known: dict[Path, BuiltTask | None] = {}
    for path in paths:
        folder = path.resolve().parent.parent  # a build's tables lie one below it
        if folder not in known:
            known[folder] = _manifest(folder)
        item = known[folder]
        if item is not None and not item.training_allowed:
            raise UsageProblem(
                f"{what}: {path} has rows of {item.task}, whose licence forbids training on them",
                hint=f"hpc-trex ftbench show {item.task}",
            )


def _manifest(folder: Path) -> BuiltTask | None:
    try:
        return read_record(folder / "manifest.json", BuiltTask)
    except (IsADirectoryError, PermissionError):  # somebody else's file of that name
        return None


def _require_readable(path: Path, built: Built) -> None:
    try:
        there = path.exists()
    except PermissionError:
        there = True
    if not there:
        raise EnvironmentProblem(
            f"{path} is gone: this build of {built.item.task} is damaged",
            hint=f"chmod -R u+w {built.folder}; rm -r {built.folder}; hpc-trex ftbench fetch {built.item.task}",
        )
    if not os.access(path, os.R_OK):
        raise _not_yours(path)


def _not_yours(path: Path) -> EnvironmentProblem:
    try:
        owner = f"belongs to {path.owner()}:{path.group()}"
    except (KeyError, OSError):
        owner = "belongs to somebody else"
    return EnvironmentProblem(
        f"{path} cannot be read: it {owner}",
        hint="ask them to share it (hpc-trex ftbench fetch --profile PROFILE, whose share is group), or fetch it for yourself: --into FOLDER, "
        "then: export HPC_TREX_STAGE=FOLDER",
    )
