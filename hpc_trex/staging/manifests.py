"""The manifests of the stage folders: found, listed, and their files hashed again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hpc_trex.files import read_record
from hpc_trex.layout import StagedPaths, stage_folders
from hpc_trex.models import StagedItem

_BLOCK = 1 << 22


class Found(NamedTuple):
    """One staged item and where it is."""

    item: StagedItem
    paths: StagedPaths


def list_staged(roots: Iterable[Path] | None = None) -> list[Found]:
    """Return all whole items of the stage folders, by kind and name, the newest commit of one first."""
    found = []
    for root in stage_folders() if roots is None else roots:
        for path in sorted(root.glob("*/*/*.json")):
            item = read_record(path, StagedItem)
            if item is None:
                continue
            paths = StagedPaths(root, item.kind, item.repository, item.commit)
            if paths.manifest == path and paths.folder.is_dir():
                found.append(Found(item, paths))
    found.sort(key=lambda one: one.item.staged_at, reverse=True)
    return sorted(found, key=lambda one: (one.item.kind, one.item.repository))


def find_staged(kind: str, repository: str, revision: str = "", roots: Iterable[Path] | None = None) -> Found | None:
    """Return the staged item that ``revision`` (a commit, or the name it was asked for by) leads to; None: not here.

    A branch that was staged at two commits leads to the one staged last.
    """
    wanted = revision or "main"
    for found in list_staged(roots):
        item = found.item
        if (item.kind, item.repository) == (kind, repository) and (wanted == item.commit or wanted in item.asked):
            return found
    return None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    total = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            total.update(block)
    return total.hexdigest()


def damage(found: Found) -> list[str]:
    """Hash the files of an item again; return one line for each that is not what it was."""
    problems = []
    for file in found.item.files:
        path = found.paths.folder / file.name
        try:
            size = path.stat().st_size
            if size != file.size:
                problems.append(f"{path}: {size:,} bytes, {file.size:,} were staged")
            elif sha256_of(path) != file.sha256:
                problems.append(f"{path}: its content has changed (SHA-256 differs)")
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
    known = {file.name for file in found.item.files}
    present = (path for path in found.paths.folder.rglob("*") if not path.is_dir())
    extra = sorted(name for path in present if (name := path.relative_to(found.paths.folder).as_posix()) not in known)
    return problems + [f"{found.paths.folder / name}: not in the manifest" for name in extra]
