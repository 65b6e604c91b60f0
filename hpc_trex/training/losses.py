"""The cross entropy of a micro-batch inside the model's forward pass, whole or in chunks. Imports torch at once.

With a large vocabulary the logits are most of a training's memory. The chunked loss sends only the places that carry
loss through the output head, a chunk at a time, and keeps of each chunk its gradient (vocabulary no longer among its
dimensions), never its logits: the method of Liger's fused linear cross entropy (arXiv 2410.10989) in plain torch, so
that one code runs on CPUs and GPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from hpc_trex.training.say import say

#: Elements of one chunk's logits: 256 MiB in fp32.
CHUNK_ELEMENTS = 2**26
#: A chunk is no smaller than this many places, whatever the vocabulary: small products leave a GPU idle.
LEAST_PLACES = 256
#: Of model, chunk and the tensors of a micro-batch, the loss summed over it.
Compute = Callable[..., torch.Tensor]


class LossModel(torch.nn.Module):
    """A causal language model whose forward pass returns the loss of a micro-batch, not its logits.

    It is what data parallelism and autocast wrap; the model inside keeps its own parameter names.
    """

    def __init__(self, model: Any, chunk: int | None) -> None:
        super().__init__()
        self.model = model
        self.chunk = chunk
        """Places a chunk; None: all logits at once."""
        self.compute: Compute = cross_entropy
        """What loss it is."""

    def forward(self, *arguments: Any) -> torch.Tensor:
        """Return what ``compute`` makes of model, chunk and the arguments."""
        return self.compute(self.model, self.chunk, *arguments)


def cross_entropy(
    model: Any, chunk: int | None, inputs: dict[str, torch.Tensor], places: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Return the cross entropy summed over ``places`` (N,), indices into the flattened (B, T), in fp32.

    ``targets`` (N,) are the tokens that must be predicted there.
    """
    if chunk is None:
        logits = model(**inputs, use_cache=False).logits
        return functional.cross_entropy(logits.flatten(0, 1)[places].float(), targets, reduction="sum")
    decoder, head = parts(model)
    hidden = decoder(**inputs, use_cache=False).last_hidden_state.flatten(0, 1)[places]
    return _chunked(hidden, head.weight, head.bias, targets, chunk)


