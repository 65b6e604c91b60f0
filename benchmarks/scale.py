"""One search of 1,000 jobs of no work on a real Slurm: what it costs, what it asks of Slurm, what limits it.

    python benchmarks/scale.py [--rounds 180] [--parallel 32] [--poll 0.3] [--minutes 10]

Starts a test cluster of its own. The jobs are real (script, sbatch, srun, files); in the place of the training stands a shell
script of milliseconds (tests/noop). Prints a line for each tenth of the rounds, then the totals; after --minutes it stops and
prints what it has.

The hour is computed, not waited for: cost of a poll (all live jobs asked about, measured beside the ticks), times the polls
of an hour at 30 s, plus cost of a job from design to record, times the jobs. CPU time is the controller's own and that of its commands
(sbatch, squeue, sacct); what Slurm's daemons and the jobs use is not in it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from noop import cluster, cpu_seconds, megabytes, row

from hpc_trex.controller import Controller
from hpc_trex.controller import submit as submitting
from hpc_trex.files import read_record
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import JobResult
from hpc_trex.slurm import commands
from hpc_trex.slurm.scheduler import JobRef
from hpc_trex.slurm.submitit_backend import SlurmScheduler
from hpc_trex.tree.store import Store
from tests.noop import noop_profile, noop_search

SITE_POLL_SECONDS = 30


class Tick(NamedTuple):
    """One tick: own and commands' CPU seconds, seconds by the clock, what was recorded, the tree's size, the questions."""

    cpu: float
    below: float
    wall: float
    events: int
    rounds: int
    commands: Counter[str]


def clocked(owner: Any, name: str, spent: Counter[str], label: str) -> None:
    """Add up the time that a function takes, by the clock."""
    function: Callable[..., Any] = getattr(owner, name)

    def timed(*arguments: Any, **options: Any) -> Any:
        begun = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            spent[label] += time.perf_counter() - begun

    setattr(owner, name, timed)


def one_tick(controller: Controller, asked: Counter[str]) -> tuple[Tick, bool]:
    asked.clear()
    events, begun, (own, below) = controller.store.last_seq(), time.perf_counter(), cpu_seconds()
    report = controller.tick()
    wall, (own_after, below_after) = time.perf_counter() - begun, cpu_seconds()
    done = controller.store.last_seq() - events
    rounds = controller.store.next_node()
    return Tick(own_after - own, below_after - below, wall, done, rounds, Counter(asked)), report.finished


def progress(ticks: Sequence[Tick], jobs: int, seconds: float) -> None:
    """Print one line: the ticks since the last such line."""
    events = sum(tick.events for tick in ticks) or 1
    own, below = sum(tick.cpu for tick in ticks), sum(tick.below for tick in ticks)
    most = max(tick.commands["squeue"] for tick in ticks)
    row(
        ticks[-1].rounds, jobs, f"{seconds:.0f}", len(ticks), events, f"{1000 * own / events:.2f}",
        f"{1000 * below / events:.2f}", most, f"{megabytes():.0f}",
    )  # fmt: skip


def probe(controller: Controller) -> float:
    """Return the CPU of one more poll for all live jobs, our own and squeue's."""
    work = controller.work
    live = [JobRef(item.token, item.job_id, work.paths.root / item.directory) for item in work.store.live_attempts()]
    before = sum(cpu_seconds())
    for job in live:
        read_record(AttemptPaths(job.directory).result, JobResult)
    work.scheduler.poll(live)
    return sum(cpu_seconds()) - before


