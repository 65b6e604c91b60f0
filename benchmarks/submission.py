"""Submitting and following jobs on a real Slurm: hpc-trex, plain sbatch and submitit, all in one run.

    python benchmarks/submission.py [--sizes 10 100 1000] [--cap 100] [--poll 1] [--minutes 5] [--only submit|follow]

Starts a test cluster of its own and prints each line when it is measured.

*Submitting*: jobs that may not start yet (``--begin``), so that none takes the cores away; they are cancelled after each
line. "hpc-trex, recorded" is what a search does: a folder, spec.json, the intent, sbatch, the job id, each flushed to the disk.
submitit's ``submit()`` waits between two submits; beyond --cap jobs it is left out.

*Following*: jobs of no work, submitted on hold, from their release until the last result is read, a look every --poll seconds. In the place
of a job's Python stands a shell script that writes the result file (ours: tests/noop; submitit's: its own result pickle),
for a thousand starts of Python would be all that is measured. Ours looks for the result files and asks squeue once for the
rest; submitit is followed by its own ``as_completed``. Slurm's commands are counted by wrappers in PATH. CPU is that of the
following process and of the commands that it runs; the delay is from the time of the result file to when it was read.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import pickle
import shutil
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import submitit
from noop import cluster, cpu_seconds, row
from submitit.helpers import as_completed

from hpc_trex.controller import Controller, loop
from hpc_trex.controller.collect import AGREEING_LOOKS
from hpc_trex.files import read_record, write_record
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import JobKind, JobResult, JobSpec, ModelRef, NodeState, Resources, TrainConfig
from hpc_trex.slurm.scheduler import JobRef, JobRequest, JobState
from hpc_trex.slurm.submitit_backend import SlurmScheduler
from tests.noop import noop_profile, noop_search

LATER = "now+1hour"
SMALL = Resources(cpus_per_task=1, mem_gb=0.05, minutes=5)
COUNTED = ("sbatch", "squeue", "sacct", "scontrol", "scancel")
STAND_IN = """#!/bin/sh
# Called as submitit calls Python, with its folder last: leaves the result that submitit looks for.
for folder; do :; done
id=$SLURM_JOB_ID; [ -z "$SLURM_ARRAY_TASK_ID" ] || id=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
cp "$folder/ok.pkl" "$folder/.$id" && mv "$folder/.$id" "$folder/${id}_0_result.pkl"
"""


# ---- submitting ---------------------------------------------------------------------------------------------------------


def plain(folder: Path, count: int) -> float:
    script = folder / "plain.sh"
    script.write_text(f"#!/bin/bash\n#SBATCH --begin={LATER}\n#SBATCH --mem=50M\ntrue\n")
    begun = time.perf_counter()
    for _ in range(count):
        subprocess.run(["sbatch", "--parsable", script], check=True, capture_output=True, cwd=folder)
    return time.perf_counter() - begun


def back_end(folder: Path, count: int) -> float:
    scheduler = SlurmScheduler(noop_profile(extra={"begin": LATER}))
    begun = time.perf_counter()
    for number in range(count):
        scheduler.submit(request(folder, number, write_spec=False))
    return time.perf_counter() - begun


def recorded(folder: Path, count: int) -> float:
    """A search whose next tick submits ``count`` jobs; only the step that submits them is timed."""
    profile = noop_profile()
    paths = noop_search(folder, profile, max_nodes=count, trials=1, parallel=1)
    with Controller(paths) as controller:
        controller.start()
        while controller.store.next_node() < 2 or controller.store.node(0).state is not NodeState.DONE:
            controller.tick()
            time.sleep(0.2)
        config = controller.store.config
    held = profile.model_copy(update={"extra": {"begin": LATER}})
    spent: list[tuple[float, int]] = []
    submit = loop.submit

    def timed(work: Any, ready: Any) -> int:
        begun = time.perf_counter()
        started = submit(work, ready)
        spent.append((time.perf_counter() - begun, started))
        return started

    loop.submit = timed  # type: ignore[attr-defined]
    try:
        with Controller(paths, config=config.model_copy(update={"profile": held, "parallel": count})) as controller:
            controller.start()
            controller.tick()
    finally:
        loop.submit = submit  # type: ignore[attr-defined]
    seconds, started = max(spent, key=lambda pair: pair[1])
    return seconds * count / started  # one job was under way already


def executor(folder: Path, **more: str) -> submitit.SlurmExecutor:
    made = submitit.SlurmExecutor(folder)
    made.update_parameters(time=5, mem="50M", additional_parameters=more)
    return made


def single(folder: Path, count: int) -> float:
    submitting = executor(folder, begin=LATER)
    begun = time.perf_counter()
    for number in range(count):
        submitting.submit(str, number)
    return time.perf_counter() - begun


def array(folder: Path, count: int) -> float:
    submitting = executor(folder, begin=LATER)
    begun = time.perf_counter()
    submitting.map_array(str, range(count))
    return time.perf_counter() - begun


SUBMITTING: dict[str, Callable[[Path, int], float]] = {
    "`sbatch` in a loop": plain,
    "hpc-trex, the back end alone": back_end,
    "hpc-trex, recorded": recorded,
    "submitit `submit()`": single,
    "submitit `map_array`": array,
}


def submit_all(home: Path, sizes: Sequence[int], cap: int) -> None:
    print(
        "\n| way to submit | jobs | seconds | jobs a second | against `sbatch` |\n|---|---:|---:|---:|---:|", flush=True
    )
    for count in sizes:
        base = 0.0
        for name, way in SUBMITTING.items():
            if way is single and count > cap:
                row(name, f"{count:,}", f"not measured (more than {cap})", "-", "-")
                continue
            seconds = way(fresh(home, f"submit-{way.__name__}-{count}"), count)
            base = base or seconds
            row(name, f"{count:,}", f"{seconds:.2f}", f"{count / seconds:.0f}", f"{base / seconds:.2f}")
            cancel_all()


def cancel_all() -> None:
    subprocess.run(["scancel", "--me"], check=False)
    while subprocess.run(["squeue", "--me", "-h"], check=True, capture_output=True).stdout.strip():
        time.sleep(0.2)


# ---- following ----------------------------------------------------------------------------------------------------------


class Jobs(NamedTuple):
    """Jobs that were submitted on hold: their ids for Slurm, and how they are followed to their end."""

    ids: list[str]
    follow: Callable[[float, float], list[float]]
    """Takes the pause between two looks and the time to stop; returns the delay of each result that was read.

    A job that ended without a result (on this cluster srun loses one in some thousands that end within milliseconds) is left.
    """


def ours(folder: Path, count: int) -> Jobs:
    scheduler = SlurmScheduler(noop_profile(extra={"hold": True}))
    jobs = []
    for number in range(count):
        asked = request(folder, number, write_spec=True)
        jobs.append(JobRef(asked.token, scheduler.submit(asked), asked.directory))

    def follow(poll: float, until: float) -> list[float]:
        delays: list[float] = []
        live, over = jobs, Counter[str]()
        while live and time.monotonic() < until:
            waiting = []
            for job in live:
                path = AttemptPaths(job.directory).result
                if read_record(path, JobResult) is not None:
                    delays.append(time.time() - path.stat().st_mtime)
                elif over[job.token] < AGREEING_LOOKS:
                    waiting.append(job)
            live = waiting
            if live:
                statuses = scheduler.poll(live)
                over.update(token for token, status in statuses.items() if status.state is JobState.ENDED)
                time.sleep(poll)
        return delays

    return Jobs([str(job.job_id) for job in jobs], follow)


def their_singles(folder: Path, count: int) -> Jobs:
    submitting = their_executor(folder)
    jobs = [submitting.submit(str, number) for number in range(count)]
    return Jobs([job.job_id for job in jobs], lambda poll, until: completed(jobs, poll, until))


def their_array(folder: Path, count: int) -> Jobs:
    jobs = their_executor(folder).map_array(str, range(count))
    return Jobs([jobs[0].job_id.split("_")[0]], lambda poll, until: completed(jobs, poll, until))


def their_executor(folder: Path) -> submitit.SlurmExecutor:
    stand_in = folder / "python"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    (folder / "ok.pkl").write_bytes(pickle.dumps(("success", 0)))
    made = submitit.SlurmExecutor(folder, python=str(stand_in))
    made.update_parameters(time=5, mem="50M", additional_parameters={"hold": True})
    return made


def completed(jobs: list[submitit.Job[Any]], poll: float, until: float) -> list[float]:
    delays = []
    with contextlib.suppress(TimeoutError):
        for job in as_completed(jobs, timeout=max(1.0, until - time.monotonic()), poll_frequency=poll):
            if job.paths.result_pickle.exists():
                job.result()
                delays.append(time.time() - job.paths.result_pickle.stat().st_mtime)
    return delays


FOLLOWING = {"hpc-trex": ours, "submitit `submit()`": their_singles, "submitit `map_array`": their_array}


def follow_all(home: Path, sizes: Sequence[int], options: argparse.Namespace) -> None:
    print(
        "\n| way to follow | jobs | seconds | CPU-s | ms a job | squeue | sacct | scontrol | delay, median s | most |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    log = wrap_commands(home)
    for count in sizes:
        for name, way in FOLLOWING.items():
            if way is their_singles and count > options.cap:
                row(name, f"{count:,}", f"not measured (more than {options.cap})", *["-"] * 7)
                continue
            follow_one(name, way(fresh(home, f"follow-{way.__name__}-{count}"), count), count, log, options)
            cancel_all()


def follow_one(name: str, jobs: Jobs, count: int, log: Path, options: argparse.Namespace) -> None:
    release = subprocess.Popen([shutil.which("scontrol", path="/usr/bin") or "scontrol", "release", ",".join(jobs.ids)])
    log.write_text("")
    before, begun = sum(cpu_seconds()), time.monotonic()
    delays = jobs.follow(options.poll, begun + 60 * options.minutes)
    seconds, cpu = time.monotonic() - begun, sum(cpu_seconds()) - before
    release.wait()  # here, for its CPU is not the follower's
    asked = Counter(log.read_text().split())
    part = f"{count:,}" if len(delays) == count else f"{len(delays):,} of {count:,}"
    row(
        name, part, f"{seconds:.1f}", f"{cpu:.2f}", f"{1000 * cpu / count:.1f}", asked["squeue"], asked["sacct"],
        asked["scontrol"], f"{statistics.median(delays or [math.nan]):.2f}", f"{max(delays, default=math.nan):.2f}",
    )  # fmt: skip


def wrap_commands(home: Path) -> Path:
    """Put a wrapper before each of Slurm's commands; return the file to which they write their names."""
    folder, log = fresh(home, "bin"), home / "commands.log"
    for name in COUNTED:
        wrapper = folder / name
        wrapper.write_text(f'#!/bin/sh\necho {name} >> {log}\nexec {shutil.which(name)} "$@"\n')
        wrapper.chmod(0o755)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    return log