def log_probabilities(
    model: Any,
    chunk: int | None,
    inputs: dict[str, torch.Tensor],
    places: torch.Tensor,
    targets: torch.Tensor,
    temperature: float = 1.0,
) -> torch.Tensor:
    """Return the log-probability of each target (N,), in fp32, where :func:`cross_entropy` returns minus their sum.

    ``temperature``: of the model that answers so, its logits divided by it. What a target is worth is known only when all
    of a sample's are: the logits of a chunk are made again on the way back.
    """
    if chunk is None:
        return _chosen(model(**inputs, use_cache=False).logits.flatten(0, 1)[places], targets, temperature)
    decoder, head = parts(model)
    hidden = decoder(**inputs, use_cache=False).last_hidden_state.flatten(0, 1)[places]
    made = [
        checkpoint(
            _projected,
            hidden[start : start + chunk],
            head.weight,
            head.bias,
            targets[start : start + chunk],
            temperature,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for start in range(0, max(1, len(targets)), chunk)
    ]
    return torch.cat(made)


def _projected(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor, temperature: float
) -> torch.Tensor:
    return _chosen(functional.linear(hidden.to(weight.dtype), weight, bias), targets, temperature)


def _chosen(logits: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    numbers = logits.float()
    if temperature != 1:
        numbers = numbers / temperature
    return numbers.gather(1, targets[:, None]).squeeze(1) - numbers.logsumexp(dim=-1)


def loss_model(model: Any, wanted: str) -> LossModel:
    """Return the model with its loss; ``wanted`` is ``auto``, ``plain`` or ``chunked``."""
    return LossModel(model, choose_chunk(wanted, lambda question: question(model)))


def choose_chunk(wanted: str, ask: Callable[[Callable[[Any], int | None]], int | None]) -> int | None:
    """Return the places of a chunk, or None for all at once. ``ask`` puts a question to the model.

    A model that changes its logits behind the head (Gemma's soft cap, Cohere's scale) or whose head is more than one
    matrix gets the plain loss; the log says so.
    """
    if wanted == "plain":
        return None
    chunk = ask(lambda model: chunk_places(parts(model)[1].weight.shape[0]) if chunking_is_exact(model) else None)
    if chunk is None:
        say("the loss is computed at once: this architecture's logits are not its last states times its output head")
    return chunk


def chunk_places(vocabulary: int) -> int:
    """Return the places of one chunk."""
    return max(LEAST_PLACES, CHUNK_ELEMENTS // vocabulary)


def parts(model: Any) -> tuple[Any, Any]:
    """Return decoder and output head of a causal language model, also of one with adapters."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return getattr(base, base.base_model_prefix), base.get_output_embeddings()


def chunking_is_exact(model: Any) -> bool:
    """Tell whether the head on the decoder's last states gives the model's own logits, bit by bit. Two passes over a few tokens."""
    try:
        decoder, head = parts(model)
    except AttributeError:  # no decoder apart from its head
        return False
    if type(head) is not torch.nn.Linear:
        return False
    was_training = model.training
    ids = torch.arange(8, device=head.weight.device)[None] % head.weight.shape[0]
    model.eval()
    try:
        with torch.no_grad():
            whole = model(input_ids=ids, use_cache=False).logits
            return torch.equal(whole, head(decoder(input_ids=ids, use_cache=False).last_hidden_state))
    finally:
        model.train(was_training)


def _chunked(*arguments: Any) -> torch.Tensor:
    loss: torch.Tensor = _ChunkedCrossEntropy.apply(*arguments)  # type: ignore[no-untyped-call]
    return loss


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Summed cross entropy of a linear head. The gradients are made with the loss: no logits wait for the way back."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        chunk: int,
    ) -> torch.Tensor:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        states, matrix = hidden.to(dtype), weight.to(dtype)
        # Sums over chunks stay in fp32; of the states each chunk has its own part.
        made = (dtype, torch.float32, torch.float32)
        wants = ctx.needs_input_grad[:3]
        values = (hidden, weight, bias)
        grads = [
            torch.zeros_like(value, dtype=kept) if want and value is not None else None
            for value, want, kept in zip(values, wants, made, strict=True)
        ]
        loss = hidden.new_zeros((), dtype=torch.float32)
        with torch.autocast(kind, enabled=False):
            for start in range(0, len(targets), chunk):
                part = slice(start, start + chunk)
                offset = None if bias is None else bias.to(dtype)
                logits = functional.linear(states[part], matrix, offset).float()
                norm = logits.logsumexp(dim=-1, keepdim=True)
                wanted = targets[part, None]
                loss += (norm - logits.gather(1, wanted)).sum()
                if any(wants):
                    # The gradient of the loss by the logits is softmax minus one-hot.
                    slope = logits.sub_(norm).exp_().scatter_add_(1, wanted, torch.full_like(norm, -1.0))
                    _add(grads, slope, part, states, matrix)
        ctx.grads = [
            one if one is None or value is None else one.to(value.dtype)
            for one, value in zip(grads, values, strict=True)
        ]
        return loss

    @staticmethod
    def backward(ctx: Any, *above: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        # A slope of no dimension takes part in fp32: rounded to bf16 first, it would be wrong by the same part everywhere.
        scaled = [None if one is None else one.mul_(above[0]) for one in ctx.grads]
        del ctx.grads
        return (*scaled, None, None)


def _add(
    grads: list[torch.Tensor | None], slope: torch.Tensor, part: slice, states: torch.Tensor, matrix: torch.Tensor
) -> None:
    """Add one chunk to the gradients of states, matrix and bias."""
    of_states, of_matrix, of_bias = grads
    if of_bias is not None:
        of_bias += slope.sum(0)
    slope = slope.to(states.dtype)
    if of_states is not None:
        torch.mm(slope, matrix, out=of_states[part])
    if of_matrix is None:
        return
    if states.dtype == torch.float32:
        of_matrix.addmm_(slope.T, states[part])
    else:
        of_matrix += slope.T @ states[part]
