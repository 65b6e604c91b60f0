"""What the cache of recipe steps takes on disk, and which of its entries go. Needs nothing but the standard library."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from hpc_trex.data.errors import DataProblem

#: Gigabytes that the cache may take; 0: no cache. ``HPC_TREX_STEP_CACHE_GB`` says otherwise.
DEFAULT_GB = 20.0
#: An entry that was used so lately (seconds) is not removed: another job may have it open.
IN_USE = 3600.0
#: A working folder so old (seconds) was left by a job that died.
LEFT_OVER = 86_400.0
ENTRY = "entry.json"


class Entry(NamedTuple):
    """One cached step, or what a job that died left of one."""

    folder: Path
    used: float
    """When it was used last (seconds since the epoch, the file server's)."""
    size: int
    files: int


class Found(NamedTuple):
    """The entries of a cache, and what is none of them any more."""

    entries: list[Entry]
    leftovers: list[Path]

    def beyond(self, limit: float, now: float) -> list[Entry]:
        """Return the entries that go, those first that were unused for longest, until the rest takes ``limit`` bytes.

        What was used within the hour stays.
        """
        total, gone = sum(one.size for one in self.entries), []
        for one in sorted(self.entries, key=lambda one: (one.used, one.size, one.folder)):
            if total <= limit or now - one.used < IN_USE:
                break
            gone.append(one)
            total -= one.size
        return gone


def step_limit() -> float:
    """Return the bytes that the cache may take; 0: there is none. Raises :class:`DataProblem` where that is no number."""
    given = os.environ.get("HPC_TREX_STEP_CACHE_GB", "")
    try:
        return max(0.0, (float(given) if given else DEFAULT_GB) * 1e9)
    except ValueError:
        raise DataProblem(
            f"HPC_TREX_STEP_CACHE_GB must be a number of gigabytes, not {given!r}", hint="0 switches the cache off"
        ) from None


def find(root: Path, now: float | None = None) -> Found:
    """Return what lies in the cache below ``root``; changes nothing."""
    now = time.time() if now is None else now
    entries, leftovers = [], []
    for folder in sorted(root.glob("*/*")):
        with contextlib.suppress(OSError):  # somebody else is removing it
            if folder.name.startswith("."):
                if now - folder.stat().st_mtime > LEFT_OVER:
                    leftovers.append(folder)
            elif not (folder / ENTRY).exists():
                leftovers.append(folder)
            else:
                sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
                entries.append(Entry(folder, (folder / ENTRY).stat().st_mtime, sum(sizes), len(sizes)))
    return Found(entries, leftovers)


def trim(root: Path, limit: float, now: float | None = None) -> list[Entry]:
    """Remove left-overs, and the entries beyond ``limit`` bytes; return those that are gone."""
    now = time.time() if now is None else now
    found = find(root, now)
    for folder in found.leftovers:
        if folder.name.startswith("."):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            discard(folder)
    return [one for one in found.beyond(limit, now) if discard(one.folder)]


def discard(folder: Path) -> bool:
    """Remove an entry; tell whether it is out of the way. Of open files NFS leaves some: its place is free all the same."""
    aside = folder.with_name(f".{folder.name[:16]}-{secrets.token_hex(4)}")
    try:
        (folder / ENTRY).unlink(missing_ok=True)  # first: from here on nobody begins to read it
        folder.rename(aside)
    except OSError:
        return False  # somebody else's, or another job was quicker
    shutil.rmtree(aside, ignore_errors=True)
    return True
