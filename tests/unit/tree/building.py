"""Make searches for tests: every helper goes through ``Store.record``, as the controller does."""

from __future__ import annotations

from pathlib import Path

from hpc_trex.layout import SearchPaths
from hpc_trex.models import (
    DataRecipe,
    FailureClass,
    JobKind,
    JobResult,
    NodeState,
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
from hpc_trex.tree.store import Store

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
RECIPE = DataRecipe(steps=(Load(source="train"),))


def config(name: str = "demo") -> SearchConfig:
    return SearchConfig(name=name, task="mini", model="builtin:tiny", profile=Profile(name="local"))


def created(*, higher_is_better: bool = True) -> ev.SearchCreated:
    return ev.SearchCreated(
        config=config(), task_digest="t" * 64, base_digest="b" * 64, higher_is_better=higher_is_better
    )


def new_store(root: Path, *, higher_is_better: bool = True) -> Store:
    root.mkdir(parents=True, exist_ok=True)
    return Store.create(SearchPaths(root), created(higher_is_better=higher_is_better))


def plan(move: str = "probe:lr", *, learning_rate: float = 1e-3, trials: int = 1) -> RoundPlan:
    configs = [TrainConfig(learning_rate=learning_rate * (number + 1)) for number in range(trials)]
    return RoundPlan(
        hypothesis="it helps", move=move, data=RECIPE, trials=tuple(TrialPlan(train=train) for train in configs)
    )


def add(store: Store, parent: int | None, *, move: str = "probe:lr", recipe: str = "") -> int:
    """Add a round that is under way."""
    node = store.next_node()
    wanted = None if parent is None else plan(move)
    store.record(
        ev.NodeAdded(node=node, parent=parent, plan=wanted, recipe_digest=recipe, data_from=node if recipe else None)
    )
    return node


def finish(store: Store, node: int, score: float) -> None:
    store.record(ev.NodeEnded(node=node, state=NodeState.DONE, score=score, best_trial=1))


def fail(store: Store, node: int, *, charged: bool, failure: FailureClass = FailureClass.DIVERGED) -> None:
    store.record(ev.NodeEnded(node=node, state=NodeState.FAILED, failure=failure, charged=charged))


def done(store: Store, parent: int | None, score: float, *, move: str = "probe:lr") -> int:
    """Add a finished round without trials."""
    node = add(store, parent, move=move)
    finish(store, node, score)
    return node


def result(token: str, value: float, **more: object) -> JobResult:
    score = Score(metric="exact_match", value=value, low=value - 0.1, high=value + 0.1, n=100)
    return JobResult.model_validate({"token": token, "state": "succeeded", "scores": {"main": score}} | more)


def add_trial(store: Store, node: int, trial: int, *, kind: JobKind = JobKind.TRAIN, **more: object) -> None:
    store.record(ev.TrialAdded.model_validate({"node": node, "trial": trial, "kind": kind} | more))


def intend(
    store: Store, node: int, trial: int, attempt: int = 1, *, kind: JobKind = JobKind.TRAIN, gpus: int = 0
) -> str:
    token = f"x-{node}-{trial}-{attempt}"
    directory = str(store.paths.attempt(node, trial, attempt).root.relative_to(store.paths.root))
    store.record(
        ev.AttemptIntended(
            node=node, trial=trial, attempt=attempt, kind=kind, token=token, directory=directory, gpus=gpus, minutes=5
        )
    )
    return token


def run_trial(store: Store, node: int, trial: int, value: float, *, seconds: float = 10, **more: object) -> str:
    """Add a trial and let its first attempt succeed."""
    add_trial(store, node, trial, **more)
    token = intend(store, node, trial)
    store.record(ev.AttemptQueued(token=token, job_id=f"{node}{trial}"))
    store.record(ev.AttemptRunning(token=token, host="n1"))
    outcome = result(token, value)
    store.record(
        ev.AttemptEnded(token=token, succeeded=True, result=outcome, seconds=seconds, cpu_seconds=seconds * 0.9)
    )
    store.record(ev.TrialEnded(node=node, trial=trial, state=TrialState.DONE, score=value, result=outcome))
    return token


def dump(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of every table."""
    tables = ("search", "nodes", "trials", "attempts", "insights", "notes", "verdicts")
    return {table: store.db.conn.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall() for table in tables}
