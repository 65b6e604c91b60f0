"""What a sweep is asked for, made whole: a suite becomes its tasks, and what cannot be is refused before anything is planned."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.cards import SUITE_PREFIX, load_card
from hpc_trex.ftbench.suites import refuse_not_fetched, suite_tasks
from hpc_trex.models.search import WITH_PARTS
from hpc_trex.sweep.records import NOTHING, SweepConfig, SweepRequest

AXES = ("tasks", "models", "seeds", "researchers", "policies", "without")


def checked(request: SweepRequest) -> SweepRequest:
    """Return the request with the tasks of its suite.

    Raises :class:`UsageProblem` for an axis that is empty or names one twice, rows for a task that is none of the sweep's
    and tasks without training rows; :class:`NotFound` for tasks that are unknown or, all at once, not fetched.
    """
    if request.suite:
        if "tasks" in request.model_fields_set:
            raise UsageProblem("sweep: suite and tasks both say which tasks", hint="give one of them")
        request = request.model_copy(update={"tasks": suite_tasks(request.suite)})
    for name in AXES:
        _require_once(name, getattr(request, name), empty=False)
    _require_once("tasks", [task.removeprefix(SUITE_PREFIX) for task in request.tasks], empty=False)
    _require_once("reference_models", request.reference_models, empty=True)
    both = set(request.models) & set(request.reference_models)
    if both:
        raise UsageProblem(
            f"sweep: {', '.join(sorted(both))}: a base model and a reference model", hint="a reference is not trained"
        )
    refuse_not_fetched(request.tasks)
    _refuse_empty_pools(request)
    return request


def brought_to(task: str, brought: Sequence[str]) -> tuple[str, ...]:
    """Return which of the rows that the user brings (``TASK:NAME=FILE``) are this task's, as ``NAME=FILE``."""
    return tuple(words for name, words in map(_parted, brought) if _same(name, task))


def _parted(words: str) -> tuple[str, str]:
    left, equals, file = words.partition("=")
    task, colon, name = left.rpartition(":")
    if not equals or not colon or not task:
        raise UsageProblem(f"--source {words}: not TASK:NAME=FILE", hint="e.g. --source lawbench:mine=rows.jsonl")
    return task, f"{name}={file}"


def _same(one: str, other: str) -> bool:
    return one.removeprefix(SUITE_PREFIX) == other.removeprefix(SUITE_PREFIX)


def _require_once(name: str, values: Sequence[object], *, empty: bool) -> None:
    if (values or empty) and len(set(values)) == len(values):
        return
    raise UsageProblem(
        f"sweep: {name} names one twice" if values else f"sweep: {name} is empty", hint=f"name each of the {name} once"
    )


def _refuse_empty_pools(request: SweepRequest) -> None:
    for words in request.source:
        task = _parted(words)[0]
        if not any(_same(task, one) for one in request.tasks):
            raise UsageProblem(
                f"--source {words}: no task {task} in the sweep", hint=f"tasks: {', '.join(request.tasks)}"
            )
    empty = [] if request.baseline_only else [task for task in request.tasks if is_empty(task, request.source)]
    if empty and (len(empty) == len(request.tasks) or not (request.baseline or request.reference_models)):
        raise UsageProblem(
            f"{len(empty)} of {len(request.tasks)} tasks have no training rows of their own: {', '.join(empty)}",
            hint=f"bring some: --source {empty[0]}:NAME=FILE for each; or leave them out: --tasks; or --baseline-only",
        )


def is_empty(task: str, brought: Sequence[str]) -> bool:
    """Tell whether there is nothing to train on: the card has no source, and the user brings none."""
    return not load_card(task).card.sources and not brought_to(task, brought)


def check_methods(config: SweepConfig) -> None:
    """Raise :class:`UsageProblem` for a Researcher or policy that there is not, and a part that none of them uses."""
    if config.without != (NOTHING,) and not set(config.researchers) & set(WITH_PARTS):
        raise UsageProblem(
            f"sweep: without {', '.join(config.without)}: {', '.join(config.researchers)} use neither of the parts",
            hint=f"Researchers that do: {', '.join(WITH_PARTS)}",
        )
    try:
        for element in config.elements():
            config.researcher_of(element), config.policy_of(element)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageProblem(
            f"sweep: {first.get('input')!r} is no Researcher, policy or part to do without: {first['msg']}",
            hint="hpc-trex sweep launch --help",
        ) from error
