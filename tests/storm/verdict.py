"""What must hold behind the storm."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hpc_trex.models import AttemptState, AttemptView, FailureClass, JobKind, SearchState, TrialState, TrialView
from hpc_trex.tree.check import check
from hpc_trex.tree.store import Store
from tests.storm.world import Search, World

#: A job that Slurm was told to end may take KillWait and a look of the node's daemon, on a machine that may be busy.
SECONDS_TO_END = 180
#: Exit codes of controllers: through, killed, and what only waits for a person to resume (refused, environment).
EXPECTED = {0, -9, 5, 8}
#: What the weather does to a job; anything else would be the program's own reading of it.
WEATHER = {FailureClass.LOST, FailureClass.TIMEOUT, FailureClass.PREEMPTED, FailureClass.NODE_FAIL}


def violations(world: World) -> list[str]:
    """Return what is wrong, one sentence each; none is the aim."""
    found = [line for search in world.searches for line in _of_search(world, search)]
    return found + list(_of_world(world))


def _of_search(world: World, search: Search) -> Iterator[str]:
    paths, name = search.paths, search.name
    yield from (f"{name}: db check: {problem}" for problem in check(paths))
    with Store.read(paths) as store:
        state, message = store.state()
        attempts = store.attempts()
        trials = [trial for node in store.nodes() for trial in node.trials]
    if state is not SearchState.DONE:
        yield f"{name} is {state.value}: {message}"
    for code in set(search.exits) - EXPECTED:
        yield f"{name}: a controller ended with {code}, see {search.log}"
    yield from _starts(world, search, Counter(attempt.token for attempt in attempts))
    for trial in trials:
        mine = [item for item in attempts if (item.node, item.trial) == (trial.node, trial.trial)]
        data = {item.token for item in attempts if (item.node, item.trial) == (trial.node, 0)}
        wrong = wrong_end(trial, mine, world.cancelled, data) or _wrong_result(trial, mine)
        if wrong:
            yield f"{name} node {trial.node} trial {trial.trial} {wrong}"
    tests = sum(trial.kind is JobKind.TEST for trial in trials)
    if tests != 1:
        yield f"{name}: the sealed test was planned {tests} times"
    for path in paths.root.rglob("*"):
        if re.search(r"\.tmp-|\.save_tmp|\.task-", path.name) or path in (paths.lease, paths.stop_request):
            yield f"{path} was left behind"


def _starts(world: World, search: Search, tokens: Counter[str]) -> Iterator[str]:
    """Compare the attempts on record with the claims in their folders and with the trainings that were started."""
    files = search.paths.root.glob("nodes/*/trials/*/attempts/*/started.json")
    claims = Counter(json.loads(path.read_text())["token"] for path in files)
    lines = world.starts.read_text().splitlines()
    started = Counter(line.split()[0] for line in lines if line.startswith(f"{search.uid}-"))
    for token in {*tokens, *claims, *started}:
        if tokens[token] != 1 or claims[token] > 1 or started[token] > 1:
            times = max(claims[token], started[token])
            yield f"{token} was started {times} times and is recorded {tokens[token]} times"


def wrong_end(trial: TrialView, mine: list[AttemptView], cancelled: set[str], data: set[str]) -> str:
    """Return what is wrong with the state that a trial came to; empty for nothing.

    ``data``: the jobs that prepared the round's data; one that a person cancels takes its round's trials with it.
    """
    if trial.state in (TrialState.PLANNED, TrialState.ACTIVE):
        return f"is still {trial.state.value}"
    if trial.state is TrialState.CANCELLED and not ({item.token for item in mine} | data) & cancelled:
        return f"is cancelled, but nobody asked for that: {trial.message}"
    if trial.state is TrialState.FAILED and not {item.failure for item in mine} <= WEATHER:
        return f"failed, though only the weather was bad: {trial.failure} {trial.message}"
    return ""


def _wrong_result(trial: TrialView, mine: list[AttemptView]) -> str:
    """Return what is wrong with the one counted result of a trial; empty for nothing."""
    succeeded = [item.token for item in mine if item.state is AttemptState.SUCCEEDED]
    if trial.state is not TrialState.DONE or trial.reused_from is not None:
        return f"has a result of {succeeded} but is {trial.state.value}" if succeeded else ""
    counted = trial.result.token if trial.result else None
    return "" if succeeded == [counted] else f"counts {counted}, but these succeeded: {succeeded}"


def _of_world(world: World) -> Iterator[str]:
    end = time.monotonic() + SECONDS_TO_END
    while (world.jobs() or list(world.processes())) and time.monotonic() < end:
        time.sleep(0.5)
    yield from (f"job {job} ({name}) is still in the queue" for job, name in world.jobs().items())
    yield from (f"process {pid} ({name}) is left over" for pid, name in world.processes())
    yield from (f"process {pid} is a zombie of ours" for pid in _zombies())
    for path in world.home.iterdir():
        if path.name.startswith("."):
            yield f"{path} was left behind"
    if world.accounting:
        done = world.slurm("sacct", "-n", "-X", "-P", "--starttime", "now-1days", "-o", "JobName%200,JobID")
        names = Counter(line.split("|")[0] for line in done.stdout.splitlines())
        for search in world.searches:
            for name, count in names.items():
                if name.startswith(f"{search.uid}-") and count > 1 and not world.forgetful:
                    yield f"accounting has {count} jobs of {name}"


def _zombies() -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] == "Z" and int(fields[1]) == os.getpid():
            yield int(path.parent.name)


def summary(world: World, blows: dict[str, int]) -> list[str]:
    """Return the figures of the storm."""
    lines = ["", "blows: " + ", ".join(f"{name} {count}" for name, count in sorted(blows.items()))]
    for search in world.searches:
        with Store.read(search.paths) as store:
            attempts = store.attempts()
            trials = Counter(trial.state.value for node in store.nodes() for trial in node.trials)
            seq = store.last_seq()
        lost = Counter(str(item.failure.value) for item in attempts if item.failure)
        exits = ", ".join(f"{code}: {count}" for code, count in sorted(search.exits.items()))
        lines.append(
            f"{search.name}: {search.state().value}; trials {dict(trials)}; {len(attempts)} attempts, not succeeded: {dict(lost)};"
            f" {seq} events; exits of controllers {{{exits}}}"
        )
        # Tried again and no harm, but not what happened: worth a look.
        strange = [item for item in attempts if item.failure and item.failure not in {*WEATHER, FailureClass.CANCELLED}]
        lines += [f"  {item.token} was read as {item.failure}: {item.message}" for item in strange]
    return lines
