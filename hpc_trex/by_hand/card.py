"""The model card of an export: where a model comes from, what it learned from, and what it scored."""

from __future__ import annotations

import json

import tomli_w

from hpc_trex import version
from hpc_trex.by_hand.recorded import Recorded
from hpc_trex.models import ModelRef, Score

UNKNOWN = "unknown"


def model_card(what: Recorded, model: ModelRef, *, merged: bool) -> str:
    """Return the card as Markdown with the front matter that the Hugging Face Hub reads."""
    adapter = bool(model.adapter) and not merged
    head = {
        "base_model": what.config.model,
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "license": what.card.licence or UNKNOWN,
        "tags": ["hpc-trex", what.card.name],
    }
    front = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items())
    parts = [
        f"---\n{front}\n---\n\n# {what.config.name}, node {what.node.id}, trial {what.trial.trial}",
        f"Made by HPC-TREX {version()} from `{what.config.model}`. "
        + ("A peft adapter: load it on that base." if adapter else "A whole model: load it with transformers."),
        f"## Scores\n\n{_scores(what)}",
        f"## Hypothesis\n\n{what.node.plan.hypothesis if what.node.plan else ''}",
        f"## Training\n\n```toml\n{tomli_w.dumps(what.plan.train.model_dump(mode='json', exclude_none=True))}```",
        f"## Data\n\n{_data(what)}",
        f"## Licence\n\nOf the task's data: {what.card.licence or UNKNOWN}. The base model's own licence holds as well.",
    ]
    return "\n\n".join(parts) + "\n"


def _scores(what: Recorded) -> str:
    lines = ["| split | metric | score | interval | n |", "|---|---|---|---|---|"]
    lines += [_row("dev", score) for score in what.result.scores.values()]
    chosen = what.status.chosen
    if chosen is not None and (chosen.node, chosen.trial) == (what.node.id, what.trial.trial) and chosen.test:
        lines.append(_row("sealed test", chosen.test))
    return "\n".join(lines)


def _row(split: str, score: Score) -> str:
    return f"| {split} | {score.metric} | {score.value:.4f} | [{score.low:.4f}, {score.high:.4f}] | {score.n} |"


def _data(what: Recorded) -> str:
    lines = [f"Task `{what.card.name}`, seed {what.trial.seed}."]
    if what.manifest:
        lines.append(f"{what.manifest.get('rows')} rows, SHA-256 `{what.manifest.get('sha256')}` (data-manifest.json).")
    if what.node.plan:
        recipe = json.dumps(what.node.plan.data.model_dump(mode="json"), indent=1, ensure_ascii=False)
        lines.append(f"\n```json\n{recipe}\n```")
    return "\n".join(lines)
