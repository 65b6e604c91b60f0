"""How far two trials are apart, by their structure: fields on their own scales, recipes by their steps.

Never by the text of the plan: a ten-fold learning rate hardly changes the text, and a paraphrase changes nothing else.
Every part lies between 0 (equal) and 1; the distance is their weighted mean. In tests on a made-up space a learning
rate 5 % apart lies near 0.005; below about 0.01 two trials are near duplicates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hpc_trex.agents.apply import Draft, get_field
from hpc_trex.agents.moves import FieldRange, Playbook
from hpc_trex.models.operators import Step

#: Below it two trials are called near duplicates.
NEAR = 0.01

#: Weight of each part: one for a training field, more for the recipe and the mixture.
RECIPE_WEIGHT = 4.0
MIXTURE_WEIGHT = 2.0


def distance(one: Draft, other: Draft, book: Playbook) -> float:
    """Return the structural distance of two trials, 0 to 1."""
    total, weights = 0.0, 0.0
    for field in book.fields:
        a, b = get_field(one.train.resolved(), field.name), get_field(other.train.resolved(), field.name)
        total += field_distance(field, a, b)
        weights += 1
    total += RECIPE_WEIGHT * recipe_distance(one.data.resolved().steps, other.data.resolved().steps)
    total += MIXTURE_WEIGHT * mixture_distance(one.mixture, other.mixture)
    return total / (weights + RECIPE_WEIGHT + MIXTURE_WEIGHT)


def field_distance(field: FieldRange, one: Any, other: Any) -> float:
    """Return the distance of two values as a share of the field's range: log scale for rates, steps for ordered choices."""
    if one == other:
        return 0.0
    if field.choices:
        ordered = all(isinstance(choice, int | float) for choice in field.choices)
        if not (ordered and one in field.choices and other in field.choices):
            return 1.0
        return abs(field.choices.index(one) - field.choices.index(other)) / max(1, len(field.choices) - 1)
    if field.low is None or field.high is None or one is None or other is None:
        return 1.0
    if field.log and min(one, other, field.low) > 0:
        return min(1.0, abs(math.log(one / other)) / math.log(field.high / field.low))
    return float(min(1.0, abs(one - other) / (field.high - field.low)))


def mixture_distance(one: dict[str, float] | None, other: dict[str, float] | None) -> float:
    """Return half the L1 distance of two mixtures, each normalised; 1 where only one trial has a mixture."""
    if one is None or other is None:
        return 0.0 if one == other else 1.0
    a, b = sum(one.values()) or 1.0, sum(other.values()) or 1.0
    return sum(abs(one.get(name, 0) / a - other.get(name, 0) / b) for name in {*one, *other}) / 2


def recipe_distance(one: Sequence[Step], other: Sequence[Step]) -> float:
    """Return the edit distance of two lists of steps, as a share of the longer one.

    A step costs 1 to insert or to take out; to change its parameters costs half the share of them that differ.
    """
    row = [float(j) for j in range(len(other) + 1)]
    for i, step in enumerate(one, start=1):
        last, row = row, [float(i)]
        for j, second in enumerate(other, start=1):
            row.append(min(last[j] + 1, row[j - 1] + 1, last[j - 1] + _step_cost(step, second)))
    return row[-1] / max(len(one), len(other), 1)


def _step_cost(one: Step, other: Step) -> float:
    if one.op != other.op:
        return 2.0
    if one == other:
        return 0.0
    a, b = one.model_dump(exclude={"op"}), other.model_dump(exclude={"op"})
    return 0.5 * sum(_value_distance(a[name], b[name]) for name in a) / max(1, len(a))


def _value_distance(one: Any, other: Any) -> float:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    if numbers:
        return float(abs(one - other) / max(abs(one), abs(other))) if one != other else 0.0
    return 0.0 if one == other else 1.0
