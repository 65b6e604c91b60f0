"""Is there room? Asked before anything is fetched: bytes and files, of the file system and of the user's quota."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from hpc_trex.errors import EnvironmentProblem

#: Quota commands ask a file server; one that does not answer must not hold the user up.
_SECONDS = 10

Ask = Callable[[Sequence[str]], str]


class Room(NamedTuple):
    """What may still be written. None: no such limit."""

    bytes_free: int | None
    files_free: int | None
    source: str
    """Who says so."""


def ask(words: Sequence[str]) -> str:
    """Return what a command prints; empty when it is not there, does not answer in time, or refuses to.

    ``quota`` ends with an error code when a limit is reached, and prints the numbers all the same.
    """
    try:
        done = subprocess.run(
            list(words), capture_output=True, text=True, timeout=_SECONDS, stdin=subprocess.DEVNULL, check=False,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def rooms(folder: Path, *, ask: Ask = ask) -> list[Room]:
    """Return every limit that a write into ``folder`` meets: the file system's, ``quota``'s and ``lfs quota``'s."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    system = os.statvfs(there)
    files = system.f_favail if system.f_files else None
    found = [Room(system.f_bavail * system.f_frsize, files, f"the file system of {there}")]
    user, group = _user(), _group(there)
    mount, device = _mount(there)
    for text, name in (
        (ask(("quota", "--no-wrap", "--raw-grace")), "quota"),
        (ask(("lfs", "quota", "-q", "-u", user, str(there))), f"lfs quota of {user}"),
        (ask(("lfs", "quota", "-q", "-g", group, str(there))), f"lfs quota of the group {group}"),
    ):
        room = parse_quota(text, {device, mount})
        if room is not None:
            found.append(room._replace(source=name))
    return found


def check_room(folder: Path, size: int, files: int, *, ask: Ask = ask) -> None:
    """Raise :class:`EnvironmentProblem` (exit 8) with the numbers when ``size`` bytes in ``files`` do not fit."""
    for room in rooms(folder, ask=ask):
        if room.bytes_free is not None and size > room.bytes_free:
            short = f"{gigabytes(size)}, and {gigabytes(room.bytes_free)} are free"
        elif room.files_free is not None and files > room.files_free:
            short = f"{files:,} files, and {room.files_free:,} may still be made"
        else:
            continue
        raise EnvironmentProblem(
            f"staging needs {short} ({room.source})",
            hint=f"make room below {folder}, or name a folder elsewhere: --into FOLDER",
        )


def gigabytes(size: int) -> str:
    """Return a size as a person reads it, in decimal units as disks are sold."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def parse_quota(text: str, names: set[str]) -> Room | None:
    """Read the line of one file system in the answer of ``quota`` or ``lfs quota``; None where it sets no limit.

    After the name stand blocks of 1 KiB and files, each as used, soft limit, hard limit and grace. A long name may
    stand on a line of its own; a star or brackets mark what is over or not sure.
    """
    words = text.split()
    for position, word in enumerate(words):
        if word not in names:
            continue
        blocks, files = words[position + 1 : position + 5], words[position + 5 : position + 9]
        free_blocks, free_files = _free(blocks), _free(files)
        if free_blocks is not None or free_files is not None:
            return Room(None if free_blocks is None else free_blocks * 1024, free_files, "")
    return None


def _free(words: Sequence[str]) -> int | None:
    """Return what is left of ``used soft hard grace``; the hard limit counts, where there is none the soft one."""
    try:
        used, soft, hard = (int(word.strip("*[]")) for word in words[:3])
    except ValueError:
        return None
    limit = hard or soft
    return max(0, limit - used) if limit else None


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _group(folder: Path) -> str:
    number = folder.stat().st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _mount(folder: Path) -> tuple[str, str]:
    """Return the mount point and the device of the file system of ``folder``."""
    best = ("/", "")
    real = folder.resolve()
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return best
    for line in lines:
        device, mount, *_ = (part.replace("\\040", " ") for part in line.split(" "))
        if real.is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, device)
    return best
