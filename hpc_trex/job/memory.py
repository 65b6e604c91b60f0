"""What the machine says about memory: the kernel's own count of out-of-memory kills, and what a tree of processes holds."""

from __future__ import annotations

from pathlib import Path

import psutil


def oom_kills() -> int:
    """Return how often the kernel killed a process of this control group for memory; 0 where it does not say.

    cgroup v2 says it in ``memory.events``, v1 in ``memory.oom_control`` (``man 7 cgroups``).
    """
    total = 0
    for path in _counters():
        try:
            lines = path.read_text().splitlines()
        except OSError:  # not mounted here, or not ours to read
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return total


def _counters() -> list[Path]:
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # no /proc
        return []
    root, found = Path("/sys/fs/cgroup"), []
    for line in groups:
        _, controllers, where = line.split(":", 2)
        if not controllers:
            found.append(root / where.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            found.append(root / "memory" / where.lstrip("/") / "memory.oom_control")
    return found


def tree_gb(process: psutil.Process) -> float:
    """Return the resident memory of a process and its descendants in GiB."""
    total = 0
    for member in [process, *_descendants(process)]:
        try:
            total += member.memory_info().rss
        except psutil.Error:  # it ended meanwhile
            continue
    return total / 2**30


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:  # it ended meanwhile
        return []
