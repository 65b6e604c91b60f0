"""Bytes of a training on one GPU: weights, gradients, optimizer, activations, loss.

Weights, gradients and optimizer are counted. Activations are what autograd keeps for the way back in transformers' own
layers under SDPA or flash attention, term by term; docs/training.md compares them with what was measured.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from hpc_trex.memory.shape import Matrix, Shape
from hpc_trex.models import TrainConfig

#: What of a GPU's memory a training can have: the CUDA context, its libraries and fragments take the rest.
USABLE = 0.92
#: As training/losses.py cuts the loss.
CHUNK_ELEMENTS, LEAST_PLACES = 2**26, 256
#: A 4-bit weight with its share of the constants, quantized twice (QLoRA, section 3): 4 + 8/64 + 32/(64 * 256) bits.
NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8
FP32, HALF = 4, 2


class Estimate(NamedTuple):
    """Bytes on one GPU, for one micro-batch."""

    weights: int
    gradients: int
    """Also the copies that data parallelism exchanges."""
    optimizer: int
    activations: int
    loss: int

    @property
    def fixed(self) -> int:
        """What does not depend on the micro-batch."""
        return self.weights + self.gradients + self.optimizer

    @property
    def total(self) -> int:
        return self.fixed + self.activations + self.loss


def estimate(shape: Shape, train: TrainConfig, *, micro: int, processes: int = 1, half: bool = True) -> Estimate:
    """Return the bytes of a training with ``micro`` rows of ``max_seq_len`` places, all of which carry loss.

    Of several stages the largest counts: a pair of a ``dpo`` stage is two rows. ``half``: computing in bf16, as ``precision = auto`` does on a GPU that has it.
    """
    trained = trained_weights(shape, train)
    parts = processes if train.parallel == "fsdp" else 1
    places = micro * train.max_seq_len * (2 if any(stage.objective == "dpo" for stage in train.stages) else 1)
    return Estimate(
        weights=weight_bytes(shape, train, half=half) if parts == 1 else sharded_bytes(shape, train, parts, half=half),
        gradients=trained * FP32 * 2 if processes > parts else math.ceil(trained * FP32 / parts),
        optimizer=math.ceil(2 * trained * FP32 / parts),
        activations=activation_bytes(shape, train, places, half=half),
        loss=loss_bytes(shape, train, places, half=half),
    )


def trained_weights(shape: Shape, train: TrainConfig) -> int:
    """Return how many weights are trained: all, or the adapters (rank times inputs plus outputs; DoRA one more an output)."""
    if train.method == "full":
        return shape.weights
    lora = train.lora
    each = (lora.rank * (m.inputs + m.outputs) + m.outputs * lora.use_dora for m in adapted(shape, train))
    return shape.layers * sum(each)


def adapted(shape: Shape, train: TrainConfig) -> list[Matrix]:
    """Return the linear modules of a layer that get an adapter."""
    targets = train.lora.targets
    return [m for m in shape.matrices() if "all-linear" in targets or any(t.split(".")[-1] == m.name for t in targets)]


def weight_bytes(shape: Shape, train: TrainConfig, *, half: bool) -> int:
    """Return the bytes of all weights: fp32 where they are trained, with autocast's bf16 copies of the matrices."""
    if train.method == "full":
        copies = HALF * (shape.linear_weights + shape.vocabulary * shape.hidden) if half else 0
        return FP32 * shape.weights + copies
    adapters = FP32 * trained_weights(shape, train)
    if train.quantization == "nf4":  # peft keeps everything else in fp32
        return adapters + math.ceil(NF4_BYTES * shape.linear_weights) + FP32 * (shape.weights - shape.linear_weights)
    return adapters + (HALF if half else FP32) * shape.weights


def sharded_bytes(shape: Shape, train: TrainConfig, parts: int, *, half: bool) -> int:
    """Return the bytes of a process's part of the weights, and of those that FSDP2 has together at one time.

    These are, on the way back, the embeddings and the head, a layer and the next one that is fetched, and of a full
    training the gradients of one layer and of the embeddings in fp32 before they are exchanged.
    """
    full, size = train.method == "full", HALF if half else FP32
    kept = FP32 * shape.weights if full else size * shape.weights + FP32 * trained_weights(shape, train)
    layer = shape.linear_weights // shape.layers
    together = size * (shape.embedding_weights + 2 * layer)
    gradients = FP32 * (shape.embedding_weights + layer) if full else 0
    return math.ceil(kept / parts) + together + gradients


def activation_bytes(shape: Shape, train: TrainConfig, places: int, *, half: bool) -> int:
    """Return what is kept for the way back: every layer, or with checkpointing the layers' inputs and one layer."""
    layer = layer_bytes(shape, train, half=half)
    stream = FP32 if train.method == "full" or not half else HALF
    last = shape.hidden * (2 * FP32 if train.method == "full" else FP32)
    if train.gradient_checkpointing:
        return places * (shape.layers * shape.hidden * stream + layer + last)
    return places * (shape.layers * layer + last)


def layer_bytes(shape: Shape, train: TrainConfig, *, half: bool) -> int:
    """Return the bytes that one layer keeps for each place."""
    full, size = train.method == "full", HALF if half else FP32
    norm = 2 * shape.hidden * (FP32 + (FP32 if full else 0))
    heads = 0
    if shape.normed_heads:
        heads = (shape.queries + shape.keys) * (FP32 + (size if full else 0))
    repeated = max(shape.keys, shape.queries)
    attention = size * (2 * shape.queries + 2 * repeated) + FP32 * shape.heads
    # SDPA takes the mask of packed rows as numbers to add, and keeps them; flash attention knows no such mask.
    mask = size * train.max_seq_len if train.packing and train.attention != "flash_attention_2" else 0
    gated = size * 3 * shape.mlp
    return norm + heads + attention + mask + gated + inputs_bytes(shape, train, half=half)


def inputs_bytes(shape: Shape, train: TrainConfig, *, half: bool) -> int:
    """Return what the linear modules of a layer keep of their inputs, for each place.

    In fp32 modules with the same input share it, and the attention keeps the one of ``o_proj`` already. In bf16 each
    module has a cast of its own, with dropout each adapter has an input of its own, and a mask. An adapter keeps also its
    ``rank`` numbers.
    """
    size = HALF if half else FP32
    full = train.method == "full"
    modules = list(shape.matrices()) if full else adapted(shape, train)
    masks = sum(FP32 * m.inputs for m in modules) if train.lora.dropout and not full else 0
    if not full and (half or train.lora.dropout):
        own = sum(size * m.inputs for m in modules)
    elif half:
        own = sum(size * m.inputs for m in modules if m.name != "o_proj")
    else:
        groups = {"q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "gate_proj": "gate", "up_proj": "gate"}
        shared = {groups.get(m.name, m.name): m.inputs for m in modules if m.name != "o_proj"}
        own = size * sum(shared.values())
    if full:
        return own
    return own + size * train.lora.rank * len(modules) + masks


def loss_bytes(shape: Shape, train: TrainConfig, places: int, *, half: bool) -> int:
    """Return the loss's bytes at its peak: the logits of a chunk (or all), and the gradients made with them."""
    size = HALF if half else FP32
    if train.loss == "plain":
        return places * shape.vocabulary * ((size if half else 0) + 3 * FP32)
    chunk = min(places, max(LEAST_PLACES, CHUNK_ELEMENTS // shape.vocabulary))
    head = FP32 * shape.vocabulary * shape.hidden if train.method == "full" else 0
    return chunk * shape.vocabulary * (2 * FP32 + (size if half else 0)) + 2 * places * shape.hidden * size + head
