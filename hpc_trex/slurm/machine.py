"""What this machine has for local jobs: cores, memory, GPUs, each within the limits set for us (affinity, cgroup)."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from hpc_trex.models import Resources
from hpc_trex.slurm.commands import Ask, ask

_CGROUP = Path("/sys/fs/cgroup")

#: Share of the memory that jobs may plan with; the rest is for the system and the page cache.
_MEMORY_SHARE = 0.9


def cores(root: Path = _CGROUP) -> int:
    """Return the physical cores that we may use: affinity, cgroup quota (v2, v1), hyper-threads counted as one."""
    allowed = len(os.sched_getaffinity(0))
    logical, physical = psutil.cpu_count() or 1, psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    allowed = max(1, allowed * physical // logical)
    quota = _quota(root)
    return max(1, min(allowed, int(quota))) if quota else allowed


def memory_gb(root: Path = _CGROUP) -> float:
    """Return the memory in GB (2**30 bytes) that jobs may plan with: what is free now, within the cgroup's limit."""
    free = float(psutil.virtual_memory().available)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = _number(root / name)
        if limit is not None:
            free = min(free, limit)
    return free * _MEMORY_SHARE / 2**30


def gpus(*, ask: Ask = ask) -> list[str]:
    """Return the GPUs that we may use: in a Slurm job those it was given, else those of nvidia-smi within our
    CUDA_VISIBLE_DEVICES.

    What Slurm hands out is taken as it stands, since it may name GPUs otherwise than nvidia-smi counts them (MIG, UUIDs).
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None and "SLURM_JOB_ID" in os.environ:
        return [name for name in given.split(",") if name]
    answer = ask(("nvidia-smi", "--query-gpu=index", "--format=csv,noheader"))
    present = [line.strip() for line in answer.out.splitlines() if line.strip().isdigit()] if answer.ok else []
    return present if given is None else [index for index in present if index in given.split(",")]


def jobs_at_once(resources: Resources, *, ask: Ask = ask) -> int:
    """Return how many jobs of this size the machine bears at once, at least 1."""
    bounds = [cores() // resources.cpus_per_task, int(memory_gb() // resources.mem_gb)]
    if resources.gpus:
        bounds.append(len(gpus(ask=ask)) // resources.gpus)
    return max(1, min(bounds))


def _quota(root: Path) -> float | None:
    """Return the CPU quota in cores; None where there is none."""
    try:
        limit, period = (root / "cpu.max").read_text().split()
        return None if limit == "max" else float(limit) / float(period)
    except (OSError, ValueError):
        limit_v1, period_v1 = _number(root / "cpu/cpu.cfs_quota_us"), _number(root / "cpu/cpu.cfs_period_us")
        return limit_v1 / period_v1 if limit_v1 and limit_v1 > 0 and period_v1 else None


def _number(path: Path) -> float | None:
    """Return the number in a file; None when there is none (``max``, no such file)."""
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None
