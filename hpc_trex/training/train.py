"""The training of one trial in this process: prepared rows and a base in, a trained model out."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.errors import JobFailure
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import FailureClass, Heartbeat, JobSpec, ModelRef, TrainConfig, digest
from hpc_trex.training import data
from hpc_trex.training.adapters import add_lora, go_on_with
from hpc_trex.training.attention import EAGER, FLASH
from hpc_trex.training.batches import Layout
from hpc_trex.training.beat import Beat
from hpc_trex.training.checkpoint import mark_finished
from hpc_trex.training.compiled import compile_layers, uncompiled
from hpc_trex.training.load import Loaded, load_model, load_tokenizer
from hpc_trex.training.loop import Loop, Plan, Trained, mean_loss
from hpc_trex.training.losses import loss_model
from hpc_trex.training.objective import Form
from hpc_trex.training.packing import packing_is_exact
from hpc_trex.training.progress import Checkpoint, newest_checkpoint
from hpc_trex.training.quantize import ready_for_adapters
from hpc_trex.training.ranks import Ranks
from hpc_trex.training.reinforce import Reward
from hpc_trex.training.say import say
from hpc_trex.training.sharding import ShardedRanks
from hpc_trex.training.speed import model_flops_utilisation
from hpc_trex.training.stages import TrainingSet, read_set


class TrainedModel(NamedTuple):
    """A trained model in memory and on disk, with what the result says about it."""

    model: Any
    tokenizer: Any
    ref: ModelRef
    extra_scores: dict[str, float]
    hashes: dict[str, str]
    figures: dict[str, Any]
    """Fields of ``JobResult``."""
    style: str
    """How prompts were formatted, ``plain`` or ``chat``: the evaluation must do the same."""


def train(spec: JobSpec, beat: Beat, reward: Reward | None = None) -> TrainedModel:
    """Train one trial on all ranks of the job; rank 0 saves the model in ``AttemptPaths.model``.

    ``reward``: how the task judges an answer, for a ``grpo`` stage.

    Raises ``JobFailure`` (and ``Interrupted`` after a checkpoint).
    """
    if spec.train is None or spec.data_dir is None:
        raise JobFailure("a train job needs train and data_dir", failure=FailureClass.CONFIG)
    config, paths = spec.train, AttemptPaths(Path(spec.attempt_dir))
    beat(Heartbeat(phase="loading", message="packages"))
    ranks = make_ranks(config)
    beat(Heartbeat(phase="loading", message="rows"))
    tokenizer = load_tokenizer(spec.base)
    rows = read_set(spec, config, tokenizer, reward)
    identity = _identity(spec, config, rows.digest)
    resume = newest_checkpoint([Path(f) for f in spec.resume_from] + [paths.checkpoints], identity=identity)
    if resume and resume.progress.finished:
        return _already_trained(resume, config, tokenizer, rows)
    beat(Heartbeat(phase="loading", message="model"))
    loaded = _load(spec, config, sharded=isinstance(ranks, ShardedRanks))
    if config.compiled:
        compile_layers(loaded.model)
    ranks.losses(loaded.model, config.loss)
    plans = _plans(spec, config, loaded, rows, ranks, tokenizer, identity)
    beat(Heartbeat(phase="loading", message="ready"))
    if ranks.rank == 0:
        _announce(plans, rows, loaded, config, resume)
        if ranks.world > 1:
            say(f"{ranks.world} processes ({ranks.name})")
    trained = _run(plans, loaded.model, ranks, beat, resume)
    uncompiled(config.compiled)
    saved = ranks.saved(loaded.model)
    ranks.wait()
    figures = _figures(trained, loaded, ranks.world, ranks.name, compiled=config.compiled) | {
        "resumed_from_step": resume.step if resume else 0
    }
    ref, whole, extra = spec.base, plans[-1].whole, _extra(trained, rows)
    if beat.rank == 0:
        beat(Heartbeat(phase="saving", step=whole, total_steps=whole))
        ref = _save(loaded.model, saved, tokenizer, spec, config, paths)
        mark_finished(paths.checkpoints, trained.progress, ref)
    losses = ranks.losses(loaded.model, config.loss)
    if saved is None:
        # The evaluation computes in the precision of the training: the loop has seen to it for its own steps only.
        ranks.accelerator.prepare_model(loaded.model, evaluation_mode=True)
    elif beat.rank == 0:  # no rank holds it whole: what was saved is read again
        loaded = load_model(ref, attention=config.attention, precision=config.precision)
        losses = loss_model(loaded.model, config.loss)
    ranks.accelerator.end_training()
    if rows.holdout and beat.rank == 0:
        extra["holdout_loss"] = mean_loss(losses, rows.holdout, plans[-1], ranks.device, beat)
    return TrainedModel(loaded.model, tokenizer, ref, extra, {"data": rows.digest}, figures, rows.style)


def _run(plans: list[Plan], model: Any, ranks: Ranks, beat: Beat, resume: Checkpoint | None) -> Trained:
    """Run the stages that are left, one after the other."""
    done = 0 if resume is None else resume.step
    left = [plan for plan in plans[:-1] if done < plan.offset + plan.total] + plans[-1:]
    trained = Loop(model, left[0], ranks, beat, resume).run()
    for plan in left[1:]:
        trained = trained.then(Loop(model, plan, ranks, beat, before=trained.progress).run())
    return trained


def make_ranks(config: TrainConfig) -> Ranks:
    """Return the processes of the training, as ``parallel`` says."""
    accelerator = make_accelerator(config)
    if config.parallel == "fsdp" and accelerator.num_processes > 1:
        from hpc_trex.training.load import use_half

        return ShardedRanks(accelerator, half=use_half(config.precision))
    return Ranks(accelerator)


def make_accelerator(config: TrainConfig) -> Any:
    """Return accelerate's view of the ranks: gloo on CPUs, NCCL on GPUs, set up from the launcher's environment."""
    import torch
    from accelerate import Accelerator

    from hpc_trex.training.load import use_half

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    half = use_half(config.precision)
    return Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="bf16" if half else "no")


def _identity(spec: JobSpec, config: TrainConfig, data_digest: str) -> str:
    """Return what a checkpoint must share to be resumed from: all that decides the numbers, not how they are computed."""
    how = {"micro_batch_size", "gradient_checkpointing", "packing"}
    return digest(
        {
            "train": {name: value for name, value in config.identity().items() if name not in how},
            "base": [spec.base.path, spec.base.adapter],
            "data": data_digest,
            "mixture": spec.mixture,
            "seed": spec.seed,
        }
    )


def _load(spec: JobSpec, config: TrainConfig, *, sharded: bool) -> Loaded:
    """Load the base and make it trainable; one that is to be sharded stays on the CPU."""
    import torch

    full = config.method == "full"
    if full and config.quantization != "none":
        raise JobFailure(
            f"quantization = {config.quantization} is for adapters: 4-bit weights cannot be trained themselves",
            failure=FailureClass.CONFIG,
            hint="use method = lora, or quantization = none",
        )
    loaded = load_model(
        spec.base,
        attention=config.attention,
        precision=config.precision,
        master_weights=full,
        quantization=config.quantization,
        stay=sharded,
    )
    # peft freezes the base under an adapter; merged, all of it is to be trained again.
    model = loaded.model
    if spec.base.adapter and full:
        model = model.merge_and_unload().requires_grad_(True)
    if config.quantization != "none":
        model = ready_for_adapters(model)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if full:
        return loaded._replace(model=model)
    if spec.base.adapter:
        return loaded._replace(model=go_on_with(model, config.lora, spec.base.adapter))
    # New adapters begin with random weights: the seed decides them.
    torch.manual_seed(spec.seed)
    return loaded._replace(model=add_lora(model, config.lora))


def _plans(
    spec: JobSpec,
    config: TrainConfig,
    loaded: Loaded,
    rows: TrainingSet,
    ranks: Ranks,
    tokenizer: Any,
    identity: str,
) -> list[Plan]:
    """Return what each stage's loop needs."""
    form = _form(config, loaded, ranks, tokenizer)
    ends, several = rows.ends, len(rows.stages) > 1
    return [
        Plan(
            config=own.config,
            objective=own.objective,
            stream=data.Stream(own.objective.drawn, seed=spec.seed + 1_000_003 * place, ordered=rows.ordered),
            total=own.steps,
            seed=spec.seed,
            form=form,
            vocabulary=max(2, len(tokenizer)),
            checkpoints=AttemptPaths(Path(spec.attempt_dir)).checkpoints,
            checkpoint_seconds=spec.checkpoint_seconds,
            identity=identity,
            offset=ends[place] - own.steps,
            ends=ends,
            message=f"stage {place + 1} of {len(ends)}: {own.stage.objective}" if several else "",
        )
        for place, own in enumerate(rows.stages)
    ]


