"""A decoder's sizes out of its ``config.json``, and how many weights it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from hpc_trex.builtin import PREFIX, builtin

#: Architectures with the layer that is counted here: grouped attention, a gated MLP, two RMS norms.
KNOWN = ("llama", "mistral", "qwen2", "qwen3")


class Matrix(NamedTuple):
    """One linear module: weights of ``outputs`` x ``inputs``."""

    name: str
    inputs: int
    outputs: int
    bias: bool

    @property
    def weights(self) -> int:
        return self.inputs * self.outputs + self.outputs * self.bias


class Shape(NamedTuple):
    """The sizes of a decoder, in units."""

    kind: str
    """``model_type`` of transformers."""
    layers: int
    hidden: int
    mlp: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    attention_bias: bool = False
    mlp_bias: bool = False

    @property
    def queries(self) -> int:
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def normed_heads(self) -> bool:
        """Queries and keys have norms of their own."""
        return self.kind == "qwen3"

    def matrices(self) -> tuple[Matrix, ...]:
        """Return the linear modules of one layer."""
        query_bias = self.attention_bias or self.kind == "qwen2"
        return (
            Matrix("q_proj", self.hidden, self.queries, query_bias),
            Matrix("k_proj", self.hidden, self.keys, query_bias),
            Matrix("v_proj", self.hidden, self.keys, query_bias),
            Matrix("o_proj", self.queries, self.hidden, self.attention_bias),
            Matrix("gate_proj", self.hidden, self.mlp, self.mlp_bias),
            Matrix("up_proj", self.hidden, self.mlp, self.mlp_bias),
            Matrix("down_proj", self.mlp, self.hidden, self.mlp_bias),
        )

    @property
    def linear_weights(self) -> int:
        """Weights of the layers' linear modules: what 4-bit loading makes small."""
        return self.layers * sum(matrix.weights for matrix in self.matrices())

    @property
    def embedding_weights(self) -> int:
        """Weights of the embeddings, and of the output head where it has its own."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def weights(self) -> int:
        """Return all weights."""
        norms = 2 * self.hidden + (2 * self.head_dim if self.normed_heads else 0)
        return self.linear_weights + self.embedding_weights + self.layers * norms + self.hidden


def read_shape(folder: Path) -> Shape | None:
    """Return the shape of the model in ``folder``; None for an architecture that is not counted here, or no config."""
    try:
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if raw.get("model_type") not in KNOWN:
            return None
        heads, hidden = int(raw["num_attention_heads"]), int(raw["hidden_size"])
        return Shape(
            kind=raw["model_type"],
            layers=int(raw["num_hidden_layers"]),
            hidden=hidden,
            mlp=int(raw["intermediate_size"]),
            heads=heads,
            kv_heads=int(raw.get("num_key_value_heads") or heads),
            head_dim=int(raw.get("head_dim") or hidden // heads),
            vocabulary=int(raw["vocab_size"]),
            tied=bool(raw.get("tie_word_embeddings", False)),
            attention_bias=bool(raw.get("attention_bias", False)),
            mlp_bias=bool(raw.get("mlp_bias", False)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # the loading of the model says what is wrong
        return None


def model_shape(name: str, path: str) -> Shape | None:
    """Return the shape of a search's base: a built-in one by its recipe, else the config in its folder."""
    if not name.startswith(PREFIX):
        return read_shape(Path(path)) if path else None
    recipe = builtin(name)
    heads = recipe.heads
    return Shape(
        "qwen3", recipe.layers, recipe.hidden, recipe.mlp, heads, heads, recipe.head_dim, recipe.vocab, tied=True
    )
