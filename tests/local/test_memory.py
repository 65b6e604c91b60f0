"""The memory estimate against what tensors really hold: weights, gradients and optimizer exactly, activations nearly."""

from __future__ import annotations

from typing import Any

import pytest

from hpc_trex.memory.estimate import activation_bytes, layer_bytes, trained_weights
from hpc_trex.memory.shape import Shape
from hpc_trex.models import TrainConfig

pytestmark = pytest.mark.local

ROWS, LENGTH = 4, 64
SIZES = {"num_hidden_layers": 3, "hidden_size": 64, "intermediate_size": 160, "vocab_size": 500}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
METHODS = {
    "full": {"method": "full"},
    "lora": {"method": "lora"},
    "lora with dropout": {"method": "lora", "lora": {"dropout": 0.1}},
    "dora": {"method": "lora", "lora": {"use_dora": True}},
    "checkpointing": {"method": "full", "gradient_checkpointing": True},
}


def shape(kind: str, *, tied: bool = False) -> Shape:
    return Shape(kind, layers=3, hidden=64, mlp=160, heads=4, kv_heads=2, head_dim=16, vocabulary=500, tied=tied)


def make(kind: str, train: TrainConfig, *, half: bool = False) -> Any:
    import torch
    import transformers

    from hpc_trex.training.adapters import add_lora

    name = {"qwen2": "Qwen2", "qwen3": "Qwen3", "llama": "Llama"}[kind]
    config = getattr(transformers, f"{name}Config")(**SIZES, tie_word_embeddings=False, attn_implementation="sdpa")
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    if half and train.method == "lora":
        model = model.to(torch.bfloat16)
    if train.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return (add_lora(model, train.lora) if train.method == "lora" else model).train()


def forward(model: Any, *, half: bool) -> tuple[Any, int]:
    """Return the loss of four packed rows and the bytes that autograd keeps for the way back, weights' casts left out."""
    import torch

    from hpc_trex.training.batches import make_batch
    from hpc_trex.training.data import Sample
    from hpc_trex.training.losses import LossModel
    from hpc_trex.training.objective import counted

    weights = {value.untyped_storage().data_ptr() for value in model.parameters()}
    shapes = {tuple(value.shape) for value in model.parameters() if value.ndim == 2}
    kept: dict[int, Any] = {}

    def keep(value: Any) -> Any:
        cast = value.dtype == torch.bfloat16 and {tuple(value.shape), tuple(value.shape)[::-1]} & shapes
        if value.untyped_storage().data_ptr() not in weights and not cast:
            kept[value.untyped_storage().data_ptr()] = value  # held, so that no address is used twice
        return value

    batch = make_batch([Sample(list(range(1, LENGTH + 1)), 0)] * ROWS, "packed", pad_id=0)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=half),
    ):
        loss = LossModel(model, 256)(*counted(batch, "cpu"))
    return loss, sum(value.untyped_storage().nbytes() for value in kept.values())


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("method", METHODS)
def test_weights_gradients_and_optimizer_are_counted_exactly(kind: str, method: str) -> None:
    from hpc_trex.training.loop import make_optimizer

    train = TrainConfig.model_validate(METHODS[method])
    model = make(kind, train)
    own, trained = shape(kind), trained_weights(shape(kind), train)
    adapters = trained if train.method == "lora" else 0
    assert sum(value.numel() for value in model.parameters()) == own.weights + adapters
    optimizer = make_optimizer(model, train)
    forward(model, half=False)[0].backward()
    optimizer.step()
    assert sum(value.grad.nbytes for value in model.parameters() if value.grad is not None) == 4 * trained
    states = [value for state in optimizer.state.values() for value in state.values() if value.ndim]
    assert sum(value.nbytes for value in states) == 8 * trained


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["llama", "qwen3"])
@pytest.mark.parametrize("method", ["full", "lora", "lora with dropout"])
def test_activations_are_estimated_within_7_percent(kind: str, method: str, half: bool) -> None:
    train = TrainConfig.model_validate(METHODS[method] | {"max_seq_len": LENGTH})
    _, kept = forward(make(kind, train, half=half), half=half)
    guess = activation_bytes(shape(kind), train, ROWS * LENGTH, half=half)
    assert guess == pytest.approx(kept, rel=0.07)


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_with_checkpointing_the_layers_inputs_are_kept_and_one_layer_at_a_time(kind: str) -> None:
    train = TrainConfig.model_validate(METHODS["checkpointing"] | {"max_seq_len": LENGTH})
    _, kept = forward(make(kind, train), half=False)
    guess = activation_bytes(shape(kind), train, ROWS * LENGTH, half=False)
    one = ROWS * LENGTH * layer_bytes(shape(kind), train, half=False)
    assert guess - one == pytest.approx(kept, rel=0.05)
