"""What the controller costs while many jobs run on a real Slurm, and how full it keeps the slots.

    python benchmarks/controller_load.py [--jobs 200] [--hold 180] [--slots 32] [--rounds 40]

Starts a test cluster of its own, and runs two searches whose jobs do no work:

1. *load*: as many jobs at once as asked for, all running; the controller polls every 30 s as on a real site. Its CPU time
   while they run is scaled to an hour; `squeue` calls are counted.
2. *slots*: `--slots` slots, jobs of 20 s, a poll a second. Utilisation is busy slot-seconds over granted ones, from the moment
   when all slots are taken for the first time until the last training is submitted.

Prints Markdown. What it does not measure: real trainings, a busy site's slow squeue, a shared file system.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hpc_trex.controller import Controller
from hpc_trex.launch import LaunchOptions, create_search, plan_launch
from hpc_trex.models import AttemptState, JobKind, Profile, Resources, SearchConfig
from hpc_trex.site import site
from hpc_trex.slurm import commands
from hpc_trex.slurm.submitit_backend import SlurmScheduler

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import itertools

from benchmarks.noop_job import run as noop

ROOT = Path(__file__).resolve().parents[1]


def cpu_seconds() -> float:
    """CPU time of this process and of the commands that it ran, in seconds."""
    own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime


def profile(seconds: float, poll: float) -> Profile:
    job = Resources(cpus_per_task=1, mem_gb=0.05, minutes=30)
    return Profile(
        name="load",
        scheduler="slurm",
        train=job,
        prepare=job,
        evaluate=job,
        poll_seconds=poll,
        environment={"HPC_TREX_NOOP_SECONDS": str(seconds), "PYTHONPATH": str(ROOT)},
    )


def open_search(home: Path, name: str, parallel: int, rounds: int, used: Profile, counted: list[str]) -> Controller:
    plan = plan_launch(
        LaunchOptions(name=name, directory=str(home / name), max_nodes=rounds, parallel=parallel, trials=5)
    )
    model = home / "model"
    config = plan.config.model_copy(
        update={
            "profile": used,
            "model_path": str(model),
            "noise": plan.config.noise.model_copy(update={"floor_repeats": 0}),
        }
    )
    config = SearchConfig.model_validate(config.model_dump() | {"policy": {"name": "random", "c": 0.5}})
    paths = create_search(plan._replace(config=config))

    def ask(*arguments, **options):
        counted.append(arguments[0][0])
        return commands.ask(*arguments, **options)

    return Controller(paths, scheduler=SlurmScheduler(used, entry=noop, ask=ask))


def load(home: Path, jobs: int, hold: float) -> list[str]:
    """Fill the cluster with ``jobs`` running jobs, then measure for ``hold`` seconds."""
    counted: list[str] = []
    with open_search(home, "load", jobs, jobs, profile(hold + 600, 30), counted) as controller:
        controller.start()
        began, start = time.monotonic(), cpu_seconds()
        while sum(item.state is AttemptState.RUNNING for item in controller.store.live_attempts()) < jobs:
            controller.tick()
            assert time.monotonic() - began < 600, "the jobs did not all start"
            time.sleep(2)
        filling, filled = cpu_seconds() - start, time.monotonic() - began
        counted.clear()
        before, polls = cpu_seconds(), 0
        end = time.monotonic() + hold
        while time.monotonic() < end:
            controller.tick()
            polls += 1
            time.sleep(30)
        used = cpu_seconds() - before
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        calls = counted.count("squeue")
        controller.cancel()
    hour = used / (polls * 30) * 3600
    return [
        f"| controller at {jobs} running jobs, poll every 30 s | {hour:.1f} CPU-s an hour (its own and its commands') | 30 |",
        f"| its memory, peak | {memory:.0f} MB | 300 |",
        f"| `squeue` calls a poll | {calls / polls:.2f} | 1 |",
        f"| designing, submitting and seeing run {jobs} jobs | {filling:.1f} CPU-s, {filled:.0f} s | - |",
    ]


def slots(home: Path, parallel: int, rounds: int) -> list[str]:
    """Run ``rounds`` rounds of five trainings in ``parallel`` slots."""
    with open_search(home, "slots", parallel, rounds, profile(20, 1), []) as controller:
        controller.start()
        full, last, samples = 0.0, 0.0, []
        submitted = 0
        while not controller.tick().finished:
            now = time.monotonic()
            live = controller.store.live_attempts()
            running = sum(item.state is AttemptState.RUNNING for item in live)
            full = full or (now if running == parallel else 0.0)
            count = sum(item.kind is JobKind.TRAIN for item in controller.store.attempts())
            if count > submitted:
                submitted, last = count, now
            samples.append((now, running))
            time.sleep(1)
    inside = [(now, running) for now, running in samples if full <= now <= last]
    busy = sum(running * (later - now) for (now, running), (later, _) in itertools.pairwise(inside))
    share = busy / (parallel * (inside[-1][0] - inside[0][0]))
    return [
        f"| utilisation of {parallel} granted slots, jobs of 20 s, poll every 1 s, {submitted} trainings | {share:.1%} | 95 % |"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--hold", type=float, default=180)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="trexb") as folder:
        state = Path(folder) / "s"
        cluster = site("slurm", "testcluster")
        subprocess.run(
            [cluster / "up.sh", state, "-n", "4", "-c", "64", "-g", "0"], check=True, stderr=subprocess.DEVNULL
        )
        try:
            os.environ["SLURM_CONF"] = str(state / "etc" / "slurm.conf")
            os.environ["PATH"] += ":/usr/sbin"
            home = Path(folder) / "h"
            (home / "model").mkdir(parents=True)
            rows = load(home, options.jobs, options.hold) + slots(home, options.slots, options.rounds)
        finally:
            subprocess.run([cluster / "down.sh", state, "--purge"], check=False)
    print("| what | measured | bound |\n|---|---|---|")
    print("\n".join(rows))
    print(f"\n{json.dumps({'jobs': options.jobs, 'hold_seconds': options.hold, 'cores': os.cpu_count()})}")


if __name__ == "__main__":
    main()
