"""What is looked at from outside while code runs: memory, processes and the folder, by means that need no rights."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from hpc_trex.sandbox.run import Limits

#: Files in the folder; more are as good as a full disk.
_MOST_FILES = 1000


class Watch:
    """The second line: the kernel's own limits stand before it, and some of them do not hold for root."""

    def __init__(self, pid: int, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._root: psutil.Process | None = None
        with suppress(psutil.Error):  # it ended already
            self._root = psutil.Process(pid)

    def trouble(self) -> str:
        """Return which limit is passed; empty: none."""
        members = self._members()
        if len(members) > self._limits.processes:
            return f"started processes: {len(members)}, of {self._limits.processes} allowed"
        held = 0
        for member in members:
            with suppress(psutil.Error):  # it ended meanwhile
                held += member.memory_info().rss
        if held > self._limits.memory_bytes + 2**26:
            return f"used more memory than {self._limits.memory_bytes / 2**30:.2g} GB"
        size, files = _measured(self._folder)
        if size > self._limits.folder_bytes or files > _MOST_FILES:
            return f"wrote more than {self._limits.folder_bytes // 2**20} MB or {_MOST_FILES} files"
        return ""

    def kill(self) -> None:
        """Kill everything below the launcher, the deepest last: the first one's end may free the others."""
        for member in self._members():
            with suppress(psutil.Error):
                member.kill()

    def _members(self) -> list[psutil.Process]:
        if self._root is None:
            return []
        with suppress(psutil.Error):
            return [self._root, *self._root.children(recursive=True)]
        return []


def _measured(folder: Path) -> tuple[int, int]:
    """Return bytes and files below a folder, counted up to a little more than too many."""
    size = files = 0
    todo = [str(folder)]
    while todo and files <= _MOST_FILES:
        with suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                files += 1
                with suppress(OSError):
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                if files > _MOST_FILES:
                    break
    return size, files
