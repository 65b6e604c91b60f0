"""Find searches by name or path, the newest one, and a free name for the next (DESIGN section 9).

A search is a folder with a ``search.toml``. The searches live side by side under :func:`hpc_trex.layout.home`.
"""

from __future__ import annotations

import glob
import re
import shutil
import stat
from pathlib import Path

from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.files import left_over
from hpc_trex.layout import SearchPaths, home
from hpc_trex.suggest import did_you_mean


def list_searches(root: Path | None = None) -> list[SearchPaths]:
    """Return the searches under ``root`` (default: home), the one that was created or changed last first.

    "Last" is the time of ``search.toml``, which only a launch and a changed budget write.
    """
    found: list[tuple[int, str, SearchPaths]] = []
    for config in (root or home()).glob("*/search.toml"):
        if not config.parent.name.startswith("."):  # still being made, or left by a launch that died
            found.append((config.stat().st_mtime_ns, config.parent.name, SearchPaths(config.parent)))
    return [paths for _, _, paths in sorted(found, key=lambda item: item[:2], reverse=True)]


def find_search(reference: str | None = None) -> SearchPaths:
    """Return the search with this name or path; without one, the newest.

    Raises :class:`NotFound` with the nearest names.
    """
    if reference is None:
        return newest_search()
    for folder in _candidates(reference):
        for place in (folder, folder / "search"):  # an element of a sweep holds its search
            if (place / "search.toml").is_file():
                return SearchPaths(place.absolute())
    names = [paths.root.name for paths in list_searches()]
    listed = f"searches in {home()}: {', '.join(names[:8])}" if names else "start one with: hpc-trex launch"
    raise NotFound(f"no search {reference!r}{did_you_mean(reference, names)}", hint=listed)


def newest_search() -> SearchPaths:
    """Return the newest search under home. Raises :class:`NotFound` when there is none."""
    searches = list_searches()
    if not searches:
        raise NotFound(
            f"no search in {home()}", hint="start one with: hpc-trex launch (HPC_TREX_HOME names another folder)"
        )
    return searches[0]


def require_safe_place(directory: Path) -> None:
    """Refuse a folder that other users could swap for their own: one of its parents is writable for all, without sticky bit.

    Jobs run what they find in a search directory. Raises :class:`UsageProblem`.
    """
    for folder in (directory, *directory.absolute().parents):
        try:
            mode = folder.stat().st_mode
        except FileNotFoundError:
            continue
        if mode & stat.S_IWOTH and (folder == directory or not mode & stat.S_ISVTX):
            raise UsageProblem(
                f"every user of this machine may write into {folder}: a search there is not safe",
                hint=f"choose another folder (HPC_TREX_HOME, --directory), or: chmod o-w {folder}",
            )


def new_name(task: str, root: Path | None = None) -> str:
    """Return the next free name for a search of this task: ``listops-1``, ``listops-2`` ...

    ``task`` is a built-in name or the path of a card.
    """
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(task).stem if task.endswith(".toml") else Path(task).name)
    stem = stem.strip("-._")[:48] or "search"
    parent = root or home()
    taken = {path.name for path in parent.iterdir()} if parent.is_dir() else set()
    number = 1
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"


def _candidates(reference: str) -> list[Path]:
    """Return the folders that a reference may mean: a path as typed, then a name under home."""
    typed = Path(reference).expanduser()
    if typed.name == "search.toml":
        typed = typed.parent
    looks_like_path = "/" in reference or reference in {".", ".."}
    return [typed] if looks_like_path else [home() / reference, typed]


def sweep_unfinished(target: Path, *, now: float) -> None:
    """Remove what launches of this name left that died before their search was whole; ``now``: the file server's time."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.tmp-*"):
        if left_over(path, now):
            shutil.rmtree(path, ignore_errors=True)
