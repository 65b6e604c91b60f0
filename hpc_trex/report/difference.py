"""What a round changed against its parent, one short line a change: for the report, ``show`` and a Researcher."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from hpc_trex.models import DataRecipe, NodeView, TrainConfig, TrialPlan
from hpc_trex.models.base import one_line
from hpc_trex.models.operators import Python, Step

#: Shown even where they have their default value, when there is nothing to compare with.
_ALWAYS = ("method", "learning_rate", "epochs", "batch_size")
#: Values that go without saying, by operator and parameter.
_UNSAID = {("dedup", "method"): "exact", ("sample", "method"): "random"}


def plan_difference(parent: NodeView | None, node: NodeView) -> list[str]:
    """Return the changes, e.g. ``learning_rate 0.001 -> 0.003`` and ``+ dedup(prompt, answer)``.

    The parent stands for its best trial. Where the round's trials differ among themselves all values are named. Without
    a parent that trained something (the baseline), the recipe is listed whole, and of the training configuration what
    is not default. The baseline itself has no plan and so no changes.
    """
    if node.plan is None:
        return []
    old = _best_trial(parent)
    old_recipe = parent.plan.data if parent is not None and parent.plan is not None else None
    return [
        *_recipe_changes(old_recipe, node.plan.data),
        *_train_changes(old.train if old else None, [trial.train for trial in node.plan.trials]),
        *_mixture_changes(old, node.plan.trials),
    ]


def describe_step(step: Step) -> str:
    """Return one data operator as a short call: ``mix(curated 0.7, crowd 0.3)``. Parameters not set are left out.

    Of code only its mode, length and hash, and the limits that are not default: ``python map (12 lines, sha 1f0c93ab)``.
    """
    if isinstance(step, Python):
        return _describe_code(step)
    parts: list[str] = []
    for name, value in step.model_dump(exclude={"op"}, exclude_none=True).items():
        if _UNSAID.get((step.op, name)) == value:
            continue
        if isinstance(value, Mapping):
            parts.extend(f"{key} {number(weight)}" for key, weight in sorted(value.items()))
        elif isinstance(value, tuple | list):
            parts.append(", ".join(map(str, value)))
        elif value is True:
            parts.append(name)
        elif value is not False:
            parts.append(
                value if name in ("source", "column", "style", "by", "judge", "method") else f"{name} {number(value)}"
            )
    return f"{step.op}({', '.join(parts)})"


def _describe_code(step: Python) -> str:
    lines = len(step.code.splitlines())
    words = [f"{lines} line{'' if lines == 1 else 's'}", f"sha {hashlib.sha256(step.code.encode()).hexdigest()[:8]}"]
    limits = step.model_dump(exclude={"op", "mode", "code"}, exclude_defaults=True)
    return f"python {step.mode} ({', '.join(words + [f'{name} {number(value)}' for name, value in limits.items()])})"


def describe_recipe(recipe: DataRecipe) -> list[str]:
    """Return a recipe as one line a step, in normal form; patterns and templates of agents cannot steer a terminal."""
    return [one_line(describe_step(step)) for step in recipe.resolved().steps]


def describe_train(train: TrainConfig) -> dict[str, str]:
    """Return a training configuration as flat names and texts; LoRA settings only where they count."""
    flat: dict[str, str] = {}
    for name, value in train.resolved().model_dump().items():
        if name == "stages":
            flat[name] = one_line(" -> ".join(stage.shown for stage in train.stages)) or "-"
        elif name != "lora":
            flat[name] = number(value)
        elif train.method == "lora":
            flat |= {f"lora.{inner}": number(setting) for inner, setting in value.items()}
    return flat


def telling(train: TrainConfig) -> dict[str, str]:
    """Return of :func:`describe_train` what says something: the main settings and those that are not default."""
    default = describe_train(TrainConfig(method=train.method))
    return {name: text for name, text in describe_train(train).items() if name in _ALWAYS or text != default[name]}


def number(value: object) -> str:
    """Return a value as a person writes it: 0.001, 3e-05, ``a, b``, yes and no; ``-`` for none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return str(value)


def _best_trial(parent: NodeView | None) -> TrialPlan | None:
    if parent is None or parent.plan is None:
        return None
    ran = {trial.trial: trial.plan for trial in parent.trials}
    best = ran.get(parent.best_trial) if parent.best_trial is not None else None
    return best or parent.plan.trials[0]


def _recipe_changes(old: DataRecipe | None, new: DataRecipe) -> list[str]:
    """Return removed, added and changed steps in the order of the new recipe."""
    after = list(new.resolved().steps)
    before = list(old.resolved().steps) if old else []
    match = SequenceMatcher(a=[describe_step(s) for s in before], b=[describe_step(s) for s in after], autojunk=False)
    changes: list[str] = []
    for tag, a_from, a_to, b_from, b_to in match.get_opcodes():
        if tag == "equal":
            continue
        gone, come = before[a_from:a_to], after[b_from:b_to]
        if [step.op for step in gone] == [step.op for step in come]:
            changes += [f"{describe_step(a)} -> {describe_step(b)}" for a, b in zip(gone, come, strict=True)]
        else:
            changes += [f"- {describe_step(step)}" for step in gone] + [f"+ {describe_step(step)}" for step in come]
    return changes


def _train_changes(old: TrainConfig | None, new: Sequence[TrainConfig]) -> list[str]:
    before = describe_train(old or TrainConfig())
    after = [describe_train(train) for train in new]
    changes = []
    for name in dict.fromkeys(key for flat in after for key in flat):
        values = list(dict.fromkeys(flat[name] for flat in after if name in flat))
        if old is None:
            if name in _ALWAYS or values != [before.get(name)]:
                changes.append(f"{name} {' | '.join(values)}")
        elif values != [before.get(name)]:
            changes.append(f"{name} {before.get(name, '-')} -> {' | '.join(values)}")
    return changes


def _mixture_changes(old: TrialPlan | None, trials: Sequence[TrialPlan]) -> list[str]:
    before = _mixture(old)
    values = list(dict.fromkeys(_mixture(trial) for trial in trials))
    if values == [before]:
        return []
    return [f"mixture {before} -> {' | '.join(values)}"]


def _mixture(trial: TrialPlan | None) -> str:
    if trial is None or trial.mixture is None:
        return "all rows"
    return ", ".join(f"{name} {number(weight)}" for name, weight in sorted(trial.mixture.items()))
