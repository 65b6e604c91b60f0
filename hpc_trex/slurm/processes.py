"""Processes of this machine, told apart although the system uses a number again: by pid, start time and boot.

Everything is read from /proc in one pass; nothing here starts or ends a process, except :func:`end`.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Process(NamedTuple):
    """A process that is not a zombie."""

    pid: int
    parent: int
    session: int
    start: int
    """Clock ticks between the boot of the machine and the start of the process: field 22 of /proc/PID/stat."""


class JobId(NamedTuple):
    """The identity of a local job: ``pid:start@host/boot``."""

    pid: int
    start: int
    host: str
    boot: str

    def __str__(self) -> str:
        return f"{self.pid}:{self.start}@{self.host}/{self.boot}"


@functools.cache
def this_boot() -> str:
    """Return eight digits that change with every boot of the machine."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return "unknown"


def this_host() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def job_id_of(process: Process) -> JobId:
    """Return the identity of a process of this machine."""
    return JobId(process.pid, process.start, this_host(), this_boot())


def parse_job_id(text: str) -> JobId | None:
    """Return the parts of a local job's id; None when the text is none."""
    identity, _, place = text.partition("@")
    pid, _, start = identity.partition(":")
    host, _, boot = place.rpartition("/")
    if not (pid.isdigit() and start.isdigit() and host and boot):
        return None
    return JobId(int(pid), int(start), host, boot)


def read(pid: int) -> Process | None:
    """Return a living process; None when there is none with this number, or only its zombie."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # pid (name) state ppid pgrp session ... : the name may hold spaces and brackets
    fields = text.rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in {"Z", "X"}:
        return None
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]))


def arguments(pid: int) -> list[str]:
    """Return the command line of a process; empty when it is gone or not ours to read."""
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [part.decode(errors="replace") for part in raw.split(b"\0")[:-1]]


def variable(pid: int, name: str) -> str | None:
    """Return a variable with which a process was started; None when it has none or is not ours to read."""
    try:
        raw = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    start = name.encode() + b"="
    return next((part[len(start) :].decode() for part in raw.split(b"\0") if part.startswith(start)), None)


def ours() -> list[int]:
    """Return the numbers of this user's processes."""
    me = os.geteuid()
    found = []
    for entry in os.scandir(PROC):
        if entry.name.isdigit():
            with suppress(OSError):  # it ended between the listing and the look
                if entry.stat().st_uid == me:
                    found.append(int(entry.name))
    return found


def with_argument(marker: str) -> dict[str, list[Process]]:
    """Return this user's processes that have an argument beginning with ``marker``, by each of their arguments."""
    found: dict[str, list[Process]] = {}
    for pid in ours():
        words = arguments(pid)
        if any(word.startswith(marker) for word in words):
            process = read(pid)
            for word in {*words} if process else ():
                found.setdefault(word, []).append(process)  # type: ignore[arg-type]
    return found


def family(roots: Iterable[Process]) -> list[Process]:
    """Return the processes with all that descend from them or share their session."""
    everyone = [process for pid in ours() if (process := read(pid)) is not None]
    members = {process.pid: process for process in roots}
    grown = True
    while grown:
        grown = False
        for process in everyone:
            if process.pid not in members and (process.parent in members or process.session in members):
                members[process.pid] = process
                grown = True
    return list(members.values())


def alive(process: Process) -> bool:
    """Tell whether this very process still lives."""
    now = read(process.pid)
    return now is not None and now.start == process.start


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to this very process; nothing happens when it is gone."""
    if alive(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def end(processes: Iterable[Process], *, grace: float) -> None:
    """End processes with all below them: TERM, then KILL for what is left after ``grace`` seconds."""
    members = family(processes)
    for process in members:
        send(process, signal.SIGTERM)
    limit = time.monotonic() + grace
    while time.monotonic() < limit and any(alive(process) for process in members):
        time.sleep(0.05)
    for process in family(process for process in members if alive(process)):
        send(process, signal.SIGKILL)