def _form(config: TrainConfig, loaded: Loaded, ranks: Ranks, tokenizer: Any) -> Form:
    """Return how rows become tensors: packed where the model keeps the samples of a row apart."""
    eager = loaded.attention.name == EAGER
    layout: Layout = "padded"
    if config.packing:
        wanted = layout = "varlen" if loaded.attention.name == FLASH else "packed"
        if not ranks.ask(lambda model: packing_is_exact(model, wanted, additive=eager)):
            say("packing is off: this architecture lets the samples of a row see each other")
            layout = "padded"
    return Form(layout, additive_mask=eager, pad_id=tokenizer.pad_token_id)


def _announce(
    plans: list[Plan], rows: TrainingSet, loaded: Loaded, config: TrainConfig, resume: Checkpoint | None
) -> None:
    weights = sum(value.numel() for value in loaded.model.parameters())
    trained = sum(value.numel() for value in loaded.model.parameters() if value.requires_grad)
    layout = plans[0].form.layout
    say(f"attention: {loaded.attention.shown}; computing in {'bf16' if loaded.half else 'fp32'}; rows are {layout}")
    say(f"{config.method}: {trained:,} of {weights:,} weights are trained; {plans[-1].whole} steps")
    for number, (own, plan) in enumerate(zip(rows.stages, plans, strict=True), start=1):
        what = {"dpo": "pairs", "grpo": "prompts"}.get(own.stage.objective, "samples")
        say(f"stage {number}: {own.stage.objective}, {own.objective.drawn} {what}, {plan.total} steps")
    if resume:
        say(f"resuming from {resume.folder} at step {resume.step}")


