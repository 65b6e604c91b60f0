"""The stages of a training: what is learned from which rows, one after the other, on one set of weights."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from hpc_trex.models.base import Record
from hpc_trex.models.task import MetricSpec

#: How dear it is to leave the model that a ``dpo`` stage begins with.
BETA = 0.1
#: Of a ``grpo`` stage: answers to a prompt, and how freely they are drawn.
GENERATIONS, TEMPERATURE = 8, 1.0
#: Fields that a stage takes from the training around it where it says nothing.
SHARED = ("learning_rate", "epochs", "max_steps")


class Stage(Record):
    """One stage of a training. What is left out is as the training around it says."""

    objective: Literal["pretrain", "sft", "dpo", "grpo"] = "sft"
    """``pretrain``: loss on all tokens, of rows and plain texts; ``sft``: on the answers; ``dpo`` (arXiv 2305.18290): an
    answer is preferred to a worse one; ``grpo`` (arXiv 2402.03300): the model answers the prompts, and what the task's scorer
    finds better than its other answers becomes likelier.
    """
    sources: tuple[str, ...] = ()
    """Whose rows; empty: all but what any stage has as ``rejected``."""
    rejected: tuple[str, ...] = ()
    """Of ``dpo``: sources of the worse answers, each paired with one of ``sources`` to the same prompt or left out."""
    beta: float | None = Field(default=None, gt=0, le=10)
    """Of ``dpo``: how dear it is to leave the model that the stage begins with; 0.1 if left out."""
    generations: int | None = Field(default=None, ge=2, le=64)
    """Of ``grpo``: answers to a prompt, 8 if left out; ``batch_size`` counts answers and is a multiple of it."""
    temperature: float | None = Field(default=None, gt=0, le=2)
    """Of ``grpo``: of drawing answers; 1 if left out."""
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    epochs: float | None = Field(default=None, gt=0, le=100)
    max_steps: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fits_its_objective(self) -> Stage:
        if self.objective == "dpo":
            if not self.rejected:
                raise ValueError("a dpo stage needs rejected: the sources that hold the worse answers")
            if set(self.rejected) & set(self.sources):
                raise ValueError("a source cannot be in sources and in rejected of one stage")
        elif self.rejected or self.beta is not None:
            raise ValueError('rejected and beta are of objective = "dpo"')
        if self.objective != "grpo" and (self.generations is not None or self.temperature is not None):
            raise ValueError('generations and temperature are of objective = "grpo"')
        return self

    @property
    def shown(self) -> str:
        """The stage in a few words: what differs from the training around it."""
        given = self.model_dump(exclude={"objective"}, exclude_defaults=True)
        words = [f"{name} {'+'.join(value) if isinstance(value, tuple) else value}" for name, value in given.items()]
        return self.objective + (f" ({', '.join(words)})" if words else "")

    def filled(self, shared: dict[str, Any]) -> Stage:
        """Return the stage with nothing left out: its own values, else those of ``shared``."""
        own = {name: shared[name] for name in SHARED if getattr(self, name) is None}
        if self.objective == "dpo" and self.beta is None:
            own["beta"] = BETA
        if self.objective == "grpo":
            own |= {"generations": self.generations or GENERATIONS, "temperature": self.temperature or TEMPERATURE}
        return self.model_copy(update=own)

    def identity(self) -> dict[str, object]:
        """Return what decides the numbers, of a filled stage: sources as sets, nothing that is not of its objective."""
        plain = self.model_dump(mode="json", exclude_none=True)
        return plain | {name: sorted(set(plain[name])) for name in ("sources", "rejected")}


def reward_obstacle(metric: MetricSpec) -> str:
    """Return why a task's metric cannot be the reward of a ``grpo`` stage; empty: it can."""
    if metric.lm_eval is not None:
        return "the task is scored by lm-eval's own definition, which judges no single answer"
    if metric.mode != "generate":
        return "the task's answers are chosen by likelihood, not written"
    if metric.keep:
        return f"the task's scorer needs columns that training rows do not have: {', '.join(metric.keep)}"
    return ""
