"""The task card: one TOML file that says what is to be learned and how it is measured."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hpc_trex.models.base import Record


class Source(Record):
    """Where rows come from: exactly one of ``path`` (JSONL or parquet), ``hub`` or ``generator``."""

    path: str | None = None
    """JSONL (``.jsonl``) or parquet file; relative to the task card."""
    hub: str | None = None
    """Hugging Face data set id; needs ``revision`` (40 hex digits) and ``split``."""
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    split: str | None = None
    generator: str | None = None
    """Name of a built-in generator (``hpc_trex.ftbench.generators``)."""
    part: str | None = None
    """The generator's part, e.g. ``curated``, ``crowd``, ``dev``."""
    rows: int | None = Field(default=None, ge=1)
    """How many rows to generate, or the first rows to take."""
    seed: int = 0
    licence: str = ""
    """Where it is another one than the card's."""
    trusted: bool = False
    """The rows are known to be on task and right, e.g. written by hand; a Researcher may take them as a reference."""

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        given = [name for name in ("path", "hub", "generator") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of path, hub, generator; has {', '.join(given) or 'none'}")
        if self.hub and not (self.revision and self.split):
            raise ValueError("hub needs revision (the 40-digit commit) and split")
        if self.generator and not (self.part and self.rows):
            raise ValueError("generator needs part and rows")
        return self


class Prompt(Record):
    """Jinja2 templates over a row's columns (strict: a missing column is an error)."""

    prompt: str = "{{ prompt }}"
    answer: str = "{{ answer }}"
    system: str = ""
    """System message, used where the model has a chat template."""


class MetricSpec(Record):
    """The main metric of the task and how answers are generated for it."""

    name: Literal["exact_match", "accuracy", "macro_f1", "json_fields", "rouge1", "chrf"] = "exact_match"
    labels: tuple[str, ...] = ()
    """The valid answers, for ``accuracy`` and ``macro_f1``."""
    higher_is_better: bool = True
    max_new_tokens: int = Field(default=64, ge=1, le=32768)
    stop: tuple[str, ...] = ("\n",)


class Reference(Record):
    """A published or known score to compare with."""

    name: str
    score: float
    source: str = ""


class TaskCard(Record):
    """One task: sources, splits, prompt, metric, reference scores and licence."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    title: str = ""
    description: str = ""
    licence: str = "unknown"
    capabilities: tuple[str, ...] = ()
    sources: dict[str, Source] = Field(min_length=1)
    """The training sources by name."""
    dev: Source
    test: Source
    prompt: Prompt = Prompt()
    metric: MetricSpec = MetricSpec()
    references: tuple[Reference, ...] = ()
    default_train: dict[str, object] = {}
    """Fields of TrainConfig that suit this task's base model: the playbook's starting point."""
