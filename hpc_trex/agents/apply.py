"""Carry a move out on a draft. Everything here is deterministic: the same move on the same draft gives the same plan.

That is also how the playbook recognises later what a trial has tested: it applies the move again and compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from hpc_trex.agents.moves import (
    STEP,
    TRUSTED,
    Assign,
    Change,
    Choose,
    DataOp,
    Insert,
    KeepSources,
    Move,
    Multiply,
    Remove,
    Replace,
    Scale,
    TrainOp,
    Weigh,
    When,
)
from hpc_trex.models import DataRecipe, LoraSettings, TrainConfig
from hpc_trex.models.operators import Load, Step

#: Where a step usually stands: first the rows are cleaned, then weighed, then arranged.
USUAL_ORDER = (
    "load",
    "filter_conflicts",  # before dedup, which would take the majority its votes
    "convert",
    "dedup",
    "filter_language",
    "filter_similar",
    "filter_length",
    "filter_tokens",
    "filter_regex",
    "filter_quality",
    "filter_perplexity",
    "filter_loss",
    "python",
    "rewrite",
    "label",
    "generate",
    "judge",  # what the model made is judged too
    "augment",
    "mix",
    "sample",
    "split",
    "order",
    "format",
)


class Draft(NamedTuple):
    """One trial before it is a plan: the recipe of its round and its own training."""

    data: DataRecipe
    train: TrainConfig
    mixture: dict[str, float] | None = None


class Sources(NamedTuple):
    """What is known of the training sources: rows of each, and which are trusted."""

    rows: dict[str, int]
    trusted: frozenset[str]


def loaded(data: DataRecipe) -> list[str]:
    """Return the names of the sources that the recipe loads, in order, each once."""
    return list(dict.fromkeys(step.source for step in data.steps if isinstance(step, Load)))


def reference(data: DataRecipe, sources: Sources) -> str | None:
    """Return the largest trusted source that the recipe loads, None when it loads none."""
    names = [name for name in loaded(data) if name in sources.trusted]
    return max(names, key=lambda name: sources.rows.get(name, 0)) if names else None


def holds(when: When, draft: Draft, sources: Sources) -> bool:
    """Tell whether the conditions of a move hold for a draft."""
    names = loaded(draft.data)
    checks = (
        when.method in (None, draft.train.method),
        when.trusted in (None, any(name in sources.trusted for name in names)),
        when.untrusted in (None, any(name not in sources.trusted for name in names)),
        len(names) >= when.min_sources,
        sum(sources.rows.get(name, 0) for name in names) >= when.min_rows,
        when.step is None or any(step.op == when.step for step in draft.data.steps),
    )
    return all(checks)


def apply_move(move: Move, draft: Draft, sources: Sources, *, size: float = 1.0) -> Draft | None:
    """Return the changed draft, None when the move does not apply or changes nothing.

    ``size`` in (0, 1] shrinks the factors of the move: ``by ** size``.
    """
    return apply_change(move, draft, sources, size=size) if holds(move.when, draft, sources) else None


def apply_change(change: Change, draft: Draft, sources: Sources, *, size: float = 1.0) -> Draft | None:
    """Return the draft with all operations of a move or repair carried out, None when nothing changes.

    An operation that does not apply (the step is there already, the bound is reached) is passed over.
    """
    new = draft
    try:
        for op in change.train:
            new = _train(op, new, sources, size)
        steps: Sequence[Step] = new.data.steps
        for data_op in change.data:
            steps = _data(data_op, steps, new.data, sources, size)
        data = DataRecipe(steps=tuple(steps), seed=draft.data.seed)
    except ValidationError:  # the outcome is no valid plan, e.g. no source is left to load
        return None
    new = new._replace(data=data, mixture=_kept(new.mixture, data))
    same = new.data == draft.data and new.train.resolved() == draft.train.resolved() and new.mixture == draft.mixture
    return None if same else new


def get_field(train: TrainConfig, name: str) -> Any:
    """Return the value of a training field; ``lora.rank`` reaches into the adapter's settings."""
    return getattr(train.lora, name.removeprefix("lora.")) if name.startswith("lora.") else getattr(train, name)


def with_field(train: TrainConfig, name: str, value: Any) -> TrainConfig:
    """Return the configuration with one field changed and everything validated (pydantic's error if it is not).

    A batch becomes the nearest one of whole groups of answers, where a ``grpo`` stage needs that.
    """
    if name == "batch_size":
        value = max(1, round(value / train.batch_unit)) * train.batch_unit
    if name.startswith("lora."):
        changed = LoraSettings.model_validate({**train.lora.model_dump(), name.removeprefix("lora."): value})
        return train.model_copy(update={"lora": changed})
    return TrainConfig.model_validate({**train.model_dump(), name: value})


