"""torch.compile, layer by layer: one compilation serves all layers of a kind, and names and checkpoints stay as they are."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from hpc_trex.training.say import say

#: A test takes one that needs no C++ compiler.
BACKEND = "inductor"


def layers(model: Any) -> list[Any]:
    """Return the layers of a model: the modules that transformers says must not be split."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    kinds = set(base._no_split_modules or ())
    return [module for module in base.modules() if type(module).__name__ in kinds]


def compile_layers(model: Any) -> None:
    """Have each layer compiled at its first call, for rows of any length."""
    found = layers(model)
    for layer in found:
        layer.compile(dynamic=True, backend=BACKEND)
    say(f"torch.compile ({BACKEND}): {len(found)} layers")


def uncompiled(compiled: bool) -> Any:
    """Have compiled layers run as they were written, from now on or within the context that is returned.

    Answers grow token by token, in many shapes. Nothing is done, nor imported, where nothing was compiled.
    """
    return torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()
