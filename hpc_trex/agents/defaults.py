"""Where every search starts: all sources loaded, nothing filtered, the training of the task card."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from hpc_trex.agents.apply import Draft, Sources
from hpc_trex.agents.protocol import TreeView
from hpc_trex.errors import UsageProblem
from hpc_trex.models import DataRecipe, RoundPlan, TrainConfig, TrialPlan
from hpc_trex.models.operators import Load


def sources_of(view: TreeView) -> Sources:
    """Return the rows of each training source, and which ones the task card trusts."""
    trusted = frozenset(name for name, source in view.task.sources.items() if source.trusted)
    return Sources(dict(view.source_rows), trusted)


def default_train(view: TreeView) -> TrainConfig:
    """Return the training that every plan starts from: the task card's, then the search's own options.

    Raises :class:`UsageProblem` when a field is unknown or has a bad value.
    """
    fields: dict[str, Any] = {**view.task.default_train, **view.config.default_train}
    try:
        return TrainConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageProblem(
            f"default_train.{key} of task {view.task.name!r}: {first['msg']}",
            hint="correct default_train in the task card, or the option that sets it",
        ) from error


def default_draft(view: TreeView) -> Draft:
    """Return the default plan's one trial."""
    steps = tuple(Load(source=name) for name in view.task.sources)
    return Draft(DataRecipe(steps=steps, seed=view.config.seed), default_train(view))


def default_plan(view: TreeView) -> RoundPlan:
    """Return the round that changes nothing: what a person would run first."""
    draft = default_draft(view)
    return RoundPlan(
        hypothesis="Training on all sources as they are shows what the data are worth before anything is changed.",
        expected_effect="A first gain over the base model, and the reference for every later change.",
        move="default",
        data=draft.data,
        trials=(TrialPlan(train=draft.train, label="default"),),
    )
