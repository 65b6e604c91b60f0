"""From what a user asked for to a frozen sweep: resolve, check, count, cost. Nothing is written here but by ``create``."""

from __future__ import annotations

import math
import os
import secrets
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from hpc_trex.errors import BudgetReached, UsageProblem
from hpc_trex.files import DISK_ERRORS, disk_problem, write_record
from hpc_trex.ftbench.cards import LoadedCard
from hpc_trex.ftbench.materialise import materialise
from hpc_trex.launch import LaunchOptions, plan_launch
from hpc_trex.layout import SearchPaths
from hpc_trex.models import Profile, Resources, SearchConfig
from hpc_trex.slurm.profiles import load_profile, make_scheduler
from hpc_trex.suggest import nearest
from hpc_trex.sweep.asked import brought_to, check_methods, checked, is_empty
from hpc_trex.sweep.asking import asks_lines, llm_of, llm_table
from hpc_trex.sweep.folder import knowledge_file, new_sweep_name, write_config
from hpc_trex.sweep.knowing import Known, knowledge_lines, known_of
from hpc_trex.sweep.layout import SweepPaths, sweeps_home
from hpc_trex.sweep.records import NOTHING, FrozenModel, FrozenTask, SweepConfig, SweepRequest

#: Memory of the controller inside an element.
CONTROLLER_GB = 1.0
#: Time limit of an element where neither the user nor the profile sets one.
LONGEST_MINUTES = 24 * 60
#: Pause between two looks of an element's controller at its own processes.
INNER_POLL_SECONDS = 1.0


class SweepPlan(NamedTuple):
    """What would be launched."""

    paths: SweepPaths
    config: SweepConfig
    cards: list[LoadedCard]
    drop_overlap: bool
    known: Known = {}
    more: Sequence[str] = ()
    """What else a person should know: who is asked, and what the searches start from."""


def read_request(file: Path | None, given: dict[str, Any]) -> SweepRequest:
    """Return the request of a file with what was typed put over it. Raises :class:`UsageProblem` naming the key."""
    raw: dict[str, Any] = {}
    where = str(file) if file else "sweep"
    if file is not None:
        try:
            raw = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise UsageProblem(f"{file}: not a valid TOML file: {error}", hint="docs/sweeps.md shows one") from error
    for typed, other in (("tasks", "suite"), ("suite", "tasks")):  # both say which tasks: what is typed wins
        if typed in given and other not in given:
            raw.pop(other, None)
    if "llm" in raw:
        given = {**given, "llm": _over(llm_table(raw["llm"], where), given.get("llm", {}))}
    try:
        return SweepRequest.model_validate(raw | given)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][-1])
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] != "extra_forbidden":
            raise UsageProblem(f"{where}: {place}: {first['msg']}", hint="docs/sweeps.md lists the keys") from error
        known = list(SweepRequest.model_fields)
        near = nearest(key, known)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        raise UsageProblem(f"{where}: unknown key {place}", hint=hint) from error


def _over(file: dict[str, Any], typed: dict[str, Any]) -> dict[str, Any]:
    """Return the table of a file with what was typed put over it, in the tables of single agents too."""
    return file | {
        key: file[key] | value if isinstance(value, dict) and isinstance(file.get(key), dict) else value
        for key, value in typed.items()
    }


def plan_sweep(request: SweepRequest) -> SweepPlan:
    """Resolve tasks, models and profiles, check all pairs, and return the sweep with its worst cost. Writes nothing.

    Raises what ``plan_launch`` and ``llm_of`` raise, and :class:`BudgetReached` when the worst case exceeds the cap.
    """
    request = checked(request)
    profile = load_profile(request.profile)
    if profile.scheduler == "steps":
        raise UsageProblem(
            f"profile {profile.name} runs steps of an allocation, and an element is a whole job",
            hint='a profile with scheduler = "slurm"; steps are for the jobs inside: --inner-profile',
        )
    make_scheduler(profile)  # refuses a profile that cannot be used
    inner = inner_profile(profile, request)
    name = request.name or new_sweep_name()
    paths = SweepPaths(sweeps_home() / name)
    if paths.root.exists() and any(paths.root.iterdir()):
        raise UsageProblem(
            f"{paths.root} exists already", hint=f"choose another --name, or: hpc-trex sweep resume {name}"
        )
    llm = llm_of(request, profile)
    tasks, found, cards, configs = _resolved(request, paths)
    models, references = found[: len(request.models)], found[len(request.models) :]
    known = known_of(request, configs, cards, models)
    config = SweepConfig(
        name=name,
        uid=f"sweep-{secrets.token_hex(4)}",
        tasks=tasks,
        models=models,
        references=references,
        baseline=request.baseline and not request.baseline_only,
        seeds=request.seeds,
        researchers=request.researchers,
        policies=request.policies,
        without=request.without,
        baseline_only=request.baseline_only,
        profile=profile,
        inner=inner,
        resources=element_resources(profile, request),
        throttle=request.throttle,
        chunk=request.chunk,
        gpu_hours=request.gpu_hours,
        search_gpu_hours=request.search_gpu_hours,
        search_cpu_hours=request.search_cpu_hours,
        max_nodes=request.max_nodes,
        trials=request.trials,
        noise=request.noise,
        llm=llm,
        knowledge=next((one.base for one in known.values()), ""),
    )
    check_methods(config)
    refuse_above_cap(config, len(config.elements()))
    more = [*asks_lines(config), *knowledge_lines(request, config, known)]
    return SweepPlan(paths, config, cards, request.drop_overlap, known, more)


