"""What a sweep writes down: the request, the frozen sweep, its arrays, the runs of its elements and their results."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from hpc_trex.models import (
    LlmSettings,
    NoiseSettings,
    PolicySettings,
    Profile,
    Record,
    ResearcherSettings,
    Resources,
    Score,
)
from hpc_trex.models.search import WITH_PARTS

#: The names of the first policy and Researcher, which stand where a sweep of baselines has none.
NO_METHOD = "-"
Role = Literal["search", "baseline", "reference"]
#: A Researcher as it is, on the axis ``without``.
NOTHING = "nothing"


class SweepRequest(Record):
    """What a user asks for: the options of ``sweep launch``, or the keys of a ``sweep.toml``."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$")
    tasks: tuple[str, ...] = ("mini-triage",)
    suite: str = ""
    """In place of tasks: a suite's name, or a folder of task cards."""
    source: tuple[str, ...] = ()
    """Training rows that the user brings to a task, ``TASK:NAME=FILE`` each."""
    models: tuple[str, ...] = ("builtin:tiny-qwen3",)
    reference_models: tuple[str, ...] = ()
    """Models that are evaluated on each task, once, and never trained."""
    baseline: bool = False
    """Evaluate each base model on each task, once, in an element of its own."""
    seeds: tuple[int, ...] = (0,)
    researchers: tuple[str, ...] = ("playbook",)
    policies: tuple[str, ...] = ("uct",)
    without: tuple[str, ...] = (NOTHING,)
    """What the Researchers are to do without: ``nothing``, ``bad-cases``, ``insights``, or both (``bad-cases+insights``).
    One that uses neither runs once, as it is."""
    baseline_only: bool = False
    """Evaluate the base models and search nothing: Researchers and policies play no part."""
    profile: str = "local"
    """Where the elements run."""
    inner_profile: str | None = None
    """Profile of the jobs inside an element; default: that of the elements, as local processes of their allocation."""
    throttle: int | None = Field(default=None, ge=1)
    """Elements at once; default: as many as Slurm starts (an array), one (local)."""
    chunk: int | None = Field(default=None, ge=1)
    """Elements in one array at most, below the cluster's own limit: for sites that cap the jobs of a user."""
    minutes: int | None = Field(default=None, ge=1)
    """Time limit of one element."""
    parallel: int = Field(default=1, ge=1)
    """Jobs at once inside an element, whose allocation is so many times that of one training."""
    max_nodes: int = Field(default=6, ge=1)
    trials: int = Field(default=2, ge=1, le=5)
    gpu_hours: float | None = Field(default=None, gt=0)
    """Cap on the GPU-hours of the whole sweep at its worst."""
    search_gpu_hours: float | None = Field(default=None, gt=0)
    """Cap on the GPU-hours that the jobs of each element's search use: the same for all methods."""
    search_cpu_hours: float | None = Field(default=None, gt=0)
    """The same of CPU-hours."""
    noise: NoiseSettings = NoiseSettings()
    llm: dict[str, Any] = {}
    """Fields of :class:`LlmSettings` for all elements whose Researcher is ``llm``; caps are of each element."""
    knowledge: bool = False
    """Start from the lessons that the knowledge base has now, and go into it in the end."""
    drop_overlap: bool = False


class FrozenTask(Record):
    """One task as it was when the sweep was launched; its rows stand in the sweep's folder."""

    name: str
    digest: str = ""
    higher_is_better: bool = True
    default_train: dict[str, object] = {}
    trains: bool = True
    """False: it has no training rows, and models are only evaluated on it."""


class FrozenModel(Record):
    """One base model as it was found when the sweep was launched."""

    name: str
    path: str
    digest: str


class Element(Record):
    """One search of a sweep, or one evaluation. ``task`` and ``model`` are numbers in the sweep's lists."""

    number: int
    task: int
    model: int
    researcher: str
    policy: str
    seed: int
    without: str = NOTHING


