"""Researchers side by side at the same cost: the playbook, what it is without a part, `tpe` and `random`.

    python benchmarks/researchers.py FOLDER [--tasks mini-extract] [--seeds 0-4] [--cpu-seconds 90] [--at-once 1]
    python benchmarks/researchers.py FOLDER --suite ftbench-mini [--seeds 0-2]
    python benchmarks/researchers.py FOLDER --table

Each arm is a method of a sweep (docs/sweeps.md) and runs every task with every seed. A search designs no further round once its jobs have used ``--cpu-
seconds`` of CPU: what is counted is the CPU time of the jobs, which a busy machine does not bend, not the clock. Whole seeds come one after the other; within a
seed tasks and arms stand in a random order, so that what drifts on the machine hits all arms alike. Killed and started again, only what is missing is run.
``--table`` prints the table of what there is: means over the seeds with 95 % intervals (percentile bootstrap over seeds), and differences to the playbook,
paired by task and seed. ``--suite ftbench-mini``: the ten built-in tasks, the arms that leave nothing out, and a second table over the tasks.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tomli_w

import hpc_trex
from hpc_trex.cli.sweep_options import Names, Numbers
from hpc_trex.ftbench.mini import SUITE
from hpc_trex.layout import SearchPaths
from hpc_trex.models import JobKind, NoiseSettings, Profile, Resources
from hpc_trex.slurm.environment import with_this_package
from hpc_trex.sweep.element import next_run
from hpc_trex.sweep.folder import read_config
from hpc_trex.sweep.layout import SweepPaths, sweeps_home
from hpc_trex.sweep.plan import create_sweep, plan_lines, plan_sweep
from hpc_trex.sweep.records import Element, ElementState, Standing, SweepConfig, SweepRequest
from hpc_trex.sweep.run import to_submit
from hpc_trex.sweep.standing import standings
from hpc_trex.tree.store import Store

#: The methods of each sweep; all other settings are the same.
SWEEPS: dict[str, dict[str, tuple[str, ...]]] = {
    "parts": {"researchers": ("playbook",), "without": ("nothing", "bad-cases", "insights")},
    "policies": {"researchers": ("playbook",), "policies": ("greedy", "sequential")},
    "samplers": {"researchers": ("tpe", "random")},
}
#: Of a suite: each Researcher, and the playbook on each policy, all whole.
SUITE_SWEEPS: dict[str, dict[str, tuple[str, ...]]] = {
    "playbook": {"researchers": ("playbook",)},
    "policies": SWEEPS["policies"],
    "samplers": SWEEPS["samplers"],
}
SUITES = {"ftbench-mini": SUITE}
#: What all others are compared with: researcher, policy, without.
PLAYBOOK = ("playbook", "uct", "nothing")
#: Time limit of a job, far above what one takes. Both a training and the sealed test are reserved at it, so the cap is so much higher.
LIMIT_MINUTES = 10
RESAMPLES = 10_000
LOOK_SECONDS = 1.0


class Job(NamedTuple):
    """One element of one sweep."""

    paths: SweepPaths
    config: SweepConfig
    element: Element


class Outcome(NamedTuple):
    """What came of one search."""

    task: str
    arm: tuple[str, str, str]
    seed: int
    base: float
    best: float
    chosen: float
    base_test: float
    test: float
    cpu_seconds: float
    rounds: int
    trials: int
    course: tuple[str, ...]
    """The rounds' plans, by their identity: two searches with the same course did the same."""


class Interval(NamedTuple):
    """A mean over seeds with its interval; no interval of a single one."""

    mean: float
    low: float | None
    high: float | None


# ---- running ----------------------------------------------------------------------------------------------------------


def make_sweeps(given: argparse.Namespace) -> None:
    """Make the sweeps that are not there yet; those that are there keep their settings."""
    kind = Resources(cpus_per_task=1, mem_gb=2.0, minutes=LIMIT_MINUTES)
    profile = Profile(
        name="bench", scheduler="local", poll_seconds=0.5, network="login", train=kind, prepare=kind, evaluate=kind
    )
    file = given.folder / "bench.toml"
    file.write_text(tomli_w.dumps(profile.model_dump(mode="json", exclude_none=True, exclude_defaults=True)))
    for name, methods in (SUITE_SWEEPS if given.suite else SWEEPS).items():
        if (sweeps_home() / name / "sweep.toml").exists():
            continue
        request = SweepRequest.model_validate(
            {
                "name": name,
                "tasks": given.tasks,
                "seeds": given.seeds,
                "profile": str(file),
                "max_nodes": given.rounds,
                "search_cpu_hours": (given.cpu_seconds + 2 * 60 * LIMIT_MINUTES) / 3600,
                "trials": given.trials,
                # No repeats: final ones would be paid by those arms only to which the cap leaves room.
                "noise": NoiseSettings(floor_repeats=0, final_candidates=1, final_seeds=1),
                **methods,
            }
        )
        plan = plan_sweep(request)
        print("\n".join(plan_lines(plan.config, len(plan.config.elements()), 0)))
        create_sweep(plan)


