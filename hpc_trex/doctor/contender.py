"""One of two processes that fight for the same leases: ``python -m hpc_trex.doctor.contender FOLDER ME ROUNDS``.

Prints JSON: the rounds that it won, and what became of a file lock (fcntl) that process 0 holds and process 1 tries.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import sys
import time
from pathlib import Path

from hpc_trex.errors import LeaseHeld
from hpc_trex.layout import SearchPaths
from hpc_trex.tree.lease import Lease

SECONDS = 20.0


def contend(folder: Path, me: int, rounds: int) -> dict[str, object]:
    """Take part in every round; both begin each at the same moment. Raises ``TimeoutError`` without an opponent."""
    won = []
    for number in range(rounds):
        root = folder / str(number)
        with contextlib.suppress(FileExistsError):
            root.mkdir()
        _meet(folder, f"ready-{number}", me)
        try:
            Lease(SearchPaths(root)).acquire()
        except LeaseHeld:
            continue
        won.append(number)
    words = ""
    with (folder / "lock").open("a") as handle:
        if me == 0:
            words = try_lock(handle.fileno())
        _meet(folder, "locked", me)
        if me == 1:
            words = try_lock(handle.fileno())
        _meet(folder, "over", me)  # until here both live: a dead process holds no lease and no lock
    return {"won": won, "lock": words}


def try_lock(descriptor: int) -> str:
    """Try a file lock: ``granted``, ``refused``, or what went wrong."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return "refused"
    except OSError as error:
        return str(error.strerror)
    return "granted"


def _meet(folder: Path, name: str, me: int) -> None:
    (folder / f"{name}-{me}").touch()
    other = folder / f"{name}-{1 - me}"
    end = time.monotonic() + SECONDS
    while not other.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"the other process did not come to {name}")
        time.sleep(0.001)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(contend(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