class SweepConfig(Record):
    """A frozen sweep (``sweep.toml``); its elements follow from it alone."""

    name: str
    uid: str
    """Unique over all sweeps: the prefix of every array's token."""
    tasks: tuple[FrozenTask, ...]
    models: tuple[FrozenModel, ...]
    references: tuple[FrozenModel, ...] = ()
    """Evaluated only; elements count them on from the models."""
    baseline: bool = False
    """Each base model has an evaluation of its own beside the searches."""
    seeds: tuple[int, ...]
    researchers: tuple[str, ...]
    policies: tuple[str, ...]
    without: tuple[str, ...] = (NOTHING,)
    baseline_only: bool = False
    profile: Profile
    inner: Profile
    resources: Resources
    """What one element asks for; its ``minutes`` are the time limit."""
    throttle: int | None = None
    chunk: int | None = None
    gpu_hours: float | None = None
    search_gpu_hours: float | None = None
    search_cpu_hours: float | None = None
    max_nodes: int
    trials: int
    noise: NoiseSettings = NoiseSettings()
    llm: LlmSettings | None = None
    knowledge: str = ""
    """The knowledge base of the elements; empty: they have none."""

    @property
    def element_gpu_hours(self) -> float:
        """The worst case of one element: its GPUs for its whole time limit."""
        return self.resources.gpus * self.resources.minutes / 60

    @property
    def all_models(self) -> tuple[FrozenModel, ...]:
        """What an element's ``model`` counts: the base models, then the reference models."""
        return (*self.models, *self.references)

    def role(self, element: Element) -> Role:
        """Return what an element is for."""
        if element.model >= len(self.models):
            return "reference"
        return "baseline" if element.researcher == NO_METHOD else "search"

    def elements(self) -> list[Element]:
        """Return all elements in order: single evaluations first, then a whole seed after the other, so that a cut sweep has
        whole seeds.
        """  # fmt: skip
        methods = [(NO_METHOD, NO_METHOD, NOTHING)] if self.baseline_only else [
            (researcher, policy, without)
            for researcher in self.researchers
            for policy in self.policies
            for without in (self.without if researcher in WITH_PARTS else (NOTHING,))
        ]  # fmt: skip
        alone = range(0 if self.baseline and not self.baseline_only else len(self.models), len(self.all_models))
        found = [
            (task, model, NO_METHOD, NO_METHOD, NOTHING, self.seeds[0])
            for task in range(len(self.tasks))
            for model in alone
        ]
        found += [
            (task, model, researcher, policy, without, seed)
            for seed in self.seeds
            for task in range(len(self.tasks))
            if self.tasks[task].trains or self.baseline_only
            for model in range(len(self.models))
            for researcher, policy, without in methods
        ]
        return [
            Element(
                number=number, task=task, model=model, researcher=researcher, policy=policy, seed=seed, without=without
            )
            for number, (task, model, researcher, policy, without, seed) in enumerate(found)
        ]

    def researcher_of(self, element: Element) -> ResearcherSettings:
        """Return the Researcher of an element's search."""
        named = {} if element.researcher == NO_METHOD else {"name": element.researcher}
        without = () if element.without == NOTHING else tuple(element.without.split("+"))
        return ResearcherSettings.model_validate({**named, "trials": self.trials, "without": without})

    def policy_of(self, element: Element) -> PolicySettings:
        """Return the policy of an element's search."""
        return PolicySettings.model_validate({} if element.policy == NO_METHOD else {"name": element.policy})


class ArrayRecord(Record):
    """One array: written before ``sbatch``, and again with the job id after it."""

    number: int
    token: str
    """Job name and comment of the array."""
    elements: tuple[int, ...]
    """The element of each index."""
    throttle: int | None = None
    after: tuple[str, ...] = ()
    """Arrays that must be over before this one starts, so that the throttle holds over all of them."""
    job_id: str | None = None
    cluster: str = ""
    """The cluster that it was submitted to; empty where Slurm did not tell."""
    void: bool = False
    """Given up: Slurm never had it. A job of it that comes up all the same leaves at once."""


class RunRecord(Record):
    """One job of an element, renewed while it runs: what it holds counts, however it ends."""

    token: str
    job_id: str
    host: str
    began: str
    seconds: float = 0.0
    gpus: int = 0
    cpus: int = 1
    ended: str = ""
    """How it ended; empty while it runs, or when it was killed."""


class ElementResult(Record):
    """What came of an element, as its last job left it."""

    number: int
    token: str
    state: Literal["done", "failed", "stopped", "cancelled"]
    """``stopped``: asked to end before it was done; ``sweep resume`` goes on with it."""
    message: str = ""
    search: str = ""
    baseline: float | None = None
    """Dev score of the base model."""
    dev: float | None = None
    """Dev score of the chosen (while there is none: the best) round, mean over its seeds."""
    test: Score | None = None
    """The chosen model on the sealed test."""
    test_baseline: Score | None = None
    test_gain: float | None = None
    """Chosen minus base model on the sealed test; positive where the chosen one is better."""
    dev_gain: float | None = None
    rounds: int = 0
    gpu_hours: float = 0.0
    """What the search's own jobs used; the run records say what was held."""
    cpu_hours: float = 0.0


class ElementState(StrEnum):
    """State of an element, from its files and the queue."""

    MISSING = "missing"
    """Never submitted."""
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"
    """Its job is over and left no result."""
    CANCELLED = "cancelled"
    """Its search was cancelled by a person: never tried again."""
    UNKNOWN = "unknown"
    """It was submitted, and Slurm cannot be asked."""


class Standing(Record):
    """One element as it stands now."""

    element: Element
    state: ElementState
    reason: str = ""
    """Slurm's word, or the message of the result."""
    job_id: str | None = None
    token: str = ""
    host: str = ""
    result: ElementResult | None = None
    stuck: bool = False
    """Unknown, and waiting here does not tell: somebody has to do what the reason says."""


#: What ``sweep resume`` submits.
TO_SUBMIT = (ElementState.MISSING, ElementState.FAILED, ElementState.STOPPED, ElementState.LOST)
#: Nothing is to be done or waited for.
AT_WORK = (ElementState.QUEUED, ElementState.RUNNING, ElementState.UNKNOWN)