def sweeps() -> list[tuple[SweepPaths, SweepConfig]]:
    found = [SweepPaths(sweeps_home() / name) for name in SWEEPS | SUITE_SWEEPS]
    return [(paths, read_config(paths)) for paths in found if paths.config.exists()]


def jobs() -> list[Job]:
    """Return all elements in the order in which they run, which is the same each time."""
    every = [Job(paths, config, element) for paths, config in sweeps() for element in config.elements()]
    random.Random(0).shuffle(every)
    return sorted(every, key=lambda job: job.element.seed)


def open_jobs() -> tuple[list[Job], int]:
    """Return what is still to be started, in order, and how many run."""
    wanted: set[tuple[Path, int]] = set()
    running = 0
    for paths, config in sweeps():
        found = standings(paths, config)
        running += sum(one.state is ElementState.RUNNING for one in found)
        wanted |= {(paths.root, number) for number in to_submit(found)}
    return [job for job in jobs() if (job.paths.root, job.element.number) in wanted], running


def run(at_once: int) -> int:
    """Run what is missing, so many searches at once; return how many failed."""
    tried: set[tuple[Path, int]] = set()
    alive: dict[subprocess.Popen[bytes], Job] = {}
    while True:
        for process in [process for process in alive if process.poll() is not None]:
            job = alive.pop(process)
            print(f"{time.strftime('%H:%M:%S')} {told(job)}: exit code {process.returncode}", flush=True)
        missing, running = open_jobs()
        missing = [job for job in missing if (job.paths.root, job.element.number) not in tried]
        if not missing and not alive and not running:
            break
        started = {(job.paths.root, job.element.number) for job in alive.values()}
        for job in [job for job in missing if (job.paths.root, job.element.number) not in started]:
            if max(running, len(alive)) >= at_once:
                break
            alive[start(job)] = job
            tried.add((job.paths.root, job.element.number))
            print(f"{time.strftime('%H:%M:%S')} {told(job)}: started, {len(missing)} to go", flush=True)
        time.sleep(LOOK_SECONDS)
    return len(open_jobs()[0])


def start(job: Job) -> subprocess.Popen[bytes]:
    """Start an element as ``hpc-trex sweep resume`` does, in a session of its own; two of one sweep may run at once."""
    element = job.paths.element(job.element.number)
    element.root.mkdir(parents=True, exist_ok=True)
    words = ["-m", "hpc_trex", "--no-color", "sweep", "element", str(job.paths.root), str(job.element.number)]
    token = next_run(job.paths, job.config, job.element.number)
    with element.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-u", *words, "--here", token],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=with_this_package(os.environ),
        )


def told(job: Job) -> str:
    one = job.element
    return f"{job.config.tasks[one.task].name} seed {one.seed}, {label((one.researcher, one.policy, one.without))}"


# ---- the table --------------------------------------------------------------------------------------------------------


def outcomes() -> list[Outcome]:
    """Read every search that is done."""
    found = []
    for paths, config in sweeps():
        done = [one for one in standings(paths, config) if one.state is ElementState.DONE]
        found += [outcome(paths, config, one) for one in done]
    return found


def outcome(paths: SweepPaths, config: SweepConfig, one: Standing) -> Outcome:
    element = one.element
    with Store.read(SearchPaths(paths.element(element.number).search)) as store:
        status, nodes = store.status(), store.nodes()
    best, chosen, base = status.best, status.chosen, status.baseline
    if base is None or chosen is None or base.test is None or chosen.test is None:
        raise SystemExit(f"{paths.root} element {element.number} is done and was not tested")
    trained = [
        trial for node in nodes for trial in node.trials if trial.kind is JobKind.TRAIN and trial.score is not None
    ]
    return Outcome(
        task=config.tasks[element.task].name,
        arm=(element.researcher, element.policy, element.without),
        seed=element.seed,
        base=base.dev,
        best=(best or chosen).dev,
        chosen=chosen.dev,
        base_test=base.test.value,
        test=chosen.test.value,
        cpu_seconds=3600 * status.cost.cpu_hours,
        rounds=len(nodes) - 1,
        trials=len(trained),
        course=tuple(
            node.plan.model_dump_json(exclude={"hypothesis", "expected_effect"}) for node in nodes if node.plan
        ),
    )


def interval(values: Sequence[float]) -> Interval:
    """Return the mean with its 95 % percentile bootstrap interval over the values."""
    drawn = np.asarray(values, dtype=float)
    if len(drawn) < 2:
        return Interval(float(drawn.mean()), None, None)
    picks = np.random.default_rng(0).integers(0, len(drawn), size=(RESAMPLES, len(drawn)))
    low, high = np.quantile(drawn[picks].mean(axis=1), [0.025, 0.975])
    return Interval(float(drawn.mean()), float(low), float(high))


