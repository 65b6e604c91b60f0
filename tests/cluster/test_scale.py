"""Hundreds of real Slurm jobs in one search: what a poll asks of Slurm, and what a tick costs as the tree grows.

Nothing is timed: a busy machine would fail it. The figures by the clock are those of ``benchmarks/scale.py``.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from hpc_trex.controller import Controller
from hpc_trex.models import AttemptState, FailureClass, SearchState, TrialState
from hpc_trex.slurm import commands
from hpc_trex.slurm.submitit_backend import SlurmScheduler
from hpc_trex.tree import reads
from tests.cluster.test_search import jobs_in_accounting
from tests.noop import noop_profile, noop_search
from tests.program import assert_whole, wait_until

pytestmark = pytest.mark.cluster

#: 40 rounds of 5 trials, a job each, and their data: some 220 to 240 jobs.
ROUNDS, TRIALS, PARALLEL = 40, 5, 24
LEAST_JOBS = 200


class Tick(NamedTuple):
    """One tick: what was recorded, and what was done for it."""

    events: int
    live: int
    """Jobs that were under way before or after it."""
    counts: Counter[str]
    """Commands by name, ``steps`` of SQLite (by hundreds), rounds and trials ``parsed``, files ``opened``."""


@contextmanager
def counted_opens(counts: Counter[str]) -> Iterator[None]:
    """Count the files that this process opens. An audit hook stays for ever, so it is made idle at the end."""
    active = [True]

    def hook(event: str, arguments: Sequence[object]) -> None:
        if active and event == "open":
            counts["opened"] += 1

    sys.addaudithook(hook)
    try:
        yield
    finally:
        active.clear()


def counting(function: Callable[..., object], name: str, counts: Counter[str]) -> Callable[..., object]:
    def counted(*arguments: object) -> object:
        counts[name] += 1
        return function(*arguments)

    return counted


def ticks_of(controller: Controller, counts: Counter[str]) -> list[Tick]:
    """Run the search to its end; ``counts`` are taken after each tick."""
    found, report = [], None
    controller.start()
    while report is None or not report.finished:
        counts.clear()
        before, live = controller.store.last_seq(), report.live if report else 0
        report = controller.tick()
        found.append(Tick(controller.store.last_seq() - before, max(live, report.live), Counter(counts)))
        assert len(found) < 1000, "not over after 1,000 ticks"
        time.sleep(controller.profile.poll_seconds)
    assert report.state is SearchState.DONE
    return found


def cost(ticks: Sequence[Tick], name: str) -> float:
    return sum(tick.counts[name] for tick in ticks) / sum(tick.events for tick in ticks)


def quarters(ticks: Sequence[Tick]) -> tuple[list[Tick], list[Tick]]:
    """Return the ticks of the first and of the last quarter of all events."""
    first, last, seen, total = [], [], 0, sum(tick.events for tick in ticks)
    for tick in ticks:
        seen += tick.events
        if seen <= total / 4:
            first.append(tick)
        elif seen > total * 3 / 4:
            last.append(tick)
    return first, last


def test_hundreds_of_jobs_cost_one_squeue_a_poll_and_no_more_a_tick_at_the_end(testcluster, tmp_path, monkeypatch):
    monkeypatch.setenv("HPC_TREX_CACHE", str(tmp_path / "cache"))
    counts: Counter[str] = Counter()
    for name in ("node_view", "trial_view"):
        monkeypatch.setattr(reads, name, counting(getattr(reads, name), "parsed", counts))

    def ask(command: Sequence[str]) -> commands.Answer:
        counts[command[0]] += 1
        return commands.ask(command)

    profile = noop_profile(poll_seconds=0.2)
    paths = noop_search(tmp_path, profile, max_nodes=ROUNDS, trials=TRIALS, parallel=PARALLEL)
    scheduler = SlurmScheduler(profile, ask=ask)
    with Controller(paths, scheduler=scheduler) as controller, counted_opens(counts):
        controller.store.db.conn.set_progress_handler(lambda: counts.update(steps=1), 100)
        ticks = ticks_of(controller, counts)
        attempts, trials, uid = controller.store.attempts(), controller.store.trials(), controller.store.config.uid
    assert_whole(paths.root)
    assert len(attempts) >= LEAST_JOBS
    # Slurm loses a job in some thousands that end within milliseconds: such a one is tried again, and no trial is lost.
    lost = [item for item in attempts if item.state is not AttemptState.SUCCEEDED]
    assert len(lost) <= 2
    assert all(item.failure is FailureClass.LOST for item in lost)
    assert all(trial.state is TrialState.DONE for trial in trials)

    assert max(tick.counts["squeue"] for tick in ticks) == 1
    # Once for the cluster's name, and some times over each lost job.
    assert sum(tick.counts["scontrol"] + tick.counts["sacct"] for tick in ticks) <= 1 + 4 * len(lost)

    first, last = quarters(ticks)
    for name in ("steps", "parsed"):
        assert 0 < cost(last, name) <= 1.5 * cost(first, name), name
    assert all(tick.counts["opened"] <= 2 * tick.live + 5 * tick.events + 40 for tick in ticks)

    names = {item.token for item in attempts}
    wait_until(lambda: len(jobs_in_accounting(uid)) >= len(names), seconds=240, what="Slurm's accounting")
    assert sorted(jobs_in_accounting(uid)) == sorted(names)
