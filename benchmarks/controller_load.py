"""What the controller costs while many jobs run on a real Slurm, and how full it keeps the slots.

    python benchmarks/controller_load.py [--jobs 200] [--polls 20] [--slots 32] [--rounds 26] [--seconds 30]
        [--poll 1] [--minutes 3] [--only load|slots]

Starts a test cluster of its own for each of two searches whose jobs are sleeping shells (tests/noop): a job is real in all but
the work, and costs nothing once it sleeps.

1. *load*: as many jobs at once as asked for, all running. Then so many ticks in which nothing comes in. An hour is
   computed from them: 120 polls, one every 30 s as on a real site.
2. *slots*: jobs of 30 s and a poll a second, as a training of a quarter of an hour would meet a poll of 30 s; only that what Slurm
   needs to start a job weighs 30 times as much. A slot is busy from the first to the last file that a job writes, so the starts
   of Slurm and of srun, and the jobs that prepare data, count as idle. Utilisation is busy slot-seconds
   over granted ones, from the moment when all slots are taken until the last training is submitted.

Each part ends after --minutes at the latest and prints what it has. What it does not measure: real trainings, a busy site's
slow squeue, a shared file system.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

from noop import cluster, cpu_seconds, megabytes, row

from hpc_trex.controller import Controller
from hpc_trex.models import AttemptState, AttemptView, JobKind
from hpc_trex.slurm import commands
from hpc_trex.slurm.submitit_backend import SlurmScheduler
from tests.noop import noop_profile, noop_search

TRIALS = 5
POLLS_AN_HOUR = 120


def search(
    home: Path, name: str, slots: int, rounds: int, seconds: float, counted: list[str], poll: float = 1.0
) -> Controller:
    """Open a search whose trainings sleep for ``seconds``; the commands that its scheduler runs go to ``counted``."""

    def ask(command: Sequence[str]) -> commands.Answer:
        counted.append(command[0])
        return commands.ask(command)

    profile = noop_profile(seconds=seconds, poll_seconds=poll)
    paths = noop_search(home, profile, name=name, max_nodes=rounds, trials=TRIALS, parallel=slots)
    return Controller(paths, scheduler=SlurmScheduler(profile, ask=ask))


def running(controller: Controller) -> int:
    return sum(
        item.state is AttemptState.RUNNING and item.kind is JobKind.TRAIN for item in controller.store.live_attempts()
    )


def load(home: Path, jobs: int, polls: int, minutes: float) -> None:
    """Let ``jobs`` trainings run at once, then measure ticks in which nothing comes in."""
    counted: list[str] = []
    with search(home, "load", jobs, math.ceil(jobs / TRIALS), 3600, counted) as controller:
        controller.start()
        began, told = time.monotonic(), 0
        before = sum(cpu_seconds())
        while (up := running(controller)) < jobs:
            controller.tick()
            if up >= told + max(1, jobs // 5):
                told = up
                print(f"{up} of {jobs} running after {time.monotonic() - began:.0f} s", flush=True)
            if time.monotonic() - began > 60 * minutes:
                print(f"only {up} of {jobs} run after {minutes} minutes; what follows is measured with these")
                break
            time.sleep(1)
        filled, spent = time.monotonic() - began, sum(cpu_seconds()) - before
        quiet(controller, polls, counted, up)
        row(f"to design, submit and see running {up} jobs", f"{spent:.1f} CPU-s, {filled:.0f} s by the clock", "-")


def quiet(controller: Controller, polls: int, counted: list[str], up: int) -> None:
    """Tick while nothing comes in, and print what an hour of it would cost."""
    controller.tick()
    counted.clear()
    own, below = cpu_seconds()
    for _ in range(polls):
        controller.tick()
        time.sleep(1)
    own, below = (after - first for after, first in zip(cpu_seconds(), (own, below), strict=True))
    print("\n| what | measured | bound |\n|---|---:|---:|")
    each = f"{1000 * own / polls:.0f} ms own, {1000 * below / polls:.0f} ms squeue's"
    row(f"CPU of a poll at {up} running jobs, over {polls} polls", each, "-")
    row("the same for an hour at a poll every 30 s", f"{(own + below) / polls * POLLS_AN_HOUR:.1f} CPU-s", 30)
    row("memory, peak", f"{megabytes():.0f} MB", 300)
    row("`squeue` calls a poll", f"{counted.count('squeue') / polls:.2f}", 1)


def slots(home: Path, granted: int, rounds: int, seconds: float, poll: float, minutes: float) -> None:
    """Run ``rounds`` rounds of trainings of so many seconds in so many slots; print how full these were."""
    with search(home, "slots", granted, rounds, seconds, [], poll) as controller:
        controller.start()
        began, told, full = time.monotonic(), 0, 0.0
        while not controller.tick().finished and time.monotonic() - began < 60 * minutes:
            full = full or (time.time() if running(controller) == granted else 0.0)
            trained = [item for item in controller.store.attempts() if item.kind is JobKind.TRAIN]
            if len(trained) >= told + 2 * granted:
                told = len(trained)
                show(controller, trained, full, granted, f"{told} trainings submitted")
            time.sleep(poll)
        trained = [item for item in controller.store.attempts() if item.kind is JobKind.TRAIN]
        show(controller, trained, full, granted, f"all {len(trained)} trainings", bound="95 %")
        if controller.store.state()[0].value != "done":
            controller.cancel()


def show(
    controller: Controller, trained: Sequence[AttemptView], full: float, granted: int, what: str, bound: str = "-"
) -> None:
    """Print the utilisation so far. The times are those of the files, of one machine's clock."""
    folders = [controller.paths.root / item.directory for item in trained]
    until = max((folder / "spec.json").stat().st_mtime for folder in folders)
    if not full or until <= full:
        row(f"utilisation of {granted} slots, {what}", "the slots were never all taken yet", bound)
        return
    busy = 0.0
    for folder in folders:
        start, end = (folder / "started.json"), (folder / "result.json")
        if start.exists():
            last = end.stat().st_mtime if end.exists() else until
            busy += max(0.0, min(last, until) - max(start.stat().st_mtime, full))
    row(f"utilisation of {granted} slots, {what}", f"{busy / (granted * (until - full)):.1%}", bound)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--polls", type=int, default=20)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=26)
    parser.add_argument("--seconds", type=float, default=30.0, help="of one training of the second part")
    parser.add_argument("--poll", type=float, default=1.0, help="seconds between two ticks of the second part")
    parser.add_argument("--minutes", type=float, default=3.0, help="of each of the two parts, at most")
    parser.add_argument("--only", choices=["load", "slots"], help="one of the two parts")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores; {options}", flush=True)
    shape = ("-n", "4", "-c", "64", "-g", "0")
    if options.only != "slots":
        with cluster(*shape) as home:
            load(home, options.jobs, options.polls, options.minutes)
    if options.only == "load":
        return
    with cluster(*shape) as home:  # another: Slurm is busy for a while with the end of so many jobs
        slots(home, options.slots, options.rounds, options.seconds, options.poll, options.minutes)


if __name__ == "__main__":
    main()
