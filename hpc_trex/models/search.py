"""The frozen configuration of a search (``search.toml``)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from hpc_trex.models.base import Record
from hpc_trex.models.gate import GateName
from hpc_trex.models.job import EvalSettings
from hpc_trex.models.llm import LlmSettings
from hpc_trex.models.profile import Profile


class Budget(Record):
    """The caps of a search; ``None`` is no cap. A cap stops new rounds and trials, it never kills a running one."""

    max_nodes: int = Field(default=6, ge=0)
    """Rounds, without the baseline; 0: the base model is evaluated, on dev and on the sealed test, and that is all."""
    gpu_hours: float | None = Field(default=None, gt=0)
    cpu_hours: float | None = Field(default=None, gt=0)
    wall_minutes: float | None = Field(default=None, gt=0)


class PolicySettings(Record):
    """Which node is expanded next (DESIGN section 6)."""

    name: Literal["uct", "greedy", "sequential", "random"] = "uct"
    c: float = Field(default=0.5, ge=0)
    """Exploration constant of UCT, for rewards between 0 and 1."""
    widen_k: float = Field(default=2.0, gt=0)
    widen_alpha: float = Field(default=0.5, gt=0, le=1)
    """A node may have ``ceil(widen_k * visits ** widen_alpha)`` children."""


#: What a Researcher can be told to do without (docs/researchers.md, "Without a part").
Withheld = Literal["bad-cases", "insights"]
#: The Researchers that use them.
WITH_PARTS = ("playbook", "llm")


class ResearcherSettings(Record):
    """Who designs the rounds."""

    name: Literal["playbook", "llm", "tpe", "random"] = "playbook"
    trials: int = Field(default=2, ge=1, le=5)
    """Trials a round."""
    without: tuple[Withheld, ...] = ()
    """Parts that are taken away, to measure what they are worth."""

    @model_validator(mode="after")
    def _can_do_without(self) -> Self:
        if self.without and self.name not in WITH_PARTS:
            raise ValueError(f"{self.name} uses neither bad cases nor insights, so there is nothing to take away")
        if len(set(self.without)) < len(self.without):
            raise ValueError("a part is named twice")
        return self


class NoiseSettings(Record):
    """How the noise floor is measured and the final choice made."""

    floor_repeats: int = Field(default=2, ge=0)
    """Extra seeds of the first round that beats the baseline: they measure the noise."""
    final_candidates: int = Field(default=2, ge=1)
    final_seeds: int = Field(default=3, ge=1)
    """Seeds that each final candidate has been run with before the choice."""


class SearchConfig(Record):
    """One search: one task, one base model, one tree."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    task: str
    """As the user typed it: a built-in task's name or the path of a card."""
    model: str
    """``builtin:NAME``, a folder or a hub id."""
    model_path: str = ""
    """The folder that ``model`` was resolved to; empty for a built-in one, which a job makes."""
    uid: str = ""
    """Unique over all searches: the prefix of every job's token."""
    profile: Profile
    budget: Budget = Budget()
    policy: PolicySettings = PolicySettings()
    researcher: ResearcherSettings = ResearcherSettings()
    llm: LlmSettings | None = None
    """The language model behind the Researcher ``llm``."""
    noise: NoiseSettings = NoiseSettings()
    evaluate: EvalSettings = EvalSettings()
    parallel: int = Field(default=2, ge=1)
    """Jobs at once."""
    seed: int = 0
    approve: tuple[GateName, ...] = ()
    """Gates at which the search waits for a person (docs/approval.md)."""
    default_train: dict[str, object] = {}
    """Fields of TrainConfig that every plan starts from (task card, then options)."""


class ControllerRun(Record):
    """One job that ran the controller."""

    job_id: str
    host: str = ""
    log_bytes: int = 0
    """Size of the event log when it began."""
    ended: str = ""
    """How it ended; empty while it runs, and for one that died without a word."""


class ControllerChain(Record):
    """``controller/chain.json``: the controller jobs of a search (``--as-job``)."""

    runs: tuple[ControllerRun, ...] = ()
    next_job: str = ""
    """The successor that waits in the queue."""
    message: str = ""
    """What went wrong with the chain."""
