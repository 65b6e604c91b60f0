"""Files that appear whole or not at all: written beside, flushed to disk, then renamed (DESIGN section 5)."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import pwd
import re
import secrets
import stat
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from hpc_trex.errors import EnvironmentProblem
from hpc_trex.faults import reach

M = TypeVar("M", bound=BaseModel)

#: Errors of a disk that is full, over quota or read-only: the user's to mend, then ``resume``.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


#: Of whoever writes into a search that its group shares.
GROUP_UMASK = 0o007
#: A temporary file whose maker may live on another machine is believed to be left over after so long.
LEFT_OVER_SECONDS = 3600.0
_TEMPORARY = re.compile(r"\..+\.tmp-(?P<machine>[0-9a-f]*)-(?P<pid>\d+)-[0-9a-f]+")


@functools.cache
def machine() -> str:
    """Return boot id and process-id namespace, where a process number means something; empty where it is not told.

    Containers of one machine do not see each other's processes.
    """
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def user_name() -> str:
    """Return who runs this; the number where the machine knows no name (containers)."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def umask_of(folder: Path) -> int:
    """Return the umask of whoever writes into a search: its folder is writable for the group, or private."""
    try:
        shared = folder.stat().st_mode & stat.S_IWGRP
    except OSError:
        shared = 0
    return GROUP_UMASK if shared else 0o077


def _machine_mark() -> str:
    return hashlib.sha256(machine().encode()).hexdigest()[:8] if machine() else ""


def temporary_name(path: Path) -> Path:
    """Return a name beside ``path`` for what is not whole yet; it tells who made it (:func:`sweep`)."""
    return path.with_name(f".{path.name}.tmp-{_machine_mark()}-{os.getpid()}-{secrets.token_hex(4)}")


def sweep(folder: Path, *, now: float) -> list[Path]:
    """Remove the temporary files of processes that died over them, and return which; ``now`` is the file server's time.

    Whether a process of this machine still lives is known; those of others may be alive, for an hour.
    """
    removed = []
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and left_over(path, now):
                    path.unlink()
                    removed.append(path)
    return removed


def left_over(path: Path, now: float) -> bool:
    """Tell whether a path has a name of :func:`temporary_name` and nobody will give it its own any more."""
    match = _TEMPORARY.fullmatch(path.name)
    if match is None:
        return False
    if machine() and match["machine"] == _machine_mark() and not Path("/proc", match["pid"]).exists():
        return True
    return now - path.stat().st_mtime > LEFT_OVER_SECONDS


def server_now(path: Path) -> float:
    """Return the file server's time, by making a file beside ``path``. Raises :class:`EnvironmentProblem` for a bad disk."""
    beside = temporary_name(path)
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.utime(descriptor)
            return os.fstat(descriptor).st_mtime
        finally:
            os.close(descriptor)
            beside.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise disk_problem(error, beside) from error
        raise


def disk_problem(error: OSError, path: Path) -> EnvironmentProblem:
    """Return the user's error for a write that the disk refused (exit code 8)."""
    hint = "make room (df -h, quota -s), then: hpc-trex resume"
    if error.errno == errno.EROFS:
        hint = "choose another folder (--directory, HPC_TREX_HOME); one that was writable before: wait, then hpc-trex resume"
    return EnvironmentProblem(f"cannot write {path}: {error.strerror}", hint=hint)


def write_atomic(path: Path, data: bytes | str, *, mode: int | None = None) -> None:
    """Write a file so that every reader sees the old one or the new one, never a part.

    Raises :class:`EnvironmentProblem` when the disk is full or read-only; the old file is then still there.
    """
    raw = data.encode() if isinstance(data, str) else data
    temporary = temporary_name(path)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
        try:
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(raw)
                handle.flush()
                os.fsync(handle.fileno())
            reach("file/before", path)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        reach("file/after", path)
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


def is_newer(error: ValueError) -> bool:
    """Tell whether what was read is whole, and only says more than this program knows."""
    kinds = {one["type"] for one in error.errors()} if isinstance(error, ValidationError) else set()
    return bool(kinds) and kinds <= {"extra_forbidden", "union_tag_invalid"}


def newer_problem(what: str) -> EnvironmentProblem:
    """Return what is said of something that a newer program wrote."""
    return EnvironmentProblem(
        f"{what} was written by a newer hpc-trex",
        hint="use the newer program (pip install --upgrade hpc-trex), and start anew what runs with the old one: hpc-trex resume",
    )


def refuse_newer(path: Path, model: type[BaseModel]) -> None:
    """Raise :class:`EnvironmentProblem` for a file that a newer program wrote; a missing or broken one is none."""
    try:
        model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        if is_newer(error):
            raise newer_problem(str(path)) from error
    except (FileNotFoundError, NotADirectoryError):
        return


def sync_tree(folder: Path) -> None:
    """Flush every file below a folder to disk, so that a rename of the folder promises what is in it."""
    for path in folder.rglob("*"):
        if path.is_file():
            sync_folder(path)


def folder_digest(folder: Path) -> str:
    """Return a SHA-256 over the names, sizes and first mebibytes of a model folder's files.

    Not the whole weights: reading 140 GB in every job would cost more than it tells. Nor what lies hidden: downloads keep
    their notes there (``.cache/huggingface``) and change them, and NFS leaves ``.nfs...`` files.
    """
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path, folder)):
        with path.open("rb") as handle:
            head = handle.read(1 << 20)
        total.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode() + head)
    return total.hexdigest()


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(folder).parts)
