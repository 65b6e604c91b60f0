"""What one job is told: its ``spec.json`` and the resources it asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpc_trex import version
from hpc_trex.agents.executor import effective
from hpc_trex.controller.advance import Ready
from hpc_trex.controller.context import Work
from hpc_trex.controller.scoring import answers_of
from hpc_trex.errors import TrexError
from hpc_trex.models import EvalSettings, FailureClass, JobContainer, JobKind, JobSandbox, JobSpec, ModelRef, Resources
from hpc_trex.slurm.containers import from_environment, image_digest, model_folders
from hpc_trex.tree.repairs import repairs


def resources_of(work: Work, kind: JobKind) -> Resources:
    """Return what the profile asks for a job of this kind."""
    profile = work.config.profile
    if kind is JobKind.PREPARE:
        return profile.prepare
    if kind in (JobKind.BASELINE, JobKind.TEST):
        return profile.evaluate
    if kind is JobKind.SCORE:
        alone = {"nodes": 1, "processes_per_node": 1, "gpus_per_node": 0}
        return profile.score or profile.evaluate.model_copy(update=alone)
    if kind is JobKind.BASE:
        return profile.train.model_copy(update={"nodes": 1, "processes_per_node": 1})
    return profile.train


def job_spec(work: Work, item: Ready, token: str) -> JobSpec:
    """Return the spec of a job. Only the final evaluation, and what scores its answers, is told where the sealed test is."""
    config, paths = work.config, work.paths
    node = work.store.node(item.node)
    attempt = paths.attempt(item.node, item.trial, item.attempt)
    base = work.base() or ModelRef(name=config.model, path="")
    owner = item.node if node.data_from is None else node.data_from
    spec = JobSpec(
        kind=item.kind,
        token=token,
        search=config.name,
        node=item.node,
        trial=item.trial,
        attempt=item.attempt,
        attempt_dir=str(attempt.root),
        task_card=str(paths.card),
        sources={name: str(paths.sources / f"{name}.jsonl") for name in work.card.sources},
        block_rows=(str(paths.block),),
        base=base,
        evaluate=_evaluation(work),
        seed=config.seed,
        resources=resources_of(work, item.kind),
        stall_seconds=config.profile.hang_minutes * 60,
        checkpoint_seconds=config.profile.checkpoint_minutes * 60,
        idle_gpu_seconds=config.profile.idle_gpu_minutes * 60,
        idle_gpu_percent=config.profile.idle_gpu_percent,
        cache_dir=str(work.cache),
        container=_container(work, item.kind),
        sandbox=_sandbox(work),
    )
    if item.kind is JobKind.PREPARE:
        return spec.model_copy(update=_preparation(work, item))
    if item.kind is JobKind.BASELINE:
        return spec.model_copy(update={"eval_rows": str(paths.dev)})
    if item.kind is JobKind.TRAIN:
        trial = work.store.trial(item.node, item.trial)
        assert trial.plan is not None
        return spec.model_copy(
            update={
                "eval_rows": str(paths.dev),
                "data_dir": str(paths.data(owner)),
                "train": effective(trial),
                "repairs": _repairs(work, item),
                "mixture": trial.plan.mixture,
                "seed": trial.seed,
                "resume_from": tuple(
                    str(paths.attempt(item.node, item.trial, earlier).checkpoints)
                    for earlier in range(_first_sound(work, item), item.attempt)
                ),
            }
        )
    if item.kind is JobKind.SCORE:
        rows = paths.test if work.store.trial(item.node, item.trial).kind is JobKind.TEST else paths.dev
        return spec.model_copy(update={"eval_rows": str(rows), "to_score": answers_of(work, item.node, item.trial)})
    if item.kind is JobKind.TEST:
        return spec.model_copy(
            update={"eval_rows": str(paths.test), "compare": {"base": base, "chosen": _chosen(work, item.node, base)}}
        )
    return spec


def _preparation(work: Work, item: Ready) -> dict[str, Any]:
    """Return what only the preparation of a round's data is told: recipe, folder, repairs, answers of a model about rows."""
    plan = work.store.node(item.node).plan
    assert plan is not None
    return {
        "data": plan.data,
        "data_dir": str(work.paths.data(item.node)),
        "repairs": _repairs(work, item),
        "answers": tuple(str(path) for path in sorted(work.paths.answers(item.node).glob("*.json"))),
    }


def _first_sound(work: Work, item: Ready) -> int:
    """Return the first attempt whose checkpoints may be gone on from: none of a training that diverged may."""
    earlier = work.store.attempts(item.node, item.trial)
    diverged = [attempt.attempt for attempt in earlier if attempt.failure is FailureClass.DIVERGED]
    return 1 + max(diverged, default=0)


def folders_of(work: Work) -> tuple[Path, ...]:
    """Return what a job reads and writes: the search, the cache, the base model, a site folder of the user's own."""
    base = work.base()
    model = model_folders(base.path) if base and base.path else []
    return (work.paths.root, work.cache, *model, *from_environment(["HPC_TREX_SITE"]))


def _evaluation(work: Work) -> EvalSettings:
    """Return the settings of evaluations; a profile with an environment for scoring has it used."""
    given = work.config.evaluate
    return given.model_copy(update={"scoring": "own-job"}) if work.config.profile.score is not None else given


def _container(work: Work, kind: JobKind) -> JobContainer | None:
    profile = work.config.profile
    container = (profile.of_scoring if kind is JobKind.SCORE else profile).container
    if container is None:
        return None
    return JobContainer(image=container.image, sha256=image_digest(container, work.cache), program=version())


def _sandbox(work: Work) -> JobSandbox:
    profile = work.config.profile
    return JobSandbox(allowed=profile.agent_code, means=profile.sandbox, image=profile.image_of_code)


def _repairs(work: Work, item: Ready) -> tuple[str, ...]:
    """Return what was repaired of a trial, or of the round's recipe, before this attempt."""
    done = [one for one in repairs(work.store, item.node) if one.trial == item.trial and one.outcome == "repaired"]
    return tuple(f"{one.failure.value}, by {one.by}: {one.changes}" for one in done)


def _chosen(work: Work, node: int, base: ModelRef) -> ModelRef:
    """Return the chosen trial's model; the base where the baseline itself was chosen."""
    chosen = work.store.chosen()
    assert chosen is not None
    if node == 0:
        return base
    trial = work.store.trial(chosen.node, chosen.trial)
    if trial.result is None or trial.result.model is None:
        raise TrexError(f"the chosen trial (node {node} trial {chosen.trial}) has no model on record")
    return trial.result.model
