"""The task card: one TOML file that says what is to be learned and how it is measured."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hpc_trex.models.base import Record
from hpc_trex.models.metric_options import check_options
from hpc_trex.models.origin import NAME, Download, Source, Table

#: The ten broad capabilities by which the tasks of FT-Bench are told apart.
CAPABILITIES = (
    "base-ability",
    "domain",
    "in-context-learning",
    "reasoning",
    "multilingual",
    "code",
    "data-analysis",
    "design-creativity",
    "math-logic",
    "complex-decisions",
)


class Prompt(Record):
    """Jinja2 templates over a row's columns (strict: a missing column is an error)."""

    prompt: str = "{{ prompt }}"
    answer: str = "{{ answer }}"
    system: str = ""
    """System message, used where the model has a chat template."""
    identity: str = ""
    """What makes two rows the same item though their prompts differ, e.g. in how a molecule is spelled; a training row is
    kept out where its prompt or its identity is that of a row of dev or test."""


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
        "lawbench",
        "lm_eval",
        "gta_steps",
        "omes",
        "tomg",
        "cs_bench",
        "event_order",
        "label_set_f1",
        "openfindata",
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
    keep: tuple[str, ...] = ()
    """Columns of dev and test rows that the scorer is given beside answer and reference."""
    groups: str = ""
    """One of them: the extra scores have one for each of its values."""
    average: Literal["rows", "groups"] = "rows"
    """``groups``: the score is the mean of the groups' scores, however many rows each has."""
    options: dict[str, Any] = {}
    """Settings of the metric itself (``hpc_trex.models.metric_options``)."""

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

    @model_validator(mode="after")
    def _keeps_its_groups(self) -> MetricSpec:
        if len(set(self.keep)) < len(self.keep) or "" in self.keep:
            raise ValueError("keep names a column twice, or none")
        if self.groups and self.groups not in self.keep:
            raise ValueError(f"groups = {self.groups} must be one of the columns in keep")
        if self.average == "groups" and not self.groups:
            raise ValueError('average = "groups" needs groups: the kept column that tells them')
        check_options(self.name, self.options)
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
    """Where it is published."""
    role: Literal["base", "reference", "trex", ""] = ""
    """``base``: of the untrained model; ``reference``: what G is measured against; ``trex``: of the paper's agent."""
    model: str = ""


class Contamination(Record):
    """What of dev and test may be found in a training set. Found rows are dropped, whatever this says."""

    refuse: float = Field(default=0.1, ge=0, le=1)
    """A larger share of the rows refuses the round (docs/data-recipes.md has what was measured)."""
    similar: bool = True
    """Look for rows that are nearly a short prompt. Not where the rows of the task are alike by nature."""


class TaskCard(Record):
    """One task: sources, splits, prompt, metric, reference scores and licence."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    title: str = ""
    description: str = ""
    licence: str = "unknown"
    capabilities: tuple[str, ...] = ()
    """What it exercises; the tasks of FT-Bench name some of :data:`CAPABILITIES`."""
    training_allowed: bool = True
    """False: the licence of the data forbids to train on them, and no source may take one of the tables."""
    downloads: dict[Annotated[str, Field(pattern=NAME)], Download] = {}
    """What ``hpc-trex ftbench fetch`` brings, by name."""
    tables: dict[Annotated[str, Field(pattern=NAME)], Table] = {}
    """What it builds of them, by name."""
    sources: dict[str, Source] = {}
    """The training sources by name; a card with downloads may have none, and a launch brings them (``--source``)."""
    dev: Source
    test: Source
    prompt: Prompt = Prompt()
    metric: MetricSpec = MetricSpec()
    contamination: Contamination = Contamination()
    references: tuple[Reference, ...] = ()
    default_train: dict[str, object] = {}
    """Fields of TrainConfig that suit this task's base model: the playbook's starting point."""

    @model_validator(mode="after")
    def _hangs_together(self) -> TaskCard:
        if not self.sources and not self.downloads:
            raise ValueError("sources: needs one at least; only a card with downloads may have none")
        for name, table in self.tables.items():
            if table.from_ and table.from_ not in self.downloads:
                raise ValueError(f"tables.{name}.from: no download {table.from_!r}")
            if table.of and (table.of not in self.tables or self.tables[table.of].of):
                raise ValueError(f"tables.{name}.of: no table {table.of!r} that is read from a download")
        named = {f"sources.{name}": source for name, source in self.sources.items()}
        for key, source in {**named, "dev": self.dev, "test": self.test}.items():
            if source.table is not None and source.table not in self.tables:
                raise ValueError(f"{key}.table: no table {source.table!r}")
        for key, source in named.items():
            if source.table is None:
                continue
            if not self.training_allowed:
                raise ValueError(f"{key}.table: training_allowed = false: its rows are not for training")
            if source.table in (self.dev.table, self.test.table):
                raise ValueError(f"{key}.table: {source.table} is measured on: its rows are not for training")
        if self.dev.table is not None and self.dev.table == self.test.table:
            raise ValueError(f"dev.table: {self.dev.table} is the test's")
        return self
