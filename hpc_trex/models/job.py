"""What passes between controller and job: ``spec.json`` in, ``heartbeat.json`` meanwhile, ``result.json`` out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hpc_trex.models.base import Record
from hpc_trex.models.plan import DataRecipe, TrainConfig
from hpc_trex.models.profile import Resources
from hpc_trex.models.states import FailureClass, JobKind


class ModelRef(Record):
    """A model on disk: a base, with an adapter on top where there is one."""

    name: str
    """What the user called it: a path, a hub id or ``builtin:NAME``."""
    path: str
    """Folder in transformers' format, absolute."""
    adapter: str | None = None
    """Folder of a peft adapter, absolute."""
    style: Literal["plain", "chat"] | None = None
    """How its training wrote prompts, so that every evaluation writes them so; None: as its tokenizer says."""


class EvalSettings(Record):
    """Frozen with the search; out of the agents' reach (DESIGN section 7)."""

    backend: Literal["hf", "auto", "vllm"] = "hf"
    """What answers: the model in memory, or vLLM from its files; ``auto``: vLLM where there is one and a GPU."""
    scoring: Literal["same-job", "own-job"] = "same-job"
    """``own-job``: what the model wrote is scored by a job of its own, without a GPU (the profile's ``score``)."""
    batch_size: int = Field(default=64, ge=1)
    bootstrap: int = Field(default=1000, ge=100)
    """Resamples of the confidence interval."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    seed: int = 1234


class JobContainer(Record):
    """The image that a job runs in, as the controller saw it."""

    image: str
    sha256: str = ""
    """Of the image file; empty for one that comes from a registry."""
    program: str = ""
    """The controller's version of HPC-TREX: the image must hold the same."""


class JobSandbox(Record):
    """Whether and in what a job may run code that an agent wrote, as the profile says."""

    allowed: bool = False
    means: Literal["bwrap", "apptainer", "none"] | None = None
    """None: the job looks for itself."""
    image: str | None = None


class JobSpec(Record):
    """Everything a job knows. All paths are absolute. It holds no secret and no path of the sealed test,
    except for the one job of kind ``test``.
    """

    schema_version: Literal[1] = 1
    kind: JobKind
    token: str
    """Unique over all searches; job name and comment in Slurm."""
    search: str
    node: int
    trial: int
    """0: the round's preparation."""
    attempt: int
    attempt_dir: str
    task_card: str
    """``task/card.json`` of the search: the frozen, validated card."""
    sources: dict[str, str] = {}
    """Training source name → JSONL file."""
    eval_rows: str | None = None
    """JSONL of the split to evaluate: dev, or (kind ``test``) the sealed test."""
    block_rows: tuple[str, ...] = ()
    """JSONL files whose rows must not be trained on, matched as whole items; hashes of test rows, never the rows."""
    base: ModelRef
    data: DataRecipe | None = None
    data_dir: str | None = None
    """Where ``prepare`` writes, and ``train`` reads, the round's prepared set."""
    answers: tuple[str, ...] = ()
    """Files with what a language model said of the recipe's rows (``AnsweredRows``): a job asks nobody itself."""
    mixture: dict[str, float] | None = None
    train: TrainConfig | None = None
    repairs: tuple[str, ...] = ()
    """What the Executor changed since the trial, or the recipe, was planned, in words."""
    evaluate: EvalSettings = EvalSettings()
    seed: int = 0
    resume_from: tuple[str, ...] = ()
    """``checkpoints/`` folders of earlier attempts, newest last; the newest complete checkpoint of all is taken."""
    to_score: dict[str, str] = {}
    """Kind ``score``: files of answers to ``eval_rows``, ``main``, or ``base`` and ``chosen``."""
    compare: dict[str, ModelRef] = {}
    """Kind ``test``: the models to evaluate on the same rows; ``base`` and ``chosen``."""
    resources: Resources = Resources()
    heartbeat_seconds: float = Field(default=5.0, gt=0)
    stall_seconds: float = Field(default=1800.0, gt=0)
    """A worker that makes no progress for so long is ended as hung."""
    idle_gpu_seconds: float = Field(default=0.0, ge=0)
    """A job whose GPUs all stand below ``idle_gpu_percent`` for so long is ended as idle; 0: never."""
    idle_gpu_percent: float = 5.0
    checkpoint_seconds: float = Field(default=600.0, gt=0)
    cache_dir: str
    """The user's cache of built-in models and prepared data."""
    container: JobContainer | None = None
    sandbox: JobSandbox = JobSandbox()


class Heartbeat(Record):
    """``heartbeat.json``, rewritten by rank 0 while it works."""

    phase: Literal["starting", "loading", "pretraining", "preparing", "training", "evaluating", "saving", "serving"]
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    tokens_per_second: float | None = None
    padding_share: float | None = None
    """The part of the places in the batches that held no token."""
    seconds: float = 0.0
    """Since the job's start."""
    eta_seconds: float | None = None
    message: str = ""


class Score(Record):
    """One metric of one model on one split, with its bootstrap confidence interval."""

    metric: str
    value: float
    low: float
    high: float
    n: int
    higher_is_better: bool = True


class LossPoint(Record):
    """One point of the training curve; ``tokens`` is the number of tokens seen so far."""

    step: int
    loss: float
    lr: float
    tokens: int


class JobResult(Record):
    """``result.json``: written once, whole (temp name, fsync, rename), by the job's supervisor."""

    schema_version: Literal[1] = 1
    token: str
    state: Literal["succeeded", "failed"]
    failure: FailureClass | None = None
    message: str = ""
    """One or two sentences for a person; of a failure, with what to do about it."""
    scores: dict[str, Score] = {}
    """``main`` of a trial; ``base`` and ``chosen`` of a test job, and ``difference`` (paired)."""
    eval_digest: str = ""
    """By which prompt, decoding, metric and scoring the scores were measured (``hpc_trex.ftbench.frozen``)."""
    extra_scores: dict[str, float] = {}
    """Further metrics and rates, e.g. ``unparsable``, ``truncated``, ``train_loss``, ``holdout_loss``."""
    model: ModelRef | None = None
    """The trained model; of a ``base`` job, the base it made."""
    unscored: dict[str, str] = {}
    """Files of answers that a job of their own is to score, as its spec names them; there are no scores then."""
    samples: str | None = None
    """``samples.jsonl``: id, prompt, answer, reference, score and flags per row."""
    data_manifest: dict[str, object] | None = None
    """Of ``prepare``: rows kept and dropped by each step, hashes, licences."""
    curve: tuple[LossPoint, ...] = ()
    """At most 200 points."""
    seconds: float = 0.0
    """Wall time of the job from its first instruction."""
    cpu_seconds: float = 0.0
    gpus: int = 0
    steps: int = 0
    tokens: int = 0
    tokens_per_second: float | None = None
    padding_share: float | None = None
    """The part of the places in the batches that held no token."""
    peak_memory_gb: float | None = None
    mfu: float | None = None
    attention: str = ""
    world_size: int = 1
    parallel: str = ""
    """Of several processes: ``ddp`` or ``fsdp``."""
    compiled: bool = False
    """Its layers were run through torch.compile."""
    host: str = ""
    job_id: str = ""
    resumed_from_step: int = 0
    repairs: tuple[str, ...] = ()
    """As in the spec: what had been repaired when this job began."""
    versions: dict[str, str] = {}
    hashes: dict[str, str] = {}
    """SHA-256 of ``data``, ``base``, ``model`` (trained), ``rows`` (evaluated), ``samples``, ``code`` and, of a job in a
    container, its image (``container``).
    """
