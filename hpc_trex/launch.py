"""From what a user typed to a search directory: resolve, check, show the plan, then create.

``plan_launch`` creates nothing, so that ``--dry-run`` and the question on the terminal come before any side effect.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from hpc_trex.agents.llm.keys import require_keys
from hpc_trex.agents.llm.replay import copy_answers
from hpc_trex.agents.prior import begin_with
from hpc_trex.errors import UsageProblem
from hpc_trex.files import write_record
from hpc_trex.ftbench.cards import LoadedCard
from hpc_trex.ftbench.materialise import materialise
from hpc_trex.ftbench.pool import load_pool
from hpc_trex.knowledge.start import start_lines
from hpc_trex.launch_llm import endpoint_words, llm_settings
from hpc_trex.layout import SearchPaths, home
from hpc_trex.memory.fit import plan_lines, require_fit
from hpc_trex.models import (
    GATES,
    Budget,
    EvalSettings,
    GateName,
    JobKind,
    PolicySettings,
    Profile,
    Record,
    ResearcherSettings,
    SearchConfig,
    TrainConfig,
)
from hpc_trex.models.knowledge import StartingKnowledge
from hpc_trex.new_search import make_search
from hpc_trex.searches import find_search, new_name, require_safe_place
from hpc_trex.slurm.containers import check_image
from hpc_trex.slurm.preflight import check_limits, preflight
from hpc_trex.slurm.profiles import load_profile, make_scheduler
from hpc_trex.slurm.scheduler import JobRequest
from hpc_trex.staging import StagedModel, stage_model
from hpc_trex.staging.libraries import require_library
from hpc_trex.staging.offline import require_local


class LaunchOptions(Record):
    """The options of ``hpc-trex launch``; None means the default of the profile or of the program."""

    name: str | None = None
    directory: str | None = None
    task: str = "mini-triage"
    model: str = "builtin:tiny-qwen3"
    profile: str = "local"
    max_nodes: int | None = None
    parallel: int | None = None
    policy: str = "uct"
    researcher: str = "playbook"
    trials: int | None = None
    without: tuple[str, ...] = ()
    """Parts that the Researcher is to do without (:class:`ResearcherSettings`)."""
    seed: int = 0
    gpu_hours: float | None = None
    cpu_hours: float | None = None
    wall_minutes: float | None = None
    minutes: int | None = None
    """Time limit of one training job."""
    processes: int | None = None
    """Training processes a node, each on its own GPU where there are GPUs."""
    source: tuple[str, ...] = ()
    """Training rows that the user brings, ``NAME=FILE`` each."""
    drop_overlap: bool = False
    in_allocation: bool = False
    """Jobs are steps of the allocation that this process runs in."""
    llm_serve: tuple[str, str] | None = None
    """Profile and model: the search serves its language model itself."""
    llm: dict[str, object] = {}
    """Fields of :class:`LlmSettings` that were given; the Researcher ``llm`` needs ``model``."""
    approve: tuple[str, ...] = ()
    """Gates at which the search waits for a person."""
    eval_backend: str = "hf"
    """What answers in evaluations (:class:`EvalSettings`)."""
    eval_scoring: str = "same-job"
    """Where the answers are scored."""
    replay: str | None = None
    """A search whose recorded answers of the language model are given again, without asking it."""
    knowledge: bool = False
    """Start from the knowledge base, and go into it in the end. The command line says yes unless it is told not to."""


class LaunchPlan(NamedTuple):
    """What would be launched. ``lines`` is for a person; ``script`` is the first job as it would be submitted."""

    options: LaunchOptions
    config: SearchConfig
    directory: Path
    loaded: LoadedCard
    model: StagedModel
    lines: list[str]
    script: str
    known: StartingKnowledge | None = None
    """What the search will start from."""


def plan_launch(options: LaunchOptions) -> LaunchPlan:
    """Resolve task, profile and model, check them, and return the plan with its worst cost. Creates nothing.

    Raises UsageProblem or NotFound naming the option, file or key that is wrong, EnvironmentProblem when a hub model
    cannot be reached, SubmitRefused when Slurm would refuse the jobs (asked with ``--test-only``).
    """
    loaded = load_pool(options.task, options.source, trains=options.max_nodes != 0)
    profile = _profile(options)
    check_limits(profile)
    check_image(profile)
    require_library(loaded.card.metric, profile)
    scheduler = make_scheduler(profile)
    if profile.network == "none":
        require_local(options.task, loaded, options.model)
    model = stage_model(options.model, network=profile.network)
    directory = Path(options.directory).expanduser().absolute() if options.directory else None
    name = options.name or (directory.name if directory else new_name(loaded.card.name))
    config = _config(options, name, loaded, profile, model, options.parallel or profile.parallel or scheduler.slots())
    require_fit(config)
    directory = directory or home() / name
    require_safe_place(directory)
    if directory.exists() and any(directory.iterdir()):
        raise UsageProblem(f"{directory} exists already", hint=f"choose another --name, or: hpc-trex resume {name}")
    first = directory / "nodes" / "0000" / "trials" / "0" / "attempts" / "1"
    request = JobRequest(f"{config.uid}-n0-t0-a1", first, first / "spec.json", JobKind.BASELINE, profile.evaluate)
    earlier = find_search(options.replay) if options.replay is not None else None
    if config.llm is not None and earlier is None:
        require_keys(config.llm)
    known = begin_with(config, loaded.card, base_digest=model.digest, wanted=options.knowledge, replay=earlier)
    lines = [*_lines(config, directory), *(start_lines(known) if known else []), *preflight(profile, directory)]
    if config.llm and config.llm.served:
        lines += preflight(config.llm.served.profile, directory, ("serve",))
    return LaunchPlan(options, config, directory, loaded, model, lines, scheduler.render(request), known)


def _profile(options: LaunchOptions) -> Profile:
    profile = load_profile(options.profile)
    if options.in_allocation:
        profile = inside_allocation(profile)
    changes: dict[str, int] = {}
    if options.minutes is not None:
        changes["minutes"] = options.minutes
    if options.processes is not None:
        changes["processes_per_node"] = options.processes
        if profile.train.gpus_per_node:
            changes["gpus_per_node"] = options.processes
        changes["cpus_per_task"] = max(profile.train.cpus_per_task, options.processes)
    return profile.model_copy(update={"train": profile.train.model_copy(update=changes)}) if changes else profile


def inside_allocation(profile: Profile) -> Profile:
    """Return the profile with its jobs as steps of the allocation that this process runs in.

    Raises UsageProblem where there is none.
    """
    if not os.environ.get("SLURM_JOB_ID"):
        raise UsageProblem(
            "--in-allocation, but this is not inside an allocation (SLURM_JOB_ID is not set)",
            hint="salloc --nodes=1 --gpus-per-node=4 --time=12:00:00, then the same command",
        )
    return profile.model_copy(update={"scheduler": "steps", "poll_seconds": min(profile.poll_seconds, 10.0)})


def _config(
    options: LaunchOptions, name: str, loaded: LoadedCard, profile: Profile, model: StagedModel, parallel: int
) -> SearchConfig:
    given = {
        "max_nodes": options.max_nodes,
        "gpu_hours": options.gpu_hours,
        "cpu_hours": options.cpu_hours,
        "wall_minutes": options.wall_minutes,
    }
    try:
        TrainConfig.model_validate(loaded.card.default_train)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UsageProblem(
            f"{loaded.origin}: default_train.{where}: {error.errors()[0]['msg']}",
            hint="hpc-trex config schema TrainConfig",
        ) from error
    try:
        return SearchConfig(
            name=name,
            uid=f"trex-{secrets.token_hex(4)}",
            task=options.task,
            model=options.model,
            model_path=model.path,
            profile=profile,
            budget=Budget(**{key: value for key, value in given.items() if value is not None}),
            policy=PolicySettings.model_validate({"name": options.policy}),
            researcher=ResearcherSettings.model_validate(
                {"name": options.researcher, "without": options.without}
                | ({"trials": options.trials} if options.trials else {})
            ),
            llm=llm_settings(options.researcher, options.llm, options.llm_serve),
            evaluate=EvalSettings.model_validate({"backend": options.eval_backend, "scoring": options.eval_scoring}),
            parallel=parallel,
            seed=options.seed,
            default_train=dict(loaded.card.default_train),
            approve=_gates(options),
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageProblem(f"launch option {where}: {first['msg']}", hint="hpc-trex launch --help") from error


def _gates(options: LaunchOptions) -> tuple[GateName, ...]:
    """Return the gates in the order in which a search comes to them. Raises UsageProblem for one that there is not."""
    for name in options.approve:
        if name not in GATES:
            raise UsageProblem(f"--approve {name}: there is no such gate", hint=f"gates: {', '.join(GATES)}")
    return tuple(name for name in GATES if name in options.approve)


def trainings(config: SearchConfig) -> int:
    """Return how many trainings a search runs at most: planned trials and the repeats with other seeds."""
    noise = config.noise
    repeats = noise.floor_repeats + noise.final_candidates * (noise.final_seeds - 1)
    return config.budget.max_nodes * config.researcher.trials + repeats


def _lines(config: SearchConfig, directory: Path) -> list[str]:
    train, count = config.profile.train, trainings(config)
    hours = count * train.minutes / 60
    worst = f"{hours * train.gpus:g} GPU-hours" if train.gpus else f"{hours * train.cpus_per_task:g} CPU-hours"
    if train.gpus and config.budget.gpu_hours is not None:
        worst = f"{min(hours * train.gpus, config.budget.gpu_hours):g} GPU-hours (capped)"
    researcher, policy = config.researcher, config.policy
    return [
        f"search     {config.name} in {directory}",
        f"task       {config.task}",
        f"model      {config.model}",
        f"runs on    {config.profile.name} ({config.profile.scheduler}), {config.parallel} job(s) at once",
        *([f"asks       {endpoint_words(config.llm)}"] if config.llm else []),
        *([f"asks you   {', '.join(config.approve)}: hpc-trex approve NODE"] if config.approve else []),
        f"plan       {config.budget.max_nodes} rounds of {researcher.trials} trial(s), {researcher.name} on {policy.name}"
        + (f", without {' and '.join(researcher.without)}" if researcher.without else ""),
        f"at worst   {count} trainings of {train.minutes} min: {worst}",
        *plan_lines(config),
    ]


def create_search(plan: LaunchPlan) -> SearchPaths:
    """Make the search directory of a plan (see :func:`hpc_trex.new_search.make_search`).

    Raises also what ``materialise`` raises for bad data.
    """

    def rows(paths: SearchPaths) -> str:
        if plan.options.replay is not None:
            copy_answers(find_search(plan.options.replay), paths)
        if plan.known is not None:
            write_record(paths.knowledge, plan.known)
        return materialise(plan.loaded, paths, drop_overlap=plan.options.drop_overlap).card_digest

    higher = plan.loaded.card.metric.higher_is_better
    return make_search(plan.directory, plan.config, rows, base_digest=plan.model.digest, higher_is_better=higher)
