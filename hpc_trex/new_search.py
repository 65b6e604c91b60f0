"""A search directory that appears whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import tomli_w

from hpc_trex.errors import UsageProblem
from hpc_trex.faults import reach
from hpc_trex.files import DISK_ERRORS, disk_problem, sync_folder, temporary_name, write_atomic
from hpc_trex.layout import SearchPaths
from hpc_trex.models import SearchConfig
from hpc_trex.searches import sweep_unfinished
from hpc_trex.tree.events import SearchCreated
from hpc_trex.tree.store import Store

README = """This is one search of HPC-TREX: one task, one base model, one tree.

  hpc-trex status {name}     hpc-trex tree {name}     hpc-trex resume {name}     hpc-trex report {name}

events.jsonl is the truth; tree.db is made from it (hpc-trex db rebuild). Do not edit either.
sealed/ holds the test rows, which are opened once, for the chosen node.
"""


def make_search(
    target: Path,
    config: SearchConfig,
    task: Callable[[SearchPaths], str],
    *,
    base_digest: str,
    higher_is_better: bool,
) -> SearchPaths:
    """Make a search directory: task files, ``search.toml``, an empty tree. All of it, or nothing, whatever happens.

    ``task`` writes the task's files into the folder and returns the card's digest. The folder is made beside and
    renamed, so that a launch that was killed leaves nothing under the search's name. An empty folder that the user
    made, whose owner and mode may matter, is filled as it stands.

    Raises UsageProblem when another launch was first, EnvironmentProblem when the disk is full.
    """
    os.umask(0o007 if config.profile.share == "group" else 0o077)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        making = target if target.is_dir() else temporary_name(target)
        if making is target:
            if any(target.iterdir()):
                raise _taken(target)
        else:
            making.mkdir()
            sweep_unfinished(target, now=making.stat().st_mtime)
        try:
            paths = SearchPaths(making)
            # With the set-group-ID bit everything below belongs to the folder's group, whoever makes it.
            share, mode = config.profile.share, stat.S_IMODE(making.stat().st_mode)
            making.chmod(mode | 0o2770 if share == "group" else mode & ~0o077)
            created = SearchCreated(
                config=config, task_digest=task(paths), base_digest=base_digest, higher_is_better=higher_is_better
            )
            _fill(paths, created)
            if making is not target:
                _appear(making, target)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise disk_problem(error, target) from error
        raise
    return SearchPaths(target)


def _fill(paths: SearchPaths, created: SearchCreated) -> None:
    """Write what a search has, beside its task, before its first tick."""
    write_atomic(paths.config, tomli_w.dumps(created.config.model_dump(mode="json", exclude_none=True)))
    write_atomic(paths.root / "README.txt", README.format(name=created.config.name))
    Store.create(paths, created).close()


def _appear(making: Path, target: Path) -> None:
    """Give the finished folder its name. Raises UsageProblem when another launch has been first: its search is not touched."""
    reach("search/before", target)
    try:
        making.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise _taken(target) from error
        raise
    reach("search/after", target)
    sync_folder(target.parent)


def _taken(directory: Path) -> UsageProblem:
    return UsageProblem(
        f"{directory} exists already", hint=f"choose another --name, or: hpc-trex resume {directory.name}"
    )