def scaled(value: float, by: float, low: float, high: float, size: float) -> float:
    """Return ``value * by ** size`` within bounds, three digits long; a whole number stays one and moves at least by 1.

    A value that is outside the bounds already is left alone rather than thrown back.
    """
    if not low <= value <= high:
        return value
    target = min(max(value * by**size, low), high)
    if isinstance(value, int):
        step = value + (1 if by > 1 else -1) if round(target) == value and by != 1 else round(target)
        return int(min(max(step, low), high))
    return min(max(float(f"{target:.3g}"), low), high)


def _train(op: TrainOp, draft: Draft, sources: Sources, size: float) -> Draft:
    if isinstance(op, Weigh):
        return draft._replace(mixture=_weighed(draft, sources, op.trusted**size))
    value = get_field(draft.train, op.field)
    if isinstance(op, Multiply):
        value = get_field(draft.train, op.unset) if value is None and op.unset else value
        if value is None:
            return draft
        value = scaled(value, op.by, op.min, op.max, size)
    elif isinstance(op, Choose):
        place = op.values.index(value) if value in op.values else -1
        value = op.values[(place + 1) % len(op.values)]
    elif isinstance(op, Assign):
        value = op.value
    return draft._replace(train=with_field(draft.train, op.field, value))


def _weighed(draft: Draft, sources: Sources, factor: float) -> dict[str, float] | None:
    """Return the mixture with the trusted sources' weight multiplied; weights add up to 1, four digits long each (a small source must not become none)."""
    names = loaded(draft.data)
    trusted = [name for name in names if name in sources.trusted]
    if not trusted or len(trusted) == len(names):
        return draft.mixture
    weights = draft.mixture or {name: float(sources.rows.get(name, 1)) for name in names}
    raw = {name: weights.get(name, 0.0) * (factor if name in trusted else 1.0) for name in names}
    total = sum(raw.values())
    return {name: float(f"{weight / total:.4g}") for name, weight in raw.items()} if total > 0 else draft.mixture


def _kept(mixture: dict[str, float] | None, data: DataRecipe) -> dict[str, float] | None:
    """Return the mixture without the sources that the recipe no longer loads; None when one source or none is left."""
    if mixture is None:
        return None
    names = loaded(data)
    kept = {name: weight for name, weight in mixture.items() if name in names}
    return kept if len(kept) > 1 and sum(kept.values()) > 0 else None


def _data(op: DataOp, steps: Sequence[Step], data: DataRecipe, sources: Sources, size: float) -> Sequence[Step]:
    if isinstance(op, KeepSources):
        return _only(steps, sources, trusted=op.keep == "trusted")
    if isinstance(op, Insert):
        there = any(step.op == op.step["op"] for step in steps)
        new = None if there else _step(op.step, data, sources)
        return steps if new is None else placed(steps, new, last=op.at == "last")
    kind = op.step["op"] if isinstance(op, Replace) else op.op
    places = [index for index, step in enumerate(steps) if step.op == kind]
    if not places:
        return steps
    at = places[-1]
    if isinstance(op, Remove):
        return [*steps[:at], *steps[at + 1 :]]
    changed = _rescaled(steps[at], op, size) if isinstance(op, Scale) else _step(op.step, data, sources)
    return steps if changed is None else [*steps[:at], changed, *steps[at + 1 :]]


def _step(raw: dict[str, Any], data: DataRecipe, sources: Sources) -> Step | None:
    """Return the step with the place-holder filled; None when there is no trusted source to fill it with."""
    trusted = reference(data, sources)
    if TRUSTED in raw.values() and trusted is None:
        return None
    return STEP.validate_python({key: trusted if value == TRUSTED else value for key, value in raw.items()})


def _rescaled(step: Step, op: Scale, size: float) -> Step | None:
    value = getattr(step, op.param, None)
    if value is None:
        return None
    return STEP.validate_python({**step.model_dump(), op.param: scaled(value, op.by, op.min, op.max, size)})


def placed(steps: Sequence[Step], new: Step, *, last: bool = False) -> Sequence[Step]:
    """Insert before the first step that usually comes later, or at the end."""
    rank = USUAL_ORDER.index(new.op)
    later = (index for index, step in enumerate(steps) if USUAL_ORDER.index(step.op) > rank)
    at = len(steps) if last else next(later, len(steps))
    return [*steps[:at], new, *steps[at:]]


def _only(steps: Sequence[Step], sources: Sources, *, trusted: bool) -> Sequence[Step]:
    """Keep the load steps of one kind, and drop steps that are about sources no longer loaded."""
    kept = [s for s in steps if not isinstance(s, Load) or (s.source in sources.trusted) == trusted]
    names = {step.source for step in kept if isinstance(step, Load)}
    if not names:
        return steps
    return [
        step
        for step in kept
        if not (step.op == "mix" and not set(step.weights) <= names)
        and not (step.op == "filter_similar" and step.reference not in names)
    ]