def shown(value: Interval, sign: str = "") -> str:
    if value.low is None or value.high is None:
        return f"{value.mean:{sign}.3f}"
    return f"{value.mean:{sign}.3f} [{value.low:{sign}.3f}, {value.high:{sign}.3f}]"


def label(arm: tuple[str, str, str]) -> str:
    """Return an arm as the table names it."""
    researcher, policy, without = arm
    name = researcher if policy == "uct" else f"{researcher}, {policy}"
    return name if without == "nothing" else f"{name}, without {without}"


def table(found: Sequence[Outcome]) -> str:
    """Return the Markdown table, a row for each task and arm. ``=``: searches that went the playbook's very course."""
    head = ["task", "arm", "n", "base", "best dev", "chosen dev", "base test", "test", "gain", "test - playbook's", "=", "CPU-s", "rounds", "trials"]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---|---|" + "---:|" * (len(head) - 2)]
    for task in dict.fromkeys(one.task for one in found):
        here = [one for one in found if one.task == task]
        reference = {one.seed: one for one in here if one.arm == PLAYBOOK}
        for arm in dict.fromkeys(one.arm for one in here):
            lines.append(f"| {' | '.join(_cells([one for one in here if one.arm == arm], reference))} |")
    return "\n".join(lines)


def together(found: Sequence[Outcome]) -> str:
    """Return the Markdown table of the arms over all tasks: test score minus the playbook's, paired by task and seed.

    Each task counts alike; the interval is a percentile bootstrap over the tasks' means: of other tasks, not other seeds.
    """
    reference = {(one.task, one.seed): one.test for one in found if one.arm == PLAYBOOK}
    lines = ["| arm | tasks | better on | worse on | mean of test - playbook's |", "|---|---:|---:|---:|---:|"]
    for arm in dict.fromkeys(one.arm for one in found if one.arm != PLAYBOOK):
        paired: dict[str, list[float]] = {}
        for one in found:
            if one.arm == arm and (one.task, one.seed) in reference:
                paired.setdefault(one.task, []).append(one.test - reference[one.task, one.seed])
        if means := [float(np.mean(values)) for values in paired.values()]:
            cells = [label(arm), len(means), sum(mean > 0 for mean in means), sum(mean < 0 for mean in means)]
            lines.append(f"| {' | '.join(map(str, cells))} | {shown(interval(means), '+')} |")
    return "\n".join(lines)


def _cells(group: Sequence[Outcome], reference: dict[int, Outcome]) -> list[str]:
    def mean(name: str) -> float:
        return float(np.mean([getattr(one, name) for one in group]))

    pairs = [(one, reference[one.seed]) for one in group if one.seed in reference]
    itself = group[0].arm == PLAYBOOK
    difference = "-" if itself or not pairs else shown(interval([one.test - other.test for one, other in pairs]), "+")
    same = "-" if itself else f"{sum(one.course == other.course for one, other in pairs)}/{len(pairs)}"
    return [
        group[0].task,
        label(group[0].arm),
        str(len(group)),
        f"{mean('base'):.3f}",
        shown(interval([one.best for one in group])),
        shown(interval([one.chosen for one in group])),
        f"{mean('base_test'):.3f}",
        shown(interval([one.test for one in group])),
        shown(interval([one.test - one.base_test for one in group]), "+"),
        difference,
        same,
        f"{mean('cpu_seconds'):.0f}",
        f"{mean('rounds'):.1f}",
        f"{mean('trials'):.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", type=lambda text: Names().convert(text, None, None), help="default: mini-extract")
    parser.add_argument("--suite", choices=sorted(SUITES), help="its tasks, and the arms that leave nothing out")
    parser.add_argument(
        "--seeds", type=lambda text: Numbers().convert(text, None, None), help="default: 0-4; suite: 0-2"
    )
    parser.add_argument("--cpu-seconds", type=float, default=90.0, help="what the jobs of a search may use")
    parser.add_argument("--rounds", type=int, default=8, help="rounds at most; the cap is meant to come first")
    parser.add_argument("--trials", type=int, default=1, help="trials a round")
    parser.add_argument("--at-once", type=int, default=1, help="searches at once")
    parser.add_argument("--table", action="store_true", help="only print the table of what there is")
    given = parser.parse_args()
    given.tasks = given.tasks or SUITES.get(given.suite, ("mini-extract",))
    given.seeds = given.seeds or tuple(range(3 if given.suite else 5))
    given.folder = given.folder.absolute()
    given.folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"HPC_TREX_HOME": str(given.folder), "HPC_TREX_KNOWLEDGE": "off"}
    failed = 0
    if not given.table:
        print(f"the program under test: {Path(hpc_trex.__file__).parent}")
        make_sweeps(given)
        failed = run(given.at_once)
    done = outcomes()
    print(table(done))
    if len({one.task for one in done}) > 1:
        print(f"\n{together(done)}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