def request(folder: Path, number: int, *, write_spec: bool) -> JobRequest:
    directory = folder / f"attempt-{number}"
    directory.mkdir()
    paths, token = AttemptPaths(directory), f"{folder.name}-{number}"
    if write_spec:
        spec = JobSpec(
            kind=JobKind.TRAIN, token=token, search="b", node=1, trial=1, attempt=1, attempt_dir=str(directory),
            task_card="none", base=ModelRef(name="none", path=""), train=TrainConfig(), cache_dir=str(folder),
        )  # fmt: skip
        write_record(paths.spec, spec)
    else:
        paths.spec.write_text("{}")
    return JobRequest(token, directory, paths.spec, JobKind.TRAIN, SMALL)


def fresh(home: Path, name: str) -> Path:
    folder = home / name
    folder.mkdir()
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--cap", type=int, default=100, help="jobs at most for submitit's submit(), 0.25 s each")
    parser.add_argument("--poll", type=float, default=1.0)
    parser.add_argument("--only", choices=["submit", "follow"], help="one of the two tables")
    parser.add_argument("--minutes", type=float, default=5.0, help="of one line of the second table, at most")
    options = parser.parse_args()
    with cluster("-n", "2", "-c", "16", "-g", "0") as home:
        if options.only != "follow":
            submit_all(home, options.sizes, options.cap)
        if options.only != "submit":
            follow_all(home, options.sizes, options)


if __name__ == "__main__":
    main()
