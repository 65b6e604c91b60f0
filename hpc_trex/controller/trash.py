"""Moving what can go into ``SEARCH/trash``, and deleting what has been there for a day.

Another machine may still have a file open that is deleted here: on NFS it then reads a stale handle. So everything is
moved by rename first, which leaves open files alone, and deleted a day later. A run that is killed has moved some of it; the
next one moves the rest. What the file server refuses is skipped, told, and found again next time.
"""

from __future__ import annotations

import secrets
import shutil
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path

from hpc_trex.controller.garbage import DAY_SECONDS, Item, Pack, item
from hpc_trex.errors import EnvironmentProblem
from hpc_trex.faults import reach
from hpc_trex.files import DISK_ERRORS, disk_problem, sync_folder, temporary_name
from hpc_trex.layout import SearchPaths
from hpc_trex.tree.database import flush


class Trash:
    """The trash of one search during one run. ``skipped`` collects, in words, what could not be done."""

    def __init__(self, paths: SearchPaths) -> None:
        self.paths = paths
        self.skipped: list[str] = []
        self._batch = paths.trash / f"{time.strftime('%Y-%m-%d')}-{secrets.token_hex(4)}"

    def old(self, now: float, *, all_of_it: bool = False) -> list[Item]:
        """Return what has been in the trash for a day (``all_of_it``: whatever is there)."""
        try:
            found = sorted(self.paths.trash.iterdir())
            aged = [path for path in found if all_of_it or now - path.stat().st_mtime > DAY_SECONDS]
        except FileNotFoundError:
            return []
        return [item("old trash", path) for path in aged]

    def delete(self, items: Iterable[Item]) -> None:
        """Delete for good what lies in the trash."""
        for one in items:
            reach("trash/delete", one.path)
            shutil.rmtree(one.path, onerror=lambda _call, path, info: self._skip(Path(path), info[1]))

    def move(self, items: Iterable[Item]) -> list[Item]:
        """Move everything into the trash and return what was moved. Raises EnvironmentProblem for a full disk."""
        return [one for one in items if self._move(one.path)]

    def pack(self, packs: Iterable[Pack]) -> list[Pack]:
        """Pack the logs of each round into its archive, then move the files; return what was packed."""
        return [one for one in packs if self._pack(one)]

    def _pack(self, pack: Pack) -> bool:
        target = self.paths.packed_logs(pack.node)
        beside = temporary_name(target)
        try:
            _write_archive(beside, target, self.paths.node(pack.node), pack.files)
            flush(beside)
            reach("pack/before", target)
            beside.replace(target)
            sync_folder(target.parent)
            reach("pack/after", target)
        except (OSError, tarfile.TarError) as error:
            self._skip(target, error)
            return False
        finally:
            beside.unlink(missing_ok=True)
        return len(self.move(item("log", path) for path in pack.files)) == len(pack.files)

    def _move(self, path: Path) -> bool:
        target = self._batch / path.relative_to(self.paths.root)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            reach("trash/before", path)
            path.rename(target)
            reach("trash/after", path)
        except OSError as error:
            if error.errno in DISK_ERRORS:
                problem = disk_problem(error, target)
                raise EnvironmentProblem(problem.message, hint="delete the trash at once: hpc-trex gc --now") from error
            self._skip(path, error)
            return False
        return True

    def _skip(self, path: Path, error: BaseException) -> None:
        if isinstance(error, FileNotFoundError):
            return  # somebody else has removed it: that is what was wanted
        words = getattr(error, "strerror", None) or str(error)
        self.skipped.append(f"{path}: {words}")


def _write_archive(beside: Path, old: Path, root: Path, files: list[Path]) -> None:
    """Write an archive of what the old one holds and of the files, which replace older ones of their names."""
    names = {str(path.relative_to(root)) for path in files}
    with tarfile.open(beside, "w:gz") as archive:
        if old.exists():
            with tarfile.open(old, "r:gz") as before:
                for member in before.getmembers():
                    if member.name not in names:
                        archive.addfile(member, before.extractfile(member))
        for path in files:
            archive.add(path, arcname=str(path.relative_to(root)), recursive=False)
