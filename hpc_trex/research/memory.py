"""Answers of services, kept on disk by address with their date, so that a rerun reads the same evidence and asks nobody."""

from __future__ import annotations

import contextlib
import hashlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hpc_trex.errors import TrexError
from hpc_trex.files import read_record, write_record
from hpc_trex.models.base import Record

#: An answer of so many days is given without asking again.
FRESH = timedelta(days=7)


class Remembered(Record):
    """One answer."""

    address: str
    """Without any key."""
    date: str
    """ISO 8601, UTC."""
    body: str

    @property
    def fresh(self) -> bool:
        """Whether it is given without asking again."""
        try:
            return datetime.fromisoformat(self.date) > datetime.now(UTC) - FRESH
        except (ValueError, TypeError):
            return False


def recall(folder: Path, address: str) -> Remembered | None:
    """Return the answer that was kept for this address; None where there is none that can be read."""
    with contextlib.suppress(OSError):
        found = read_record(_path(folder, address), Remembered)
        if found is not None and found.address == address:
            return found
    return None


def remember(folder: Path, address: str, body: str) -> None:
    """Keep an answer. A disk that takes nothing costs the cache, not the answer."""
    record = Remembered(address=address, date=datetime.now(UTC).isoformat(timespec="seconds"), body=body)
    with contextlib.suppress(OSError, TrexError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_record(_path(folder, address), record, mode=0o600)


def seconds_since_asked(folder: Path, host: str) -> float | None:
    """Return how long ago any process with this folder asked a host; None where nobody is known to have."""
    try:
        return max(0.0, time.time() - _stamp(folder, host).stat().st_mtime)
    except OSError:
        return None


def mark_asked(folder: Path, host: str) -> None:
    """Let the other processes with this folder know that the host is asked now."""
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _stamp(folder, host).touch()


def _stamp(folder: Path, host: str) -> Path:
    return folder / f"{hashlib.sha256(host.encode()).hexdigest()[:16]}.asked"


def _path(folder: Path, address: str) -> Path:
    return folder / f"{hashlib.sha256(address.encode()).hexdigest()}.json"
