"""The sealed test is for one job: whatever else reads rows refuses its file, under any name.

A folder ``sealed`` is one beside the ``task`` of a search or the ``tables`` of a fetched task. Its file is known through
symbolic links, and, of the search that a job belongs to, as a hard link too. A copy of its rows is another matter: the
block list knows them (``hpc_trex.data.block``).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hpc_trex.errors import UsageProblem

FOLDER = "sealed"


def is_sealed(path: Path, test: Path | None = None) -> bool:
    """Tell whether a path leads into a sealed folder, or to the very file ``test``."""
    real = path.resolve()
    for folder in (real, *real.parents):
        if folder.name == FOLDER and _beside_a_task(folder.parent):
            return True
    try:
        return test is not None and real.samefile(test)
    except OSError:  # one of them is not there, or in a folder that is closed to us
        return False


def refuse_sealed(paths: Iterable[Path], what: str, test: Path | None = None) -> None:
    """Raise :class:`UsageProblem` naming ``what`` for a path to a sealed test."""
    for path in paths:
        if is_sealed(path, test):
            raise UsageProblem(
                f"{what}: {path} is a sealed test, which is read by the final evaluation only",
                hint="name training rows of your own",
            )


def _beside_a_task(folder: Path) -> bool:
    return (folder / "task" / "card.json").exists() or (folder / "tables").is_dir()
