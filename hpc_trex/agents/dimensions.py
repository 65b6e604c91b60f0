"""A trial as a point, for ``tpe`` and ``random``: named parameters out of ``space.toml``, and back again.

The points are read from the plans in the tree whenever they are needed, whoever designed them; nothing is stored.
A value outside a dimension is moved to its nearest end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from hpc_trex.agents.apply import Draft, Sources, get_field, placed, reference, with_field
from hpc_trex.agents.moves import STEP, TRUSTED, FieldRange, Playbook
from hpc_trex.agents.tree_facts import Facts
from hpc_trex.models import DataRecipe, TrainConfig
from hpc_trex.models.operators import Step

OFF = "off"
Point = dict[str, Any]


class Dimension(NamedTuple):
    """One parameter: a number between ``low`` and ``high``, or one of ``choices``. ``data``: of the round, not the trial."""

    name: str
    low: float | None
    high: float | None
    log: bool
    integer: bool
    choices: tuple[Any, ...]
    data: bool


def dimensions(facts: Facts, book: Playbook) -> list[Dimension]:
    """Return the dimensions of this search: the training fields around their defaults, and the data steps on or off."""
    found = [_field(field, get_field(facts.default.train, field.name)) for field in book.fields]
    for switch in book.switches:
        texts = [text for text in _options(switch.options, facts) if text is not None]
        if texts:
            found.append(Dimension(f"step.{switch.name}", None, None, False, False, (OFF, *texts), True))
    return found


def draft_of(point: Point, facts: Facts, book: Playbook) -> Draft:
    """Return the trial that a point stands for: the default plan with the point's fields and steps."""
    train = facts.default.train
    for field in book.fields:
        train = with_field(train, field.name, point[field.name])
    steps: Sequence[Step] = facts.default.data.steps
    for switch in book.switches:
        chosen = point.get(f"step.{switch.name}", OFF)
        if chosen != OFF:
            steps = placed(steps, STEP.validate_json(chosen))
    return Draft(DataRecipe(steps=tuple(steps), seed=facts.default.data.seed), train)


def point_of(draft: Draft, space: list[Dimension]) -> Point:
    """Return the nearest point to a trial."""
    point: Point = {}
    for dimension in space:
        if dimension.data:
            kind = dimension.name.removeprefix("step.")
            step = next((step for step in draft.data.steps if step.op == kind), None)
            point[dimension.name] = OFF if step is None else _nearest_step(step, dimension.choices[1:])
        else:
            point[dimension.name] = _nearest(get_field(draft.train, dimension.name), dimension)
    return point


def _field(field: FieldRange, default: Any) -> Dimension:
    if field.choices:
        choices = field.choices if default in field.choices else (default, *field.choices)
        return Dimension(field.name, None, None, False, False, choices, False)
    assert field.low is not None
    assert field.high is not None
    low, high = min(field.low, default), max(field.high, default)
    if field.around is not None:
        low, high = max(low, default / field.around), min(high, default * field.around)
    if field.integer:
        low, high = max(1, math.ceil(low)), max(1, math.floor(high))
    return Dimension(field.name, low, high, field.log, field.integer, (), False)


def _options(options: tuple[dict[str, Any], ...], facts: Facts) -> list[str | None]:
    """Return each option as JSON; None where it needs a trusted source and there is none."""
    trusted = _trusted(facts.default.data, facts.sources)
    texts: list[str | None] = []
    for option in options:
        filled = {key: trusted if value == TRUSTED else value for key, value in option.items()}
        texts.append(None if None in filled.values() else STEP.validate_python(filled).model_dump_json())
    return texts


def _trusted(data: DataRecipe, sources: Sources) -> str | None:
    """Return the trusted source to compare with; none where every source is trusted, for then nothing is off task."""
    return reference(data, sources) if len(sources.trusted) < len(sources.rows) else None


def _nearest(value: Any, dimension: Dimension) -> Any:
    if dimension.choices:
        if value in dimension.choices:
            return value
        numbers = [choice for choice in dimension.choices if isinstance(choice, int | float)]
        return min(numbers, key=lambda c: abs(c - value)) if numbers else dimension.choices[0]
    assert dimension.low is not None
    assert dimension.high is not None
    inside = min(max(value, dimension.low), dimension.high)
    return int(inside) if dimension.integer else float(inside)


def _nearest_step(step: Step, options: tuple[str, ...]) -> str:
    """Return the option whose numbers are nearest to the step's."""

    def apart(option: str) -> float:
        other = STEP.validate_json(option).model_dump()
        mine = step.model_dump()
        numbers = [n for n, v in mine.items() if isinstance(v, int | float) and isinstance(other.get(n), int | float)]
        return float(sum(abs(mine[name] - other[name]) for name in numbers))

    return min(options, key=lambda option: (apart(option), option))


def rounded(train: TrainConfig, book: Playbook) -> TrainConfig:
    """Return the training with its real numbers three digits long, as a person would write them."""
    for field in book.fields:
        value = get_field(train, field.name)
        if isinstance(value, float):
            train = with_field(train, field.name, float(f"{value:.3g}"))
    return train
