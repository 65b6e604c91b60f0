"""Claiming an attempt: the first job that comes owns it, a double or a requeued job leaves."""

from __future__ import annotations

import json
import os
import socket
import time
from datetime import UTC, datetime

from hpc_trex.job.launch import Seat
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import JobSpec, ServeSpec
from hpc_trex.training.say import say

_FOLLOW_SECONDS = 300.0


def claim(paths: AttemptPaths, spec: JobSpec | ServeSpec, seat: Seat) -> bool:
    """Make ``started.json``; return False, with the reason printed, when another job was there first.

    Raises ``OSError`` when the disk is full, and leaves the attempt unclaimed.
    """
    record = {
        "token": spec.token,
        "host": socket.gethostname(),
        "node": os.environ.get("SLURMD_NODENAME", ""),
        "pid": os.getpid(),
        "job_id": seat.job_id,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        descriptor = os.open(paths.started, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        say(f"this attempt has been started already, leaving: {_holder(paths)}")
        return False
    try:
        with os.fdopen(descriptor, "w") as handle:
            json.dump(record, handle)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError:
        paths.started.unlink()
        raise
    return True


def follow(paths: AttemptPaths, seat: Seat, *, seconds: float = _FOLLOW_SECONDS) -> bool:
    """Wait until the leader of the same job has claimed the attempt; False when another job holds it, or nobody came."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        holder = _holder(paths)
        if holder:
            return str(holder.get("job_id")) == seat.job_id
        time.sleep(0.2)
    return False


def _holder(paths: AttemptPaths) -> dict[str, object]:
    """Return who holds the attempt; empty when nobody does, or the file is being written."""
    try:
        holder = json.loads(paths.started.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return holder if isinstance(holder, dict) else {}
