"""The round plan: what a Researcher asks for. It is data only; its JSON schema is what an LLM Researcher is given."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from hpc_trex.models.base import Record, digest
from hpc_trex.models.operators import Load, Mix, Step, identity
from hpc_trex.models.stage import GENERATIONS, SHARED, Stage

MAX_TRIALS = 5
MAX_STAGES = 4

#: Fields of TrainConfig that say how the numbers are computed.
_HOW = {"attention", "compiled", "loss", "parallel"}
#: Fields that came after the first searches, with the value at which an identity does not name them.
_LATER: dict[str, object] = {"quantization": "none"}
_LATER_LORA: dict[str, object] = {"use_dora": False, "use_rslora": False}


class DataRecipe(Record):
    """Ordered operators that make the training set of a round (DESIGN section 2)."""

    steps: tuple[Step, ...] = Field(min_length=1, max_length=40)
    seed: int = 0

    @model_validator(mode="after")
    def _starts_by_loading(self) -> DataRecipe:
        if not isinstance(self.steps[0], Load):
            raise ValueError("a data recipe begins with a load step")
        return self

    def identity(self) -> dict[str, object]:
        """Return what decides the rows, as plain data: the steps in normal form, without the seed."""
        return {"steps": [identity(step) for step in self.resolved().steps]}

    def set_digest(self) -> str:
        """Return by what a prepared set is found again: the digest of the steps in normal form and the seed."""
        return digest(self.identity() | {"seed": self.seed})

    def resolved(self) -> DataRecipe:
        """Return the same recipe in normal form: mix weights add up to 1, so equal recipes have equal digests."""
        steps: list[Step] = []
        for step in self.steps:
            if isinstance(step, Mix) and step.weights:
                total = sum(step.weights.values())
                weights = {name: weight / total for name, weight in sorted(step.weights.items())}
                steps.append(step.model_copy(update={"weights": weights}))
            else:
                steps.append(step)
        return self.model_copy(update={"steps": tuple(steps)})


class LoraSettings(Record):
    """Low-rank adapters through peft."""

    rank: int = Field(default=16, ge=1, le=1024)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] = ("all-linear",)
    """Module names, or ``all-linear``."""
    use_dora: bool = False
    """Weights split into size and direction, the adapter learns the direction (DoRA, arXiv 2402.09353); slower."""
    use_rslora: bool = False
    """The adapter is scaled by alpha / sqrt(rank), not alpha / rank (rsLoRA, arXiv 2312.03732): for high ranks."""


class TrainConfig(Record):
    """One training configuration. Sizes are in sequences, lengths in tokens, rates per optimizer step."""

    method: Literal["full", "lora"] = "lora"
    lora: LoraSettings = LoraSettings()
    """Used where method is ``lora``."""
    learning_rate: float = Field(default=2e-4, gt=0, le=1)
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup_ratio: float = Field(default=0.03, ge=0, le=0.5)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    epochs: float = Field(default=1.0, gt=0, le=100)
    max_steps: int | None = Field(default=None, ge=1)
    """A cap on optimizer steps, whatever ``epochs`` says."""
    batch_size: int = Field(default=16, ge=1, le=65536)
    """Sequences per optimizer step over all processes (the effective batch)."""
    micro_batch_size: int | None = Field(default=None, ge=1)
    """Sequences per forward pass of a process; default: batch_size / processes."""
    max_seq_len: int = Field(default=512, ge=8, le=1_048_576)
    packing: bool = True
    """Several samples in one sequence, with no attention between them."""
    grad_clip: float = Field(default=1.0, gt=0)
    adam_beta2: float = Field(default=0.98, gt=0, lt=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    gradient_checkpointing: bool = False
    attention: Literal["auto", "flash_attention_2", "sdpa", "eager"] = "auto"
    quantization: Literal["none", "nf4"] = "none"
    """``nf4``: the frozen base in 4 bits under the adapters (QLoRA, arXiv 2305.14314); needs a GPU and bitsandbytes."""
    loss: Literal["auto", "plain", "chunked"] = "auto"
    """How the cross entropy is computed, not what it is: ``chunked`` never holds the logits of a whole batch."""
    compiled: bool = False
    """torch.compile, layer by layer: takes minutes before the first step, so only long trainings on GPUs can gain."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Several processes: each holds the whole model, or (FSDP2) a part of it, for what does not fit into one GPU."""
    stages: tuple[Stage, ...] = Field(default=(), max_length=MAX_STAGES)
    """What is learned one after the other, each from where the one before ended; empty: one stage of ``sft``."""

    @model_validator(mode="after")
    def _goes_together(self) -> TrainConfig:
        if self.parallel == "fsdp" and self.quantization != "none":
            raise ValueError("parallel = fsdp: 4-bit weights cannot be sharded")
        if self.parallel == "fsdp" and any(stage.objective == "grpo" for stage in self.stages):
            raise ValueError("parallel = fsdp: the model of a grpo stage has to answer, which a sharded one cannot")
        for number, stage in enumerate(self.stages, start=1):
            wanted = stage.generations or GENERATIONS
            if stage.objective == "grpo" and self.batch_size % wanted:
                raise ValueError(f"stage {number}: batch_size {self.batch_size} is no multiple of generations {wanted}")
        return self

    @property
    def batch_unit(self) -> int:
        """Of what ``batch_size`` is a multiple: whole groups of answers of each ``grpo`` stage."""
        return math.lcm(*(stage.generations or GENERATIONS for stage in self.stages if stage.objective == "grpo"))

    def identity(self) -> dict[str, object]:
        """Return what decides the numbers, as plain data: what a digest of the experiment is taken of.

        How they are computed (attention, loss) is left out. A field that came after the first searches is left
        out at its default, so that the identity of an older plan stays what it was.
        """
        plain = self.resolved().model_dump(mode="json", exclude=_HOW | {"stages"})
        same = _without(plain, _LATER) | {"lora": _without(plain["lora"], _LATER_LORA)}
        stages = [stage for stage, _ in self.staged()]
        shared = {name: getattr(stages[0], name) for name in SHARED}
        if len(stages) == 1 and stages[0] == Stage(**shared):  # the one stage that is not worth the name
            return same | shared
        without = {name: value for name, value in same.items() if name not in SHARED}
        return without | {"stages": [stage.identity() for stage in stages]}

    def staged(self) -> list[tuple[Stage, TrainConfig]]:
        """Return the stages in their order, filled, each with the training as it is during it."""
        shared = {name: getattr(self, name) for name in SHARED}
        filled = [stage.filled(shared) for stage in self.stages or (Stage(),)]
        return [
            (stage, self.model_copy(update={"stages": (), **{name: getattr(stage, name) for name in SHARED}}))
            for stage in filled
        ]

    def resolved(self) -> TrainConfig:
        """Return the configuration without what has no effect: LoRA settings of a full training."""
        return self if self.method == "lora" else self.model_copy(update={"lora": LoraSettings()})


