"""Real search directories, made through the store, and the command line run inside them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hpc_trex.cli.main import cli
from hpc_trex.files import write_record
from hpc_trex.ftbench.cards import load_card
from hpc_trex.layout import SearchPaths
from hpc_trex.models import (
    DataRecipe,
    JobKind,
    JobResult,
    ModelRef,
    NodeState,
    Profile,
    RoundPlan,
    Score,
    SearchConfig,
    TrainConfig,
    TrialPlan,
    TrialState,
)
from hpc_trex.models.operators import Dedup, Load
from hpc_trex.tree import events as ev
from hpc_trex.tree.store import Store


@pytest.fixture(autouse=True)
def _apart_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the developer's home, configuration or searches."""
    for name in [name for name in os.environ if name.startswith("HPC_TREX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HPC_TREX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path / "searches"))
    monkeypatch.setenv("HPC_TREX_SITE", "")
    monkeypatch.setenv("HPC_TREX_KNOWLEDGE", "off")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def trex() -> Callable[..., Result]:
    """Run one command line, as a user types it, and return its exit code, stdout and stderr."""

    def run(*args: str | Path, **options: object) -> Result:
        return CliRunner().invoke(cli, [str(arg) for arg in args], **options)  # type: ignore[arg-type]

    return run


def read_json(result: Result) -> dict[str, object]:
    """Return what a command with ``--json`` printed; it must have succeeded."""
    assert result.exit_code == 0, result.output
    body = json.loads(result.stdout)
    assert body["schema"] == 1
    return body  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make the search of a name once a session: every event is flushed to disk, which takes a second under load."""

    @cache
    def make(name: str) -> Path:
        paths = SearchPaths(tmp_path_factory.mktemp("made") / name)
        card = load_card("mini-listops").card
        paths.sources.mkdir(parents=True)
        write_record(paths.card, card)
        for source in card.sources:
            (paths.sources / f"{source}.jsonl").write_text("{}\n")
        config = SearchConfig(name=name, task="mini-listops", model="builtin:tiny-qwen3", profile=Profile(name="local"))
        paths.config.write_text(f'name = "{name}"\n')
        with Store.create(paths, ev.SearchCreated(config=config, task_digest="t", base_digest="b")) as store:
            _history(store, paths)
        return paths.root

    return make


@pytest.fixture
def make_search(tmp_path: Path, made_once: Callable[[str], Path]) -> Callable[..., SearchPaths]:
    """Make a search with a baseline, a finished round of two trials, a failed one and one that runs."""

    def make(name: str = "listops-1", *, root: Path | None = None) -> SearchPaths:
        folder = (root or tmp_path / "searches") / name
        return SearchPaths(Path(shutil.copytree(made_once(name), folder)))

    return make


def plan_of(*, label: str = "lr x3", move: str = "probe:learning-rate-up", rate: float = 3e-4) -> RoundPlan:
    trials = (TrialPlan(), TrialPlan(train=TrainConfig(learning_rate=rate), label=label))
    return RoundPlan(
        hypothesis="A higher learning rate uses the few steps better.",
        move=move,
        data=DataRecipe(steps=(Load(source="curated"), Dedup())),
        trials=trials,
    )


def result_of(token: str, value: float) -> JobResult:
    score = Score(metric="exact_match", value=value, low=value - 0.05, high=value + 0.05, n=200)
    model = ModelRef(name="m", path="/models/base", adapter=f"/models/{token}")
    return JobResult(token=token, state="succeeded", scores={"main": score}, model=model, seconds=30, cpu_seconds=60)


def _job(store: Store, node: int, trial: int, kind: JobKind, value: float | None) -> None:
    token = f"tok-n{node}-t{trial}-a1"
    directory = store.paths.attempt(node, trial, 1).root
    directory.mkdir(parents=True)
    store.record(
        ev.AttemptIntended(
            node=node, trial=trial, attempt=1, kind=kind, token=token,
            directory=str(directory.relative_to(store.paths.root)), minutes=60,
        )
    )  # fmt: skip
    store.record(ev.AttemptQueued(token=token, job_id=f"4{node}{trial}"))
    store.record(ev.AttemptRunning(token=token, host="node01"))
    if value is not None:
        result = result_of(token, value)
        store.record(ev.AttemptEnded(token=token, succeeded=True, result=result, seconds=30, cpu_seconds=60))
        store.record(ev.TrialEnded(node=node, trial=trial, state=TrialState.DONE, score=value, result=result))


def _finished_round(store: Store, node: int, *, parent: int, score: float) -> None:
    store.record(ev.NodeAdded(node=node, parent=parent, plan=plan_of(rate=1e-4 * (node + 2)), data_from=node))
    for trial, value in ((1, score - 0.1), (2, score)):
        store.record(ev.TrialAdded(node=node, trial=trial, kind=JobKind.TRAIN, plan=plan_of().trials[trial - 1]))
        _job(store, node, trial, JobKind.TRAIN, value)
    store.record(ev.NodeEnded(node=node, state=NodeState.DONE, score=score, best_trial=2))


def _history(store: Store, paths: SearchPaths) -> None:
    store.record(ev.NodeAdded(node=0, parent=None, plan=None))
    store.record(ev.TrialAdded(node=0, trial=1, kind=JobKind.BASELINE))
    _job(store, 0, 1, JobKind.BASELINE, 0.2)
    store.record(ev.NodeEnded(node=0, state=NodeState.DONE, score=0.2, best_trial=1))
    _finished_round(store, 1, parent=0, score=0.6)
    store.record(ev.NodeDiagnosed(node=1, report="Better by far.\nShort lists are solved."))
    paths.attempt(1, 2, 1).stdout.write_text("".join(f"step {step}\n" for step in range(500)))
    paths.attempt(1, 2, 1).stderr.write_text("a warning\n")
    store.record(ev.NodeAdded(node=2, parent=0, plan=plan_of(move="probe:lora"), data_from=2))
    store.record(ev.TrialAdded(node=2, trial=1, kind=JobKind.TRAIN, plan=plan_of().trials[0]))
    store.record(ev.TrialEnded(node=2, trial=1, state=TrialState.FAILED, failure="DIVERGED", message="loss is NaN"))
    store.record(ev.NodeEnded(node=2, state=NodeState.FAILED, failure="DIVERGED", charged=True, message="loss is NaN"))
    store.record(ev.NodeAdded(node=3, parent=1, plan=plan_of(move="combine"), data_from=3))
    store.record(ev.TrialAdded(node=3, trial=1, kind=JobKind.TRAIN, plan=plan_of().trials[0]))
    _job(store, 3, 1, JobKind.TRAIN, None)