def follow(controller: Controller, asked: Counter[str], polls: list[float], options: argparse.Namespace) -> list[Tick]:
    ticks: list[Tick] = []
    shown, step, begun = 0, max(1, options.rounds // 10), time.monotonic()
    while True:
        tick, finished = one_tick(controller, asked)
        ticks.append(tick)
        late = time.monotonic() - begun > 60 * options.minutes
        if finished or late or tick.rounds >= ticks[shown].rounds + step:
            progress(ticks[shown + 1 :] or ticks[shown:], len(controller.store.attempts()), time.monotonic() - begun)
            shown = len(ticks) - 1
            if controller.store.live_attempts():
                polls.append(probe(controller))
        if finished or late:
            if late:
                print(f"\nstopped after {options.minutes} minutes; what follows is of the part that ran")
                controller.cancel()
            return ticks
        time.sleep(options.poll)


def totals(ticks: Sequence[Tick], polls: list[float], jobs: int, seconds: float, spent: Counter[str]) -> None:
    own, below = sum(tick.cpu for tick in ticks), sum(tick.below for tick in ticks)
    poll, often = statistics.median(polls), 3600 / SITE_POLL_SECONDS
    job = (own + below) / jobs  # the polls on the way are in it too
    asked: Counter[str] = sum((tick.commands for tick in ticks), Counter())
    print("\n| what | measured | bound |\n|---|---:|---:|")
    row("jobs, and jobs a second", f"{jobs:,}, {jobs / seconds:.1f}", "-")
    row("`squeue` calls a poll, most", max(tick.commands["squeue"] for tick in ticks), 1)
    row("questions in all", ", ".join(f"{name} {count}" for name, count in sorted(asked.items())), "-")
    row(f"CPU of a poll (median of {len(polls)})", f"{1000 * poll:.0f} ms", "-")
    row("CPU of a job, from design to record", f"{1000 * job:.0f} ms", "-")
    row("an hour in which nothing comes in, a poll every 30 s", f"{poll * often:.1f} CPU-s", 30)
    row(f"an hour in which {jobs:,} jobs come and go", f"{poll * often + job * jobs:.1f} CPU-s", 30)
    row("memory, peak", f"{megabytes():.0f} MB", 300)
    quarter = sum(tick.events for tick in ticks) / 4
    first, last = own_cost(ticks, 0, quarter), own_cost(ticks, 3 * quarter, 4 * quarter)
    row("own CPU an event: first and last quarter", f"{first:.2f} and {last:.2f} ms", "no growth")
    print("\n| where the time went | seconds |\n|---|---:|")
    busy = sum(tick.wall for tick in ticks)
    for label, value in spent.most_common():
        row(label, f"{value:.1f}")
    row("the rest of the ticks: files of results and specs, design, diagnosis", f"{busy - sum(spent.values()):.1f}")
    row("between ticks: the pause of --poll, Slurm, the jobs", f"{seconds - busy:.1f}")


def own_cost(ticks: Sequence[Tick], after: float, until: float) -> float:
    """Return milliseconds of own CPU an event, over the ticks in which these events came."""
    seen, cpu, events = 0, 0.0, 0
    for tick in ticks:
        seen += tick.events
        if after < seen <= until:
            cpu, events = cpu + tick.cpu, events + tick.events
    return 1000 * cpu / max(1, events)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=180, help="of 5 trials each; 180 make about 1,000 jobs")
    parser.add_argument("--parallel", type=int, default=32)
    parser.add_argument("--poll", type=float, default=0.3)
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    asked: Counter[str] = Counter()
    spent: Counter[str] = Counter()

    def ask(command: Sequence[str]) -> commands.Answer:
        asked[command[0]] += 1
        return commands.ask(command)

    with cluster() as home:
        profile = noop_profile(poll_seconds=options.poll)
        paths = noop_search(home, profile, max_nodes=options.rounds, trials=5, parallel=options.parallel)
        scheduler = SlurmScheduler(profile, ask=ask)
        clocked(scheduler, "submit", spent, "sbatch, with the script written")
        clocked(scheduler, "poll", spent, "squeue and sacct")
        clocked(Store, "record", spent, "events recorded: log and database, each flushed")
        clocked(submitting, "write_record", spent, "spec.json of each job, flushed")
        print("| rounds | jobs | after s | ticks | events | own CPU ms an event | commands' | squeue a poll | MB |")
        print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
        with Controller(paths, scheduler=scheduler) as controller:
            controller.start()
            begun = time.monotonic()
            polls: list[float] = []
            ticks = follow(controller, asked, polls, options)
            totals(ticks, polls, len(controller.store.attempts()), time.monotonic() - begun, spent)


if __name__ == "__main__":
    main()
