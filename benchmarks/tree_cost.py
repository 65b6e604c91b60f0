"""What the tree costs as it grows: one round recorded, one choice, one status, one snapshot, one rebuild.

    python benchmarks/tree_cost.py [--sizes 10 100 1000 10000]

The log of a bushy tree is written first (two trials a round, one job each, a failure in ten rounds), then the
database is built from that log as ``db rebuild`` does. Prints a Markdown table. Times are medians in milliseconds of CPU,
which is what a login node counts and what a busy machine does not blur; writes to the disk are given by the clock too.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hpc_trex.layout import SearchPaths
from hpc_trex.models import (
    DataRecipe,
    FailureClass,
    JobKind,
    JobResult,
    NodeState,
    PolicySettings,
    Profile,
    RoundPlan,
    Score,
    SearchConfig,
    TrainConfig,
    TrialPlan,
    TrialState,
)
from hpc_trex.models.operators import Load
from hpc_trex.tree import events as ev
from hpc_trex.tree.check import rebuild
from hpc_trex.tree.log import encode
from hpc_trex.tree.policies import POLICIES
from hpc_trex.tree.snapshot import publish
from hpc_trex.tree.store import Store

REPEATS = 15
SETTINGS = PolicySettings()


def round_plan(node: int) -> RoundPlan:
    trials = tuple(TrialPlan(train=TrainConfig(learning_rate=1e-4 * (trial + 1))) for trial in range(2))
    return RoundPlan(
        hypothesis=f"Round {node}: a higher learning rate should help, since the loss still falls at the end.",
        move=f"probe:{node % 12}",
        data=DataRecipe(steps=(Load(source="train"),)),
        trials=trials,
    )


def job(node: int, trial: int, value: float) -> Iterator[ev.Event]:
    token = f"bench-{node}-{trial}"
    score = Score(metric="exact_match", value=value, low=value - 0.02, high=value + 0.02, n=500)
    result = JobResult(
        token=token,
        state="succeeded",
        scores={"main": score},
        samples="samples.jsonl",
        extra_scores={"unparsable": 0.01, "truncated": 0.0, "train_loss": 1.2},
        versions=dict.fromkeys(("torch", "transformers", "peft", "accelerate", "datasets", "lm_eval"), "1.2.3"),
        hashes=dict.fromkeys(("data", "base", "code"), "0" * 64),
    )
    directory = f"nodes/{node:04d}/trials/{trial}/attempts/1"
    yield ev.TrialAdded(node=node, trial=trial, kind=JobKind.TRAIN, identity=token, plan=round_plan(node).trials[0])
    yield ev.AttemptIntended(
        node=node, trial=trial, attempt=1, kind=JobKind.TRAIN, token=token, directory=directory, gpus=1
    )
    yield ev.AttemptQueued(token=token, job_id=str(node))
    yield ev.AttemptRunning(token=token, host="gpu01")
    yield ev.AttemptEnded(token=token, succeeded=True, result=result, seconds=600, gpus=1)
    yield ev.TrialEnded(node=node, trial=trial, state=TrialState.DONE, score=value, result=result)


def one_round(node: int, parent: int | None, draw: random.Random) -> Iterator[ev.Event]:
    plan = None if parent is None else round_plan(node)
    yield ev.NodeAdded(node=node, parent=parent, plan=plan, recipe_digest=str(node % 50), data_from=node)
    value = round(draw.uniform(0.3, 0.9), 4)
    for trial in (1, 2):
        yield from job(node, trial, value)
    if parent is not None and draw.random() < 0.1:
        yield ev.NodeEnded(node=node, state=NodeState.FAILED, failure=FailureClass.DIVERGED, charged=True)
    else:
        yield ev.NodeEnded(node=node, state=NodeState.DONE, score=value, best_trial=1)
    yield ev.NodeDiagnosed(node=node, report="The answers are too long; most errors are in the last field.")


def grow(paths: SearchPaths, size: int) -> None:
    """Write the log of a search with ``size`` finished rounds; parents are drawn so that depth grows slowly."""
    draw = random.Random(size)
    config = SearchConfig(name="bench", task="mini", model="builtin:tiny", profile=Profile(name="local"))
    done: list[int] = []
    seq = 0
    with paths.events.open("wb") as log:

        def write(event: ev.Event) -> None:
            nonlocal seq
            seq += 1
            log.write(encode(ev.EventLine(seq=seq, time="2026-01-01T00:00:00.000+00:00", event=event)))

        write(ev.SearchCreated(config=config, task_digest="t", base_digest="b"))
        for node in range(size):
            # among a few, the oldest: a bushy tree, as the cap on children makes it
            parent = min(draw.choices(done, k=2)) if done else None
            for event in one_round(node, parent, draw):
                write(event)
                if isinstance(event, ev.NodeEnded) and event.state == NodeState.DONE:
                    done.append(node)


def milliseconds(action: Callable[[], object], repeats: int = REPEATS) -> float:
    times = []
    for _ in range(repeats):
        begun = time.process_time()
        action()
        times.append(time.process_time() - begun)
    return 1000 * statistics.median(times)


def status_from_the_shell(paths: SearchPaths) -> tuple[float, float]:
    """Run ``hpc-trex status`` as a user does; return milliseconds of CPU and by the clock."""
    (paths.root / "search.toml").touch()  # by which the program knows a search
    command = [sys.executable, "-m", "hpc_trex", "status", str(paths.root)]
    cpu, clock = [], []
    for _ in range(7):
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        clock.append(time.perf_counter() - begun)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return 1000 * statistics.median(cpu), 1000 * statistics.median(clock)


def measure(size: int, folder: Path) -> dict[str, float]:
    paths = SearchPaths(folder)
    grow(paths, size)
    found: dict[str, float] = {"rebuild": milliseconds(lambda: rebuild(paths), 1)}
    draw = random.Random(0)
    with Store.open(paths) as store:
        found["first select"] = milliseconds(lambda: select(store), 1)
        found["select"] = milliseconds(lambda: select(store))
        found["snapshot"] = milliseconds(lambda: publish(store, force=True), 1)
        events = 0
        begun, cpu = time.perf_counter(), time.process_time()
        for _ in range(REPEATS):
            for event in one_round(store.next_node(), select(store), draw):
                store.record(event)
                events += 1
        found["select and record, an event"] = 1000 * (time.process_time() - cpu) / events
        found["the same by the clock"] = 1000 * (time.perf_counter() - begun) / events
        found["status"] = milliseconds(store.status)
        found["node"] = milliseconds(lambda: store.node(size // 2))
        found["open"] = milliseconds(lambda: Store.open(paths).close(), 5)
    found["read + status"] = milliseconds(lambda: read_status(paths), 5)
    found["hpc-trex status"], found["hpc-trex status, by the clock"] = status_from_the_shell(paths)
    found["tree.db, MB"] = paths.db.stat().st_size / 1e6
    return found


def select(store: Store) -> int | None:
    return POLICIES["uct"].select(store.stats(), SETTINGS, random.Random(0), frozenset())


def read_status(paths: SearchPaths) -> None:
    with Store.read(paths) as reader:
        reader.status()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000, 10000])
    parser.add_argument("--json", action="store_true", help="print figures instead of the table")
    given = parser.parse_args()
    columns = {}
    for size in given.sizes:
        with tempfile.TemporaryDirectory(prefix="hpc-trex-bench-") as folder:
            columns[size] = measure(size, Path(folder))
    if given.json:
        print(json.dumps(columns, indent=1))
        return
    print("| finished nodes | " + " | ".join(f"{size:,}" for size in columns) + " |")
    print("|---|" + "---:|" * len(columns))
    for row in columns[given.sizes[0]]:
        unit = "" if "MB" in row else ", ms"
        print(f"| {row}{unit} | " + " | ".join(f"{figures[row]:,.2f}" for figures in columns.values()) + " |")


if __name__ == "__main__":
    main()
