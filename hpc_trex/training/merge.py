"""``python -m hpc_trex.training.merge BASE ADAPTER TARGET``: a base with its adapter worked into its weights, on disk.

A process of its own: the command line that starts it imports no torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hpc_trex.models import ModelRef


def merge(base: str, adapter: str, target: str) -> None:
    """Write the merged model, in the base's own precision, with its tokenizer. Raises ``JobFailure`` for what does not load."""
    import torch

    from hpc_trex.training.load import load_model, load_tokenizer

    ref = ModelRef(name=base, path=base, adapter=adapter)
    kept = stored_dtype(Path(base))
    # Added in fp32, so that a small change is not lost on the way; then back to what the base was stored in.
    model = load_model(ref, attention="auto", precision="fp32").model.merge_and_unload()
    model.to(getattr(torch, kept)).save_pretrained(target, safe_serialization=True)
    load_tokenizer(ref).save_pretrained(target)


def stored_dtype(base: Path) -> str:
    """Return the precision that the base's own config names, ``float32`` where it names none."""
    import json

    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


if __name__ == "__main__":
    merge(*sys.argv[1:4])
