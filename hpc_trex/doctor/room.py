"""Is there room: bytes and files, of the file system and of the quotas that can be asked."""

from __future__ import annotations

import os
from pathlib import Path

from hpc_trex.doctor.check import Check, failure, ok, warning
from hpc_trex.staging import space

SHARE = 0.10
FILES = 100_000
BYTES = 20 * 10**9
#: Big shared disks are always nearly full: so much is enough, whatever share it is.
MANY_BYTES = 10**12
_MORE = "make room (hpc-trex gc; an environment of conda alone has 50,000 files), or choose another folder"


def check_room(folder: Path, *, ask: space.Ask = space.ask) -> list[Check]:
    """Return a line for the file system and for each quota that answers."""
    system = os.statvfs(folder)
    total, files = system.f_blocks * system.f_frsize, system.f_files
    return [judge(room, total if number == 0 else None, files if number == 0 else None)
            for number, room in enumerate(space.rooms(folder, ask=ask))]  # fmt: skip


def judge(room: space.Room, total: int | None = None, files: int | None = None) -> Check:
    """Say whether a limit is near; ``total`` and ``files`` are the size of the file system where they are known."""
    name = "room" if "file system" in room.source else "quota"
    words = [f"{room.source}:"]
    words += [f"{space.gigabytes(room.bytes_free)} free"] if room.bytes_free is not None else []
    if total and room.bytes_free is not None:
        words += [f"({room.bytes_free / total:.0%})"]
    words += [f"and {room.files_free:,} files may still be made"] if room.files_free is not None else []
    found = " ".join(words)
    if room.bytes_free == 0 or room.files_free == 0:
        return failure(name, found, _MORE)
    few_bytes = room.bytes_free is not None and (
        room.bytes_free < min(total * SHARE, MANY_BYTES) if total else room.bytes_free < BYTES
    )
    few_files = room.files_free is not None and (
        room.files_free < FILES and not (files and room.files_free >= files * 0.5)
    )
    return warning(name, found, _MORE) if few_bytes or few_files else ok(name, found)
