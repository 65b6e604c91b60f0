"""The size class of a base model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpc_trex.knowledge.size import size_class


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("builtin:tiny-qwen3", "under 0.1B"),
        ("Qwen/Qwen3-1.7B", "1B to 4B"),
        ("Qwen/Qwen3-0.6B@0123abcd", "0.1B to 1B"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "0.1B to 1B"),
        ("meta-llama/Llama-3.1-8B-Instruct", "4B to 15B"),
        ("org/Big-70b", "50B and more"),
        ("org/no-size", "unknown"),
        ("org/v2beta", "unknown"),
    ],
)
def test_it_is_told_from_the_name(model: str, size: str) -> None:
    assert size_class(model) == size


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_files_say_it_better_than_the_name(tmp_path: Path, key: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({key: "bfloat16"}))
    with (tmp_path / "model.safetensors").open("wb") as handle:
        handle.truncate(3 * 10**9)  # sparse: 1.5 billion weights of two bytes
    assert size_class("org/My-70B", str(tmp_path)) == "1B to 4B"


@pytest.mark.parametrize("config", ["{", "[]", "{}", '{"dtype": "bfloat16", "quantization_config": {}}'])
def test_where_the_files_do_not_say_the_name_does(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "model.safetensors").write_bytes(b"x" * 1000)
    assert size_class("org/My-70B", str(tmp_path)) == "50B and more"
    assert size_class("org/My-70B", str(tmp_path / "gone")) == "50B and more"
