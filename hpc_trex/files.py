"""Files that appear whole or not at all: written beside, flushed to disk, then renamed (DESIGN section 5)."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from hpc_trex.errors import EnvironmentProblem

M = TypeVar("M", bound=BaseModel)

#: Errors of a disk that is full, over quota or read-only: the user's to mend, then ``resume``.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def disk_problem(error: OSError, path: Path) -> EnvironmentProblem:
    """Return the user's error for a write that the disk refused (exit code 8)."""
    return EnvironmentProblem(
        f"cannot write {path}: {error.strerror}",
        hint="make room (df -h, quota -s), then: hpc-trex resume",
    )


def write_atomic(path: Path, data: bytes | str, *, mode: int | None = None) -> None:
    """Write a file so that every reader sees the old one or the new one, never a part.

    Raises :class:`EnvironmentProblem` when the disk is full or read-only; the old file is then still there.
    """
    raw = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
        try:
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(raw)
                handle.flush()
                os.fsync(handle.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise disk_problem(error, path) from error
        raise


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename inside it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_record(path: Path, record: BaseModel, *, mode: int | None = None) -> None:
    """Write a record as indented JSON, atomically."""
    write_atomic(path, record.model_dump_json(indent=1) + "\n", mode=mode)


def read_record(path: Path, model: type[M]) -> M | None:
    """Return the record in ``path``; None when the file is not there, is cut short or does not fit the model.

    For files that another process writes (heartbeats, results): a broken one is the same as none, and the caller's
    own rules say what follows.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
