"""The chain of jobs behind one command: the base where it is built in, the data, then the training or evaluation."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from hpc_trex.builtin import builtin_path
from hpc_trex.by_hand.jobs import Tell, finish_job, numbered
from hpc_trex.by_hand.spec import HandSpec, train_config
from hpc_trex.errors import JobFailure, NotFound, TrexError, UsageProblem
from hpc_trex.files import read_record
from hpc_trex.ftbench.cards import load_card
from hpc_trex.ftbench.materialise import materialise
from hpc_trex.layout import AttemptPaths, SearchPaths, cache
from hpc_trex.models import (
    DataRecipe,
    FailureClass,
    JobKind,
    JobResult,
    JobSandbox,
    JobSpec,
    ModelRef,
    Resources,
    TaskCard,
)
from hpc_trex.models.operators import Load
from hpc_trex.slurm.machine import gpus
from hpc_trex.staging import stage_model


class Hand:
    """The folder of one spec and the jobs in it. A finished step is not done again."""

    def __init__(self, spec: HandSpec, tell: Tell) -> None:
        self.spec = spec
        self.tell = tell
        self.out = Path(spec.out)
        self.paths = SearchPaths(self.out)
        """The task lies there as in a search: ``task/``, ``sealed/``."""

    def train(self, *, resume: bool) -> JobResult:
        """Train, evaluate where the spec has a task, and return the result.

        Raises :class:`UsageProblem` for a folder that holds a training already, unless it is to be resumed.
        """
        earlier = numbered(self.out / "train")
        if earlier and not resume:
            raise UsageProblem(
                f"{self.out} holds a training already", hint="add --resume to go on with it, or name another out"
            )
        if resume and not earlier:
            raise NotFound(f"{self.out} holds no training that could be resumed", hint="leave --resume out")
        card = self.card()
        config = train_config(self.spec.train, card.default_train if card else {})
        if not self.spec.data and card is None:
            raise UsageProblem("nothing to train on: give task or data", hint="docs/training.md shows a whole spec")
        last = read_record(AttemptPaths(earlier[-1]).result, JobResult) if earlier else None
        if last is not None and last.state == "succeeded":
            return last
        base = self.base()
        fields = {
            "base": base,
            "train": config,
            "data_dir": self.spec.data or self.prepared(card, base),
            "eval_rows": str(self.paths.dev) if card else None,
        }
        if earlier and last is None:  # it may run still
            spec = read_record(AttemptPaths(earlier[-1]).spec, JobSpec)
            if spec is not None and not _over(earlier[-1]):
                return finish_job(spec, self.tell)
        checkpoints = tuple(str(AttemptPaths(path).checkpoints) for path in earlier)
        return self.job(JobKind.TRAIN, "train", **fields, resume_from=checkpoints)

    def evaluate(self) -> JobResult:
        """Evaluate the model on the task's dev rows and return the result."""
        card = self.card()
        if card is None:
            raise UsageProblem("nothing to evaluate on: give task", hint="docs/training.md shows a whole spec")
        return self.job(JobKind.BASELINE, "evaluate", base=self.base(), eval_rows=str(self.paths.dev))

    def card(self) -> TaskCard | None:
        """Return the task's card, its rows written into the folder; None without a task.

        Raises :class:`UsageProblem` for a folder that holds another task's, or a card that cannot be read.
        """
        if self.spec.task is None:
            return None
        loaded = load_card(self.spec.task)
        if not self.paths.card.is_file():
            self.out.mkdir(parents=True, exist_ok=True, mode=0o700)
            materialise(loaded, self.paths)
        card = read_record(self.paths.card, TaskCard)
        if card is None or card.name != loaded.card.name:
            held = (
                "a task card that cannot be read" if card is None else f"the task {card.name}, not {loaded.card.name}"
            )
            raise UsageProblem(f"{self.out} holds {held}", hint="name another out")
        return card

    def base(self) -> ModelRef:
        """Return the base model, a built-in one made where the cache lacks it."""
        staged = stage_model(self.spec.model)
        if staged.path:
            ref = ModelRef(name=self.spec.model, path=staged.path)
        else:
            folder = builtin_path(self.spec.model, cache())
            ref = ModelRef(name=self.spec.model, path=str(folder))
            if not folder.is_dir():
                ref = _model(self.succeeded(JobKind.BASE, "base", base=ref))
        return ref.model_copy(update={"adapter": self.spec.adapter})

    def prepared(self, card: TaskCard | None, base: ModelRef) -> str:
        """Return the folder of the training set, made by the recipe where it is not there yet.

        Raises :class:`UsageProblem` where it was made by another recipe: it would be trained on without a word.
        """
        assert card is not None
        folder = self.out / "data"
        recipe = self.spec.recipe or DataRecipe(
            steps=tuple(Load(source=name) for name in card.sources), seed=self.spec.seed
        )
        if (folder / "manifest.json").is_file():
            made = [read_record(AttemptPaths(path).spec, JobSpec) for path in numbered(self.out / "prepare")]
            if made and made[-1] is not None and made[-1].data != recipe:
                raise UsageProblem(
                    f"{folder} was made by another recipe or seed", hint="name another out, or take the change back"
                )
        else:
            self.succeeded(JobKind.PREPARE, "prepare", base=base, data=recipe, data_dir=str(folder))
        return str(folder)

    def resources(self, kind: JobKind) -> Resources:
        """Return what a job may use: where nothing is said of GPUs, one for each process of a training or evaluation."""
        given = self.spec.resources
        if "gpus_per_node" in given.model_fields_set or kind not in (JobKind.TRAIN, JobKind.BASELINE):
            return given
        wanted, here = given.processes_per_node, len(gpus())
        if 0 < here < wanted:
            self.tell(f"{wanted} processes and {here} GPU(s): computing on the CPU")
        return given.model_copy(update={"gpus_per_node": wanted if here >= wanted else 0})

    def succeeded(self, kind: JobKind, name: str, **fields: Any) -> JobResult:
        """Run a job that the next one needs. Raises its failure."""
        return require_success(self.job(kind, name, **fields))

    def job(self, kind: JobKind, name: str, **fields: Any) -> JobResult:
        """Run one job in the next folder below ``name``."""
        number = len(numbered(self.out / name)) + 1
        folder = self.out / name / str(number)
        spec = JobSpec(
            kind=kind,
            token=f"hand-{secrets.token_hex(6)}",
            search=self.out.name,
            node=1,
            trial=1,
            attempt=number,
            attempt_dir=str(folder),
            task_card=str(self.paths.card),
            sources={path.stem: str(path) for path in sorted(self.paths.sources.glob("*.jsonl"))},
            block_rows=(str(self.paths.block),) if self.paths.block.is_file() else (),
            # Nobody would start a second job to score the answers: a search's own setting must not leave them unscored.
            evaluate=self.spec.evaluate.model_copy(update={"scoring": "same-job"}),
            seed=self.spec.seed,
            resources=self.resources(kind),
            # Whoever types the command has read the recipe; the walls stand all the same.
            sandbox=JobSandbox(allowed=True),
            heartbeat_seconds=1.0,
            cache_dir=str(cache()),
            **fields,
        )
        self.tell(f"{name}: {folder}")
        return finish_job(spec, self.tell)