def _resolved(
    request: SweepRequest, paths: SweepPaths
) -> tuple[tuple[FrozenTask, ...], tuple[FrozenModel, ...], list[LoadedCard], list[SearchConfig]]:
    """Plan the search of every task with every model as ``launch`` would, and keep what it found; one plan of each task.

    The reference models stand after the base models.
    """
    tasks: dict[str, tuple[FrozenTask, LoadedCard]] = {}
    models: dict[str, FrozenModel] = {}
    configs: dict[str, SearchConfig] = {}
    for task in request.tasks:
        for model in (*request.models, *request.reference_models) if not tasks else request.models[:1]:
            empty = is_empty(task, request.source)
            trained = model in request.models and not request.baseline_only and not empty
            options = LaunchOptions(
                name="sweep",
                directory=str(paths.element(0).search),
                task=task,
                model=model,
                profile=request.profile,
                source=brought_to(task, request.source),
                max_nodes=None if trained else 0,
            )
            plan = plan_launch(options)
            metric = plan.loaded.card.metric
            frozen = FrozenTask(
                name=task,
                higher_is_better=metric.higher_is_better,
                default_train=plan.config.default_train,
                trains=not empty,
            )
            tasks.setdefault(task, (frozen, plan.loaded))
            if task not in configs:
                configs[task] = plan.config
            models[model] = FrozenModel(name=model, path=plan.model.path, digest=plan.model.digest)
    cards = [item[1] for item in tasks.values()]
    return tuple(item[0] for item in tasks.values()), tuple(models.values()), cards, list(configs.values())


def inner_profile(profile: Profile, request: SweepRequest) -> Profile:
    """Return the profile of the jobs inside an element: local processes in what the element was given.

    Modules, setup lines and the container are those of the element's own job, which these jobs start in.
    """
    if request.inner_profile is not None:
        chosen = load_profile(request.inner_profile)
        if chosen.scheduler == "slurm":
            raise UsageProblem(
                f"inner_profile {chosen.name} would submit further jobs from inside the array",
                hint='its scheduler must be "local" or "steps"',
            )
        return chosen.model_copy(update={"parallel": request.parallel})
    if profile.scheduler == "local":
        return profile.model_copy(update={"parallel": request.parallel})
    if profile.train.nodes > 1:
        raise UsageProblem(
            f"profile {profile.name} trains on {profile.train.nodes} nodes, and an element's jobs are processes of one",
            hint='a profile with train.nodes = 1, or --inner-profile with scheduler = "steps"',
        )
    wrapped = bool(profile.runner or profile.container)
    return profile.model_copy(
        update={
            "scheduler": "local",
            "parallel": request.parallel,
            "poll_seconds": min(profile.poll_seconds, INNER_POLL_SECONDS),
            "setup": (),
            "modules": (),
            "container": None,
            "runner": (),
            "python": None if wrapped else profile.python,
        }
    )


def element_resources(profile: Profile, request: SweepRequest) -> Resources:
    """Return what one element asks for: room for ``parallel`` of its largest jobs, and its time limit.

    Raises :class:`UsageProblem` for a limit beyond the partition's.
    """
    kinds = (profile.train, profile.evaluate, profile.prepare)
    most = request.parallel
    worst = worst_minutes(profile, request)
    ceiling = profile.max_minutes or LONGEST_MINUTES
    if request.minutes is not None and profile.max_minutes is not None and request.minutes > profile.max_minutes:
        raise UsageProblem(
            f"an element of {request.minutes} minutes is longer than profile {profile.name} takes ({profile.max_minutes})",
            hint="a smaller --minutes: what an element has done by then is kept, and sweep resume goes on",
        )
    return Resources(
        nodes=profile.train.nodes,
        gpus_per_node=max(kind.gpus_per_node for kind in kinds) * most,
        cpus_per_task=max(kind.cpus_per_task for kind in kinds) * most,
        mem_gb=max(kind.mem_gb for kind in kinds) * most + CONTROLLER_GB,
        minutes=request.minutes or max(1, min(worst, ceiling)),
    )


