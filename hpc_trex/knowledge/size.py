"""The size class of a base model, told without reading its weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hpc_trex.builtin import PREFIX

UNKNOWN = "unknown"
#: Upper bounds in weights, and the class below each.
CLASSES = ((1e8, "under 0.1B"), (1e9, "0.1B to 1B"), (4e9, "1B to 4B"), (15e9, "4B to 15B"), (50e9, "15B to 50B"))
LARGEST = "50B and more"

_BYTES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}
_NAMED = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([bm])(?![A-Za-z0-9])", re.IGNORECASE)


def size_class(model: str, path: str = "") -> str:
    """Return the class of a model by its files, else by its name (``Qwen3-1.7B``), else ``unknown``."""
    if model.startswith(PREFIX):
        return CLASSES[0][1]  # the built-in ones have half a million weights
    weights = _by_files(Path(path)) if path else None
    weights = _by_name(model) if weights is None else weights
    if weights is None:
        return UNKNOWN
    return next((name for bound, name in CLASSES if weights < bound), LARGEST)


def _by_files(folder: Path) -> float | None:
    """Return the number of weights by the size of the files and the type that the configuration names."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    except (OSError, ValueError):
        return None
    if not size or not isinstance(config, dict) or "quantization_config" in config:
        return None
    each = _BYTES.get(str(config.get("dtype") or config.get("torch_dtype")))
    return size / each if each else None


def _by_name(model: str) -> float | None:
    found = _NAMED.findall(model.partition("@")[0])
    if not found:
        return None
    number, unit = found[0]
    return float(number) * (1e9 if unit.lower() == "b" else 1e6)
