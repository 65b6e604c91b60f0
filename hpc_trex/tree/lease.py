"""The lease of a search: one controller at a time, on file systems whose locks cannot be trusted (DESIGN section 5).

The lease is a file that can be made only where there is none (a hard link, or O_EXCL), and holds who made it and a random *fence*. Its modification time, set by the
file server, is the sign of life. A holder whose process is gone from this very machine loses the lease at once; any
other after ten minutes without a sign, measured between two times of the same file server.

A stale lease is taken over by renaming it away, which only one contender can do to one file, and making a new one. A
contender that was too slow may rename away the lease that has just been made; it sees the wrong fence and puts it back.
Whatever happens between machines, at most one process passes :meth:`Lease.check`, since there is one file with one fence,
and the store asks before each commit.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import secrets
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from pydantic import ValidationError

from hpc_trex.errors import LeaseHeld
from hpc_trex.faults import reach
from hpc_trex.files import DISK_ERRORS, disk_problem, machine, server_now, temporary_name
from hpc_trex.layout import SearchPaths
from hpc_trex.models import Record

STALE_SECONDS = 600.0
#: An empty or broken lease is one that is being written (without hard links), or whose writer died over it.
UNREADABLE_SECONDS = 30.0
#: A check that comes so long after the last sign of life gives a new one.
SIGN_SECONDS = 30.0
_TRIES = 20
_PAUSE_SECONDS = 0.05


class Holder(Record):
    """Who holds a lease. ``since`` is for people."""

    fence: str
    host: str
    machine: str
    """Boot id and process-id namespace: where ``pid`` means something. Empty where the system does not tell."""
    pid: int
    started: int
    """Start of the process in clock ticks since boot: a reused pid is not the same process. 0: unknown."""
    uid: int
    job: str = ""
    """Slurm job id, if the controller runs inside a job."""
    since: str

    def __str__(self) -> str:
        job = f", Slurm job {self.job}" if self.job else ""
        return f"pid {self.pid} on {self.host}{job} (user id {self.uid}), since {self.since}"


class Found(NamedTuple):
    """A lease file as it was read: ``holder`` is None when it is empty or broken."""

    holder: Holder | None
    raw: bytes
    modified: float

    @property
    def fence(self) -> str:
        return self.holder.fence if self.holder else ""


class Lease:
    """The lease of one search, or of the one thing that a path names; a context manager that acquires and releases it."""

    def __init__(self, paths: SearchPaths | Path) -> None:
        self.path = paths if isinstance(paths, Path) else paths.lease
        self.holder = _this_process()
        self._signed = time.monotonic()

    def acquire(self) -> None:
        """Take the lease, or raise :class:`LeaseHeld` saying who has it. A stale one is taken over."""
        taken_over = False
        for _ in range(_TRIES):
            if self._create():
                if taken_over:
                    time.sleep(_PAUSE_SECONDS)  # a slower contender may just be mistaking our lease for the stale one
                self.check()
                return
            found = read_lease(self.path)
            if found is None:
                continue  # gone between the two looks
            age = server_now(self.path) - found.modified
            if not _is_stale(found, age):
                raise self._held(found, f"; last sign of life {age:.0f} s ago")
            taken_over = move_aside(self.path, found.fence) or taken_over
        raise LeaseHeld(f"{self.path} changes hands too fast", hint="try again in a minute")

    def check(self) -> None:
        """Make sure that the lease is still ours, and now and then give a sign of life.

        Raises :class:`LeaseHeld`; asked before each commit, so it reads one small file.
        """
        for _ in range(_TRIES):
            found = read_lease(self.path)
            if found is not None and found.holder is not None:
                if found.fence == self.holder.fence:
                    if time.monotonic() > self._signed + SIGN_SECONDS:
                        self._sign()
                    return
                raise self._held(found, "; it was taken over from this process")
            time.sleep(_PAUSE_SECONDS)  # another contender may just be putting it back
        raise LeaseHeld(f"the lease {self.path} was taken away from this process", hint="hpc-trex resume goes on")

    def must_be_free(self) -> None:
        """Raise :class:`LeaseHeld` when a living controller has it; take nothing."""
        found = read_lease(self.path)
        if found is not None and not _is_stale(found, server_now(self.path) - found.modified):
            raise self._held(found, "")

    def renew(self) -> None:
        """Give a sign of life now; a long pause needs it. Raises :class:`LeaseHeld` when the lease is lost."""
        self.check()
        self._sign()

    def release(self) -> None:
        """Give the lease back if it is still ours."""
        found = read_lease(self.path)
        if found is not None and found.fence == self.holder.fence:
            move_aside(self.path, self.holder.fence)

    def __enter__(self) -> Lease:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _sign(self) -> None:
        os.utime(self.path)  # no time given: the file server's own
        self._signed = time.monotonic()

    def _create(self) -> bool:
        """Make the file, unless there is one; tell whether it was made."""
        raw = self.holder.model_dump_json(indent=1).encode()
        beside = temporary_name(self.path)
        try:
            _write_new(beside, raw)
            reach("lease/before", self.path)
            made = _link(beside, self.path, raw)
            reach("lease/made", self.path)
        except OSError as error:
            if error.errno in DISK_ERRORS:
                raise disk_problem(error, self.path) from error
            raise
        finally:
            with contextlib.suppress(OSError):  # a read-only disk refuses this too, where there is nothing to remove
                beside.unlink(missing_ok=True)
        return made

    def _held(self, found: Found, more: str) -> LeaseHeld:
        who = str(found.holder) if found.holder else "a controller that is just starting"
        return LeaseHeld(
            f"{self.path.parent} is being run by {who}{more}",
            hint="hpc-trex status shows its progress; if that process is surely gone: hpc-trex unlock",
        )


def unlock(paths: SearchPaths) -> Holder | None:
    """Remove the lease, whoever has it, and return who had it. A controller that still runs stops at its next commit."""
    found = read_lease(paths.lease)
    if found is None:
        return None
    move_aside(paths.lease, found.fence)
    return found.holder


def read_lease(path: Path) -> Found | None:
    """Return the lease as it stands; None when there is none."""
    try:
        with path.open("rb") as handle:  # opening asks the file server; a stat may be answered from a cache
            raw, modified = handle.read(), os.fstat(handle.fileno()).st_mtime
    except FileNotFoundError:
        return None
    try:
        return Found(Holder.model_validate_json(raw), raw, modified)
    except ValidationError:
        return Found(None, raw, modified)


def is_held(path: Path) -> bool:
    """Tell whether there is a lease whose holder is not known to be gone. Writes nothing, so a stale one of another machine counts."""
    found = read_lease(path)
    return found is not None and not (found.holder is not None and _is_gone(found.holder))


def move_aside(path: Path, fence: str) -> bool:
    """Remove the lease with this fence and no other; tell whether this call did it."""
    found = read_lease(path)
    if found is None or found.fence != fence:
        return False
    aside = temporary_name(path)
    reach("lease/leaving", path)
    try:
        path.rename(aside)
    except FileNotFoundError:
        return False
    reach("lease/left", path)
    moved = read_lease(aside)
    right = moved is not None and moved.fence == fence
    if moved is not None and not right:
        _link(aside, path, moved.raw)  # not the one that was meant; if a newer one is there by now, that one stands
    aside.unlink(missing_ok=True)  # its holder's next look finds nothing, also where the old file is cached
    return right


def _link(source: Path, path: Path, raw: bytes) -> bool:
    """Give a file a second name, unless that name is taken; tell whether it was done.

    A hard link appears whole, with its contents. Where the file system has none, a new file is made with O_EXCL.
    """
    try:
        os.link(source, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL):
            raise
        return _write_new(path, raw)
    return True


def _write_new(path: Path, raw: bytes) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(raw)
        handle.flush()
        os.fsync(handle.fileno())
    return True


def _is_stale(found: Found, age: float) -> bool:
    """Tell whether a lease may be taken over. ``age``: seconds since its last sign of life, by the file server."""
    if found.holder is None:
        return age > UNREADABLE_SECONDS
    return _is_gone(found.holder) or age > STALE_SECONDS


def _is_gone(holder: Holder) -> bool:
    """Tell whether the holder's process is known to be gone: only this machine's own processes can be known."""
    if not machine() or machine() != holder.machine:
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's process: it is there
    state, now = _stat(holder.pid)
    # A dead process that nobody has reaped keeps its number: seen in containers and below careless parents.
    return state in ("Z", "X") or (0 not in (holder.started, now) and now != holder.started)


def _this_process() -> Holder:
    pid = os.getpid()
    return Holder(
        fence=secrets.token_hex(16),
        host=socket.gethostname(),
        machine=machine(),
        pid=pid,
        started=_stat(pid)[1],
        uid=os.getuid(),
        job=os.environ.get("SLURM_JOB_ID", ""),
        since=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _stat(pid: int) -> tuple[str, int]:
    """Return a process's state and its start in clock ticks since boot (``/proc/PID/stat``); ("", 0) when not told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, ValueError, IndexError):
        return "", 0
