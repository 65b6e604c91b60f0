"""The tables that ``hpc-trex ftbench fetch`` has built: found in the stage folders, and put in the card's place for them.

They lie in ``STAGE/ftbench/TASK/BUILD/``: ``tables/NAME.jsonl``, the test apart in ``sealed/`` (mode 0700, or 0750 in a
stage folder that a group shares), ``manifest.json``.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hpc_trex.errors import EnvironmentProblem, NotFound, UsageProblem
from hpc_trex.files import read_record
from hpc_trex.layout import stage_folders
from hpc_trex.models import BuiltTask, Download, Source, Table, TaskCard, digest

if TYPE_CHECKING:
    from hpc_trex.ftbench.cards import LoadedCard

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
    """Return where a table stands in its build. Apart lies the card's test, and what is neither a source nor dev's: of
    a table that the test was carved out of, the rest is upstream's test too.
    """
    open_ = {source.table for source in (*card.sources.values(), card.dev)}
    return f"{'tables' if name in open_ else 'sealed'}/{name}.jsonl"


def build_key(card: TaskCard) -> str:
    """Return what tells builds apart: downloads, tables and which of them is the test. Words of the card may change.

    Values that are a field's default are left out, so that a later version with one more field finds the same builds.
    """
    words = {"licence", "consent", "gated"}

    def said(one: Download | Table) -> dict[str, object]:
        return one.model_dump(mode="json", exclude_defaults=True, exclude=words)

    return digest(
        {
            "build": BUILD,
            "downloads": {name: said(one) for name, one in card.downloads.items()},
            "tables": {name: said(one) for name, one in card.tables.items()},
            # Each is taken out of what the one before it has left.
            "carved": [name for name, one in card.tables.items() if one.of],
            "test": card.test.table,
        }
    )[:16]


def find_built(card: TaskCard, roots: Iterable[Path] | None = None) -> Built | None:
    """Return the build of this very card; None where it is in no stage folder.

    Raises :class:`EnvironmentProblem` where the only one that is there is not this user's to read.
    """
    closed: Path | None = None
    for root in stage_folders() if roots is None else roots:
        paths = BuiltPaths(root, card.name, build_key(card))
        try:
            item = read_record(paths.manifest, BuiltTask)
        except PermissionError:
            closed = closed or paths.parent
            continue
        if item is not None:
            return Built(item, paths.folder)
    if closed is not None:
        raise not_yours(closed)
    return None


def list_builds(roots: Iterable[Path], task: str = "*") -> tuple[list[Built], list[Path]]:
    """Return every build of tasks of this name, the oldest first, and the folders that are not this user's to read."""
    found, closed = [], []
    for root in roots:
        try:
            folders = sorted((root / "ftbench").glob(f"{task}/*"))
        except PermissionError:
            closed.append(root)
            continue
        for path in folders:
            if path.suffix:  # a partial one, or a claim
                continue
            try:
                item = read_record(path / "manifest.json", BuiltTask)
            except PermissionError:
                closed.append(path)
                continue
            if item is not None:
                found.append(Built(item, path))
    return sorted(found, key=lambda one: one.item.fetched_at), closed


def require_built(loaded: LoadedCard) -> Built:
    """Return the build. Raises :class:`NotFound` with the line that fetches it, or :class:`EnvironmentProblem`."""
    built = find_built(loaded.card)
    if built is None:
        raise NotFound(
            f"task {loaded.card.name} is not fetched on this site",
            hint=f"where there is network: hpc-trex ftbench fetch {shlex.quote(loaded.typed)} (docs/ftbench.md)",
        )
    return built


def needs_build(card: TaskCard) -> bool:
    """Tell whether a card's rows are, in part, tables that have to be fetched."""
    return any(source.table is not None for source in (*card.sources.values(), card.dev, card.test))


def at_hand(loaded: LoadedCard, built: Built | None = None) -> TaskCard:
    """Return the card with the built files in place of its tables: what rows are read with, never what is stored.

    ``built``: which build; the one that is on this site where it is left out.

    Raises :class:`NotFound` where they are not fetched, :class:`EnvironmentProblem` where one is gone or not this
    user's to read.
    """
    card = loaded.card
    if not needs_build(card):
        return card
    found = built or require_built(loaded)

    def filed(source: Source) -> Source:
        if source.table is None:
            return source
        path = found.table(source.table)
        _require_readable(path, found, loaded.typed)
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


def removal(folder: Path) -> str:
    """Return the shell's line that removes a build."""
    quoted = shlex.quote(str(folder))
    return f"chmod -R u+w {quoted}; rm -r {quoted}"


def _require_readable(path: Path, built: Built, typed: str) -> None:
    try:
        there = path.exists()
    except PermissionError:
        there = True
    if not there:
        raise EnvironmentProblem(
            f"{path} is gone: this build of {built.item.task} is damaged",
            hint=f"{removal(built.folder)}; hpc-trex ftbench fetch {shlex.quote(typed)}",
        )
    if not os.access(path, os.R_OK):
        raise not_yours(path)


def not_yours(path: Path) -> EnvironmentProblem:
    """Return the user's error for what another user has fetched and keeps closed."""
    try:
        owner = f"belongs to {path.owner()}:{path.group()}"
    except (KeyError, OSError):
        owner = "belongs to somebody else"
    return EnvironmentProblem(
        f"{path} cannot be read: it {owner}",
        hint="ask them to share it (hpc-trex ftbench fetch --profile PROFILE, whose share is group), or fetch it for yourself: --into FOLDER, "
        "then: export HPC_TREX_STAGE=FOLDER",
    )