def _save(
    model: Any, saved: dict[str, Any] | None, tokenizer: Any, spec: JobSpec, config: TrainConfig, paths: AttemptPaths
) -> ModelRef:
    """Save the model whole: written beside, then renamed."""
    target, temporary = paths.model, paths.model.with_name(f".model.tmp-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(str(temporary), safe_serialization=True, **({} if saved is None else {"state_dict": saved}))
    if config.method == "full":
        tokenizer.save_pretrained(str(temporary))
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    say(f"saved {config.method} model in {target}")
    if config.method == "lora":
        return ModelRef(name=spec.base.name, path=spec.base.path, adapter=str(target))
    return ModelRef(name=spec.base.name, path=str(target))


def _already_trained(resume: Checkpoint, config: TrainConfig, tokenizer: Any, rows: TrainingSet) -> TrainedModel:
    """An earlier attempt trained to the end and was cut off in its evaluation: take its model."""
    ref = resume.progress.finished
    assert ref is not None
    say(f"the training was finished at step {resume.step}; the model is in {ref.adapter or ref.path}")
    loaded = load_model(ref, attention=config.attention, precision=config.precision)
    trained = Trained(resume.progress)
    figures = _figures(trained, loaded, 1) | {"resumed_from_step": resume.step}
    return TrainedModel(loaded.model, tokenizer, ref, _extra(trained, rows), {"data": rows.digest}, figures, rows.style)


def _extra(trained: Trained, rows: TrainingSet) -> dict[str, float]:
    """Return what the result says beside the scores: of several stages each one's last loss, too."""
    extra = {"train_truncated": rows.truncated}
    losses = {point.step: point.loss for point in trained.progress.curve}
    if losses:
        extra["train_loss"] = trained.progress.curve[-1].loss
    if len(rows.stages) > 1:
        for number, (own, end) in enumerate(zip(rows.stages, rows.ends, strict=True), start=1):
            extra |= {f"stage_{number}_{own.stage.objective}_loss": losses[end]} if end in losses else {}
    return extra


def _figures(
    trained: Trained, loaded: Loaded, world: int, parallel: str = "", *, compiled: bool = False
) -> dict[str, Any]:
    import torch

    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_reserved() / 2**30
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "curve": trained.progress.curve,
        "steps": trained.progress.step,
        "tokens": trained.progress.tokens,
        "tokens_per_second": trained.tokens_per_second,
        "padding_share": trained.padding_share,
        "attention": loaded.attention.shown,
        "world_size": world,
        "parallel": parallel if world > 1 else "",
        "compiled": compiled,
        "peak_memory_gb": round(peak, 3),
        "mfu": model_flops_utilisation(loaded.model, trained.tokens_per_second, world),
    }
