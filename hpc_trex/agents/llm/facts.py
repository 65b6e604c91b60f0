"""What does not change during a search: the task, the operators, the training fields. It stands first in each request.

Operators and fields are read out of the models' own schemas, so that what a Researcher is told is what is validated.
The sealed test is in none of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, get_args

from hpc_trex.agents.defaults import default_train
from hpc_trex.agents.llm.fence import one_line, paragraph
from hpc_trex.agents.llm.fit import MUST, Part
from hpc_trex.agents.protocol import TreeView
from hpc_trex.models import LoraSettings, Source, Stage, TrainConfig, TrialPlan
from hpc_trex.models.asking import ASKING
from hpc_trex.models.operators import Step

#: The classes of all operators, in the order of their definition.
OPERATORS: tuple[type[Any], ...] = get_args(get_args(Step)[0])

#: The operator that runs code of its writer.
CODE = "python"


def task_parts(view: TreeView) -> list[Part]:
    """Return the task card's facts, and what it says of itself as data."""
    card, metric = view.task, view.task.metric
    better = "higher is better" if metric.higher_is_better else "lower is better"
    lines = [
        f"Task: {card.name}. Licence: {one_line(card.licence, 100)}. Base model: {one_line(view.config.model, 200)}.",
        f"Metric on the dev split: {metric.shown}, {better}.",
        f"Answers are generated with at most {metric.max_new_tokens} new tokens and end at {json.dumps(metric.stop)}.",
    ]
    if metric.labels:
        lines.append(f"Valid answers: {one_line(', '.join(metric.labels), 1000)}")
    if card.capabilities:
        lines.append(f"Capabilities: {one_line(', '.join(card.capabilities), 300)}")
    lines += [f"Known score: {one_line(ref.name, 80)} {ref.score:g}" for ref in card.references[:10]]
    if not card.training_allowed:
        lines.append("The licence of the task's own data forbids to train on them, and on copies of them.")
    lines.append("Training sources:")
    lines += [_source_line(name, source, view.source_rows.get(name)) for name, source in card.sources.items()]
    told = {"title": card.title, "description": card.description}
    templates = {"system": card.prompt.system, "prompt": card.prompt.prompt, "answer": card.prompt.answer}
    words = [f"{name}: {paragraph(text, 2000)}" for name, text in told.items() if text.strip()]
    words += [f"template of the {name}: {one_line(text, 1000)}" for name, text in templates.items() if text.strip()]
    return [
        Part("Task", "\n".join(lines), MUST),
        Part("Task card, in its own words", "\n".join(words), MUST, data=True),
    ]


def _source_line(name: str, source: Source, rows: int | None) -> str:
    if source.hub is not None:
        origin = f"hub {source.hub}, commit {source.revision}"
    elif source.generator is not None:
        origin = f"generated: {source.generator}, {source.part}"
    elif source.table is not None:
        origin = f"the task's own table {source.table}"
    else:
        origin = f"file {PurePath(source.path or '').name}"
    trust = "trusted" if source.trusted else "not trusted"
    return f"- {one_line(name, 100)}: {'unknown number of' if rows is None else rows} rows, {trust}, {one_line(origin, 200)}"


def operator_part(view: TreeView) -> Part:
    """Return every operator that this search may use, with its parameters and their bounds."""
    lines = ["A recipe is a list of steps; each has op and the parameters below. Rows have prompt, answer and source."]
    for operator in OPERATORS:
        schema = operator.model_json_schema()
        name = schema["properties"]["op"]["const"]
        if (name == CODE and not code_allowed(view)) or (operator in ASKING and not rows_allowed(view)):
            continue
        lines.append(f"- {name}: {_words(schema.get('description', ''))}")
        lines += _field_lines(schema, without=("op",))
    return Part("Data operators", "\n".join(lines), MUST)


def code_allowed(view: TreeView) -> bool:
    """Tell whether the cluster's profile lets a recipe hold code."""
    profile = view.config.profile
    return profile.agent_code and profile.sandbox != "none"


def rows_allowed(view: TreeView) -> int:
    """Return about how many rows the recipes of a search may ask its language model in all; 0: they may not."""
    llm = view.config.llm
    return llm.rows_cap if llm is not None else 0


def training_part(view: TreeView) -> Part:
    """Return the fields of a training and a trial with their bounds, and what this task starts from."""
    lines = ["Fields of train. One that you leave out takes the default given here, not the parent's value."]
    lines += _field_lines(TrainConfig.model_json_schema(), without=("lora",))
    lines.append("Fields of train.lora:")
    lines += _field_lines(LoraSettings.model_json_schema())
    lines.append("Fields of a stage in train.stages; what is left out is as train says:")
    lines += _field_lines(Stage.model_json_schema())
    lines.append("Beside train a trial has:")
    lines += _field_lines(TrialPlan.model_json_schema(), without=("train",))
    lines.append(f"This task starts from train = {train_json(default_train(view))}")
    lines.append(f"A round has 1 to {view.config.researcher.trials} trials.")
    return Part("Training", "\n".join(lines), MUST)


def train_json(train: TrainConfig) -> str:
    """Return what of a training configuration is not default, as JSON."""
    return json.dumps(train.resolved().model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)


def _field_lines(schema: Mapping[str, Any], *, without: tuple[str, ...] = ()) -> list[str]:
    required = schema.get("required", ())
    lines = []
    for name, field in schema["properties"].items():
        if name in without:
            continue
        words = _words(field.get("description", ""))
        lines.append(f"  - {name}: {_kind(field)}; {_default(field, name in required)}{'. ' + words if words else ''}")
    return lines


def _default(field: Mapping[str, Any], required: bool) -> str:
    if required:
        return "required"
    value = field.get("default")
    return "optional" if value is None else f"default {json.dumps(value)}"


def _kind(field: Mapping[str, Any]) -> str:
    """Return type and bounds of a field in a few words; that it may be null is what ``optional`` says."""
    if "anyOf" in field:
        return " or ".join(_kind(option) for option in field["anyOf"] if option.get("type") != "null")
    if "enum" in field or "const" in field:
        return " | ".join(json.dumps(value) for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_kind(field.get('items', {}))}"
    if field.get("type") == "object":
        return f"object of {_kind(field.get('additionalProperties', {}))} by name"
    signs = {
        "minimum": ">=",
        "exclusiveMinimum": ">",
        "maximum": "<=",
        "exclusiveMaximum": "<",
        "maxLength": "length <=",
    }
    bounds = [f"{sign} {field[key]}" for key, sign in signs.items() if key in field]
    return " ".join([str(field.get("type", "value")), *bounds])


def _words(text: str) -> str:
    """Return a description in one line, without the papers behind it."""
    return re.sub(r" \(arXiv [\d.]+\)|, arXiv [\d.]+(?=\))", "", " ".join(text.replace("``", "").split())).rstrip(".")