def _without(fields: dict[str, object], defaults: dict[str, object]) -> dict[str, object]:
    """Return the fields but those that have the value named in ``defaults``."""
    return {name: value for name, value in fields.items() if name not in defaults or value != defaults[name]}


class TrialPlan(Record):
    """One training configuration of a round, and how it mixes the round's data."""

    train: TrainConfig = TrainConfig()
    mixture: dict[str, float] | None = None
    """Weight by source, applied to the prepared rows of the round without repeating any; default: all rows."""
    label: str = Field(default="", max_length=80)
    """What is special about this trial, in a few words, e.g. ``lr x3``."""


class RoundPlan(Record):
    """One round of experiment as the Researcher designs it."""

    hypothesis: str = Field(min_length=1, max_length=4000)
    expected_effect: str = Field(default="", max_length=2000)
    move: str = Field(default="", max_length=80)
    """The rule or kind of change behind it, e.g. ``probe:learning-rate-up``; bandits count by it."""
    data: DataRecipe
    trials: tuple[TrialPlan, ...] = Field(min_length=1, max_length=MAX_TRIALS)


def trial_identity(data: DataRecipe, trial: TrialPlan, *, base: str, task: str) -> str:
    """Return the identity of a trial: equal experiments have equal digests (DESIGN section 6).

    ``base`` and ``task`` are the digests of the base model reference and of the frozen task card. Hypothesis, label,
    seed and resources are left out on purpose.
    """
    mixture = trial.mixture
    if mixture is not None:
        total = sum(mixture.values())
        mixture = {name: weight / total for name, weight in sorted(mixture.items())}
    return digest(
        {
            "data": data.identity(),
            "train": trial.train.identity(),
            "mixture": mixture,
            "base": base,
            "task": task,
        }
    )
