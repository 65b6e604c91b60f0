"""What the benchmarks on Slurm share: a test cluster of their own, and the CPU time of a process and its commands."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for tests.noop

from hpc_trex.site import site


@contextmanager
def cluster(*options: str) -> Iterator[Path]:
    """Start a test cluster and yield a folder for the searches; both are deleted at the end."""
    scripts = site("slurm", "testcluster")
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="trexb-", dir="/tmp") as folder:
        state, home = Path(folder) / "s", Path(folder) / "h"
        home.mkdir()
        subprocess.run([scripts / "up.sh", state, *options], check=True, stderr=subprocess.DEVNULL)
        os.environ["SLURM_CONF"] = str(state / "etc" / "slurm.conf")
        os.environ["HPC_TREX_CACHE"] = str(home / "cache")
        if "/usr/sbin" not in os.environ["PATH"].split(":"):
            os.environ["PATH"] += ":/usr/sbin"
        try:
            yield home
        finally:
            subprocess.run([scripts / "down.sh", state, "--purge"], check=False, stderr=subprocess.DEVNULL)


def cpu_seconds() -> tuple[float, float]:
    """Return the CPU time of this process and that of the commands that it ran and that are over, in seconds."""
    own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime, below.ru_utime + below.ru_stime


def megabytes() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def row(*cells: object) -> None:
    """Print one line of a Markdown table at once."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)
