"""The task card: one TOML file that says what is to be learned and how it is measured."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from hpc_trex.models.base import Record
from hpc_trex.models.shape import Shape


class Source(Record):
    """Where rows come from: exactly one of ``path``, ``hub`` or ``generator``."""

    path: str | None = None
    """JSON lines, parquet, CSV or TSV file, or a folder of such; relative to the task card."""
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
    shape: Shape | None = None
    """What its rows look like, where they have not the columns that the card's templates ask for."""
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


class LmEvalTarget(Record):
    """A task or group of lm-eval as ``hpc-trex stage`` brought it here (docs/evaluation.md)."""

    name: str
    metric: str
    """The main one of its own metrics, e.g. ``acc_norm``; the mean over rows."""
    filter: str = "none"
    """Which of the task's filters reads the answer."""
    digest: str
    """SHA-256 over the definition's files, which stand in the folder ``lm-eval`` beside the card."""
    version: str
    """Of lm-eval."""


class MetricSpec(Record):
    """The main metric of the task and how answers are got for it."""

    name: Literal[
        "exact_match",
        "accuracy",
        "accuracy_norm",
        "macro_f1",
        "json_fields",
        "rouge1",
        "rouge2",
        "rougeL",
        "chrf",
        "bleu",
        "lm_eval",
    ] = "exact_match"
    mode: Literal["generate", "choice"] = "generate"
    """``generate``: the model writes an answer. ``choice``: the option that it finds likeliest is its answer."""
    labels: tuple[str, ...] = ()
    """The valid answers, for ``accuracy`` and ``macro_f1``; with ``choices`` as a list, those."""
    choices: tuple[str, ...] | str = ()
    """Mode ``choice``: the options of all rows, or the column (any Jinja2 expression) that holds a row's own."""
    higher_is_better: bool = True
    max_new_tokens: int = Field(default=64, ge=1, le=32768)
    stop: tuple[str, ...] = ("\n",)
    lm_eval: LmEvalTarget | None = None
    """Of a task that came from lm-eval: scored by its own definition. Written by ``hpc-trex stage``."""

    @model_validator(mode="before")
    @classmethod
    def _choices_are_labels(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("choices"), list | tuple) and not data.get("labels"):
            return {**data, "labels": data["choices"]}
        return data

    @model_validator(mode="after")
    def _fits_its_mode(self) -> MetricSpec:
        if (self.name == "lm_eval") != (self.lm_eval is not None):
            raise ValueError("name = lm_eval and the table lm_eval go together; hpc-trex stage --task lm-eval:NAME")
        if self.lm_eval is not None:
            return self
        if self.mode == "generate":
            if self.choices:
                raise ValueError('choices are for mode = "choice"')
            if self.name == "accuracy_norm":
                raise ValueError('accuracy_norm needs mode = "choice"')
            return self
        if self.name not in ("accuracy", "accuracy_norm", "macro_f1"):
            raise ValueError(f'mode = "choice" goes with accuracy, accuracy_norm and macro_f1, not with {self.name}')
        if not self.choices:
            raise ValueError('mode = "choice" needs choices: a list, or the column that holds them')
        if isinstance(self.choices, str):
            if self.name == "macro_f1" or self.labels:
                raise ValueError("macro_f1 and labels need choices that are the same for all rows: a list")
        elif len(set(self.choices)) < len(self.choices) or len(self.choices) < 2 or "" in self.choices:
            raise ValueError("choices need two different options or more, none of them empty")
        elif self.labels != self.choices:
            raise ValueError("labels and choices say the same: give choices alone")
        return self

    @property
    def shown(self) -> str:
        """What the score is called: of a task of lm-eval, its own metric."""
        return self.lm_eval.metric if self.lm_eval else self.name


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