def worst_minutes(profile: Profile, request: SweepRequest) -> int:
    """Return how long an element's jobs take when each runs to its limit: evaluations, data of each round, trainings."""
    evaluations = 3 * profile.evaluate.minutes
    if request.baseline_only:
        return evaluations + profile.train.minutes
    noise = request.noise
    repeats = noise.floor_repeats + noise.final_candidates * (noise.final_seeds - 1)
    rounds = math.ceil((request.max_nodes * request.trials + repeats) / request.parallel) * profile.train.minutes
    return evaluations + request.max_nodes * profile.prepare.minutes + rounds


def refuse_above_cap(
    config: SweepConfig,
    count: int,
    used: float = 0.0,
    hint: str = "raise --gpu-hours, or shorten --minutes, or take fewer elements",
) -> None:
    """Raise :class:`BudgetReached` when ``count`` further elements could use more GPU-hours than the cap leaves."""
    worst = count * config.element_gpu_hours
    if config.gpu_hours is not None and used + worst > config.gpu_hours:
        spent = f"{used:.2f} are used, and " if used else ""
        raise BudgetReached(
            f"{spent}{count} element(s) of {config.element_gpu_hours:g} GPU-hours may need {worst:g}: "
            f"the cap is {config.gpu_hours:g}",
            hint=hint,
        )


def plan_lines(config: SweepConfig, count: int, arrays: int) -> list[str]:
    """Return the plan for a person."""
    resources = config.resources
    hours = count * resources.minutes / 60
    worst = (
        f"{hours * resources.gpus:g} GPU-hours" if resources.gpus else f"{hours * resources.cpus_per_task:g} CPU-hours"
    )
    methods = "baseline evaluation only" if config.baseline_only else (
        f"{', '.join(config.researchers)} on {', '.join(config.policies)}"
        + (f" without {', '.join(config.without)}" if config.without != (NOTHING,) else "")
        + f": {config.max_nodes} rounds of {config.trials} trial(s)"
    )  # fmt: skip
    caps = [
        f"{cap:g} {unit}-hours"
        for cap, unit in ((config.search_gpu_hours, "GPU"), (config.search_cpu_hours, "CPU"))
        if cap is not None
    ]
    throttle = f", at most {config.throttle} at once" if config.throttle else ""
    where = f"{config.profile.name} ({config.profile.scheduler})"
    untrained = [task.name for task in config.tasks if not task.trains and not config.baseline_only]
    return [
        f"sweep      {config.name} in {sweeps_home() / config.name}",
        f"tasks      {', '.join(task.name for task in config.tasks)}",
        f"models     {', '.join(model.name for model in config.models)}"
        + (" (and their evaluations alone)" if config.baseline else ""),
        *(
            [f"reference  {', '.join(model.name for model in config.references)}: evaluated only"]
            * bool(config.references)
        ),
        *(
            [f"no rows    {', '.join(untrained)}: evaluated only (--source TASK:NAME=FILE brings some)"]
            * bool(untrained)
        ),
        f"seeds      {', '.join(map(str, config.seeds))}",
        f"method     {methods}" + (f", each search capped at {' and '.join(caps)}" if caps else ""),
        f"runs on    {where}: {count} element(s)"
        + (
            f" in {arrays} array(s){throttle}" if config.profile.scheduler == "slurm" else throttle or ", one at a time"
        ),
        f"at worst   {count} x {resources.gpus} GPUs x {resources.minutes} min: {worst}",
    ]


def create_sweep(plan: SweepPlan) -> SweepPaths:
    """Make the sweep's folder: the rows of each task, and ``sweep.toml`` as the last. All of it, or nothing."""
    paths, config = plan.paths, plan.config
    os.umask(0o007 if config.profile.share == "group" else 0o077)
    try:
        paths.root.mkdir(parents=True)
    except FileExistsError as error:
        raise UsageProblem(f"{paths.root} exists already", hint="choose another --name") from error
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise disk_problem(error, paths.root) from error
        raise
    try:
        tasks = []
        for number, (task, card) in enumerate(zip(config.tasks, plan.cards, strict=True)):
            folder = SearchPaths(paths.task(number))
            folder.root.mkdir(parents=True)
            made = materialise(card, folder, drop_overlap=plan.drop_overlap)
            tasks.append(task.model_copy(update={"digest": made.card_digest}))
        for (task_number, model), known in plan.known.items():
            write_record(knowledge_file(paths, task_number, model), known)
        write_config(paths, config.model_copy(update={"tasks": tuple(tasks)}))
    except BaseException as error:
        shutil.rmtree(paths.root, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise disk_problem(error, paths.root) from error
        raise
    return paths
