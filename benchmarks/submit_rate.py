"""Submissions a second on the test cluster: plain sbatch, our back end, submitit's own ways; all in one run.

    python benchmarks/submit_rate.py [N=50]

Starts a cluster of its own and deletes it. The jobs are held (``--begin=now+1hour``), so that none takes the cores away.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import submitit

from hpc_trex.layout import AttemptPaths
from hpc_trex.models import JobKind, Resources
from hpc_trex.site import site
from hpc_trex.slurm.profiles import load_profile
from hpc_trex.slurm.scheduler import JobRef, JobRequest
from hpc_trex.slurm.submitit_backend import SlurmScheduler

LATER = "now+1hour"
SMALL = Resources(mem_gb=0.5, minutes=5)


@contextmanager
def cluster() -> Iterator[Path]:
    """A test cluster, and a folder for the jobs."""
    scripts = site("slurm", "testcluster")
    with tempfile.TemporaryDirectory(prefix="trex-rate-", dir="/tmp") as folder:
        state = Path(folder) / "s"
        subprocess.run([scripts / "up.sh", state], check=True)
        os.environ["SLURM_CONF"] = str(state / "etc" / "slurm.conf")
        try:
            yield Path(folder)
        finally:
            subprocess.run([scripts / "down.sh", state, "--purge"], check=True)


def plain(folder: Path, count: int) -> None:
    script = folder / "plain.sh"
    script.write_text(f"#!/bin/bash\n#SBATCH --begin={LATER}\n#SBATCH --mem=512M\ntrue\n")
    for _ in range(count):
        subprocess.run(["sbatch", "--parsable", script], check=True, capture_output=True, cwd=folder)


def ours(folder: Path, count: int) -> list[JobRef]:
    shipped = load_profile("testcluster")
    scheduler = SlurmScheduler(shipped.model_copy(update={"extra": {"begin": LATER}}))
    jobs = []
    for number in range(count):
        directory = folder / f"attempt-{number}"
        directory.mkdir()
        spec = AttemptPaths(directory).spec
        spec.write_text("{}")
        request = JobRequest(f"rate-{number}", directory, spec, JobKind.TRAIN, SMALL)
        jobs.append(JobRef(request.token, scheduler.submit(request), directory))
    return jobs


def executor(folder: Path) -> submitit.SlurmExecutor:
    made = submitit.SlurmExecutor(folder)
    made.update_parameters(time=5, mem="512M", additional_parameters={"begin": LATER})
    return made


def theirs(folder: Path, count: int) -> None:
    submitting = executor(folder)
    for number in range(count):
        submitting.submit(str, number)


def their_array(folder: Path, count: int) -> None:
    executor(folder).map_array(str, range(count))


def timed(name: str, way: Callable[[Path, int], object], folder: Path, count: int) -> object:
    where = folder / name.replace(" ", "-")
    where.mkdir()
    begun = time.perf_counter()
    result = way(where, count)
    seconds = time.perf_counter() - begun
    print(f"| {name} | {seconds:.2f} | {count / seconds:.0f} |", flush=True)
    return result


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with cluster() as folder:
        print(f"\n| way to submit {count} jobs | seconds | jobs a second |\n|---|---|---|")
        timed("sbatch in a loop", plain, folder, count)
        jobs = timed("hpc-trex", ours, folder, count)
        timed("submitit submit", theirs, folder, count)
        timed("submitit map_array", their_array, folder, count)
        scheduler = SlurmScheduler(load_profile("testcluster"))
        begun, used = time.perf_counter(), time.process_time()
        for _ in range(10):
            scheduler.poll(jobs)  # type: ignore[arg-type]
        wall, cpu = (time.perf_counter() - begun) / 10, (time.process_time() - used) / 10
        print(f"\nOne poll of these {count} jobs: {wall * 1000:.0f} ms, of which our own process {cpu * 1000:.1f} ms.")


if __name__ == "__main__":
    main()
