"""What ``hpc-trex train`` and ``evaluate`` are told: one small TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import Field, ValidationError

from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.models import DataRecipe, EvalSettings, Record, Resources, TrainConfig


class HandSpec(Record):
    """One training or evaluation. Paths are relative to the file's own folder."""

    model: str = "builtin:tiny-qwen3"
    """``builtin:NAME``, a folder or a hub id, as ``launch --model``."""
    adapter: str | None = None
    """Folder of a peft adapter on top of it: evaluated, trained on, or, with ``method = "full"``, merged and trained on."""
    task: str | None = None
    """A built-in task or the path of a task card: its sources are trained on, its dev rows evaluated."""
    data: str | None = None
    """A prepared set (a folder with ``manifest.json``) to train on instead of the task's sources."""
    recipe: DataRecipe | None = None
    """How the task's sources become the training set; default: all rows of all sources."""
    out: str = Field(min_length=1)
    """Folder of everything that comes of it."""
    seed: int = 0
    train: dict[str, object] = {}
    """Fields of TrainConfig, over those of the task card."""
    evaluate: EvalSettings = EvalSettings()
    resources: Resources = Resources()
    """What the jobs may use. Without ``gpus_per_node`` each process of a training or evaluation gets a GPU where there are as many."""


def read_spec(path: Path) -> HandSpec:
    """Return the spec of a file. Raises :class:`NotFound`, or :class:`UsageProblem` that names file and key."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound(f"{path} does not exist", hint="docs/training.md shows a whole spec") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise UsageProblem(f"{path}: not valid TOML: {error}", hint="docs/training.md shows a whole spec") from error
    try:
        spec = HandSpec.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageProblem(
            f"{path}: {key}: {first['msg']}", hint="docs/training.md lists the keys of a spec"
        ) from error
    folder = path.absolute().parent
    changes = {name: _beside(folder, value) for name in ("out", "adapter", "data") if (value := getattr(spec, name))}
    for name in ("model", "task"):  # names of other things, too
        value = getattr(spec, name)
        if value and (folder / Path(value).expanduser()).exists():
            changes[name] = _beside(folder, value)
    return spec.model_copy(update=changes)


def _beside(folder: Path, text: str) -> str:
    return str((folder / Path(text).expanduser()).absolute())


def train_config(given: dict[str, object], default: dict[str, object]) -> TrainConfig:
    """Return the training of a spec over a task card's. Raises :class:`UsageProblem` for a bad field."""
    try:
        return TrainConfig.model_validate({**default, **given})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, ("train", *first["loc"])))
        raise UsageProblem(f"{key}: {first['msg']}", hint="hpc-trex config schema TrainConfig") from error