def require_success(result: JobResult) -> JobResult:
    """Return a result that is one. Raises the job's failure, and ``KeyboardInterrupt`` for a job that was stopped by hand."""
    if result.state == "succeeded":
        return result
    if result.failure is FailureClass.PREEMPTED:
        raise KeyboardInterrupt
    assert result.failure is not None
    if result.failure is FailureClass.ASKS:
        raise UsageProblem(
            result.message,
            hint="hpc-trex data run RECIPE --llm-model NAME --out DIR prepares such a set; then: data = DIR",
        )
    raise JobFailure(f"{result.failure.value}: {result.message}", failure=result.failure)


def _over(folder: Path) -> bool:
    """Tell whether the job in ``folder`` is certainly no longer at work."""
    from hpc_trex.models import Profile
    from hpc_trex.slurm.local_backend import LocalScheduler
    from hpc_trex.slurm.scheduler import JobRef, JobState

    spec = read_record(AttemptPaths(folder).spec, JobSpec)
    if spec is None:
        return True
    reference = JobRef(spec.token, None, folder)
    return LocalScheduler(Profile(name="by-hand")).poll([reference])[spec.token].state is not JobState.RUNNING


def _model(result: JobResult) -> ModelRef:
    if result.model is None:
        raise TrexError("the job made no model")
    return result.model
