"""The built-in base models by name, and where they are cached. No torch: the controller asks here.

A built-in model is really pre-trained, once, by a job of kind ``base`` (``hpc_trex.training.base_model``).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import hpc_trex
from hpc_trex.errors import NotFound
from hpc_trex.models import digest

PREFIX = "builtin:"


class BuiltinModel(NamedTuple):
    """The recipe of one built-in model: architecture (sizes in units), corpus and training."""

    name: str
    title: str
    layers: int = 2
    hidden: int = 128
    heads: int = 4
    head_dim: int = 32
    mlp: int = 352
    vocab: int = 800
    max_positions: int = 1024
    embedding_std: float = 0.09
    """With transformers' default of 0.02 the loss stays on its first plateau much longer."""
    adam_beta2: float = 0.98
    learning_rate: float = 3e-3
    grad_clip: float = 1.0
    batch_size: int = 32
    steps: int = 555
    """Bounded by steps, not seconds, so that every machine makes the same model."""
    rows_per_family: int = 1500
    seed: int = 0


BUILTIN_MODELS: dict[str, BuiltinModel] = {
    "tiny-qwen3": BuiltinModel(
        name="tiny-qwen3",
        title="Qwen3 architecture, 0.5 M parameters, pre-trained here in under a minute on generated rows",
    ),
}


def builtin(name: str) -> BuiltinModel:
    """Return a built-in model by ``builtin:NAME`` or ``NAME``. Raises :class:`NotFound`."""
    model = BUILTIN_MODELS.get(name.removeprefix(PREFIX))
    if model is None:
        raise NotFound(
            f"no built-in model {name!r}",
            hint="built-in models: " + ", ".join(f"{PREFIX}{known}" for known in BUILTIN_MODELS),
        )
    return model


def builtin_path(name: str, cache_dir: str | Path, *, steps: int | None = None) -> Path:
    """Return the folder of a built-in model, made already or not. ``steps`` replaces the recipe's (a short test run).

    The folder's name carries the digest of the recipe and of the code that makes the model and its corpus, so a
    changed recipe is never served an old model.
    """
    model = builtin(name)
    if steps is not None:
        model = model._replace(steps=steps)
    recipe = model._asdict()
    recipe.pop("title")
    identity = digest({"recipe": recipe, "code": _code_digest()})
    return Path(cache_dir) / "models" / f"{model.name}-{identity[:16]}"


def _code_digest() -> str:
    """Return the SHA-256 of the sources that decide what the model learns."""
    package = Path(hpc_trex.__file__).parent
    own = [package / "training" / "base_model.py"]
    corpus = [package / "ftbench" / "corpus.py", *sorted((package / "ftbench" / "generators").rglob("*.py"))]
    total = hashlib.sha256()
    for path in own + corpus:
        total.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()
