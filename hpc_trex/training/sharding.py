"""Fully sharded data parallelism (FSDP2, PyTorch's ``fully_shard``): each process holds a part of weights, gradients and optimizer.

A layer's weights are put together where they are needed and let go afterwards. accelerate drives FSDP2 on GPUs only; this
uses PyTorch's own functions, so that what is tested over gloo on CPUs is what runs over NCCL.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from hpc_trex.training.compiled import layers
from hpc_trex.training.losses import LossModel, choose_chunk
from hpc_trex.training.ranks import Ranks

T = TypeVar("T")


class ShardedRanks(Ranks):
    """Processes that share one model. What goes to disk is whole, so any number of them, or DDP, can go on from it."""

    name = "fsdp"

    def __init__(self, accelerator: Any, *, half: bool) -> None:
        super().__init__(accelerator)
        self._half = half

    def losses(self, model: Any, wanted: str) -> LossModel:
        """Return the model with its loss, sharded: each layer by itself, and the rest together."""
        if self._losses is None:
            self._losses = LossModel(model, None)
            policy = MixedPrecisionPolicy(
                param_dtype=torch.bfloat16 if self._half else None, reduce_dtype=torch.float32 if self._half else None
            )
            # What goes into the loss beside the weights (margins of a reference, advantages) is not to be rounded.
            outermost = replace(policy, cast_forward_inputs=False)
            mesh = init_device_mesh(self.device.type, (self.world,))
            for layer in layers(model):
                fully_shard(layer, mesh=mesh, mp_policy=policy)
            # Let go after each forward pass, too: what stays together has no parts that an optimizer could hold.
            fully_shard(self._losses, mesh=mesh, mp_policy=outermost, reshard_after_forward=True)
            self._losses.chunk = choose_chunk(wanted, self.ask)
        return self._losses

    def ask(self, question: Callable[[Any], T]) -> T:
        """Return what a question about the model's answers finds, its weights put together meanwhile. Called on all ranks."""
        assert self._losses is not None
        self._losses.compute = lambda model, _: question(model)  # type: ignore[assignment, return-value]
        found: Any = self._losses()
        return found  # type: ignore[no-any-return]

    def prepare(self, optimizer: Any) -> tuple[Any, Any]:
        """Return the sharded model and the optimizer as they are."""
        return self._losses, optimizer

    def apart(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context that does nothing: gradients are exchanged each time, since whole ones are what there is no room for."""
        return contextlib.nullcontext()

    def backward(self, loss: Any) -> None:
        """Make the gradients of a loss that is a sum over ranks; FSDP averages them."""
        (loss * self.world).backward()

    def clip(self, model: Any, limit: float) -> float:
        """Scale the gradients down to a norm of ``limit`` over all parts and return the norm that they had."""
        weights = [value for value in model.parameters() if value.requires_grad]
        return float(whole(torch.nn.utils.clip_grad_norm_(weights, limit)))

    def state(self, model: Any, optimizer: Any) -> dict[str, Any]:
        """Return trained weights and optimizer state, put together on the CPU of every rank, one tensor after the other."""
        weights = {name: gathered(value) for name, value in model.named_parameters() if value.requires_grad}
        plain = optimizer.state_dict()
        held = {key: {name: gathered(value) for name, value in own.items()} for key, own in plain["state"].items()}
        return {"weights": weights, "optimizer": plain | {"state": held}}

    def put(self, weight: Any, value: Any) -> None:
        """Give a weight its value, of which each rank keeps its part."""
        weight.copy_(parted(value, weight))

    def put_optimizer(self, optimizer: Any, state: dict[str, Any]) -> None:
        """Give an optimizer its state, of which each rank keeps its part."""
        weights = [value for group in optimizer.param_groups for value in group["params"]]
        held = {
            key: {name: parted(value, weights[key]) for name, value in own.items()}
            for key, own in state["state"].items()
        }
        optimizer.load_state_dict(state | {"state": held})

    def saved(self, model: Any) -> dict[str, Any] | None:
        """Return what is to be saved of the model, put together: all weights, or those that were trained. Called on all ranks."""
        seen: dict[int, Any] = {}
        names = {name for name, value in model.named_parameters(remove_duplicate=False) if value.requires_grad}
        every = model.state_dict(keep_vars=True)
        adapters = hasattr(model, "get_base_model")
        for value in (value for name, value in every.items() if not adapters or name in names):
            seen.setdefault(id(value), gathered(value))
        return {name: seen[id(value)] for name, value in every.items() if id(value) in seen}


def whole(value: Any) -> Any:
    """Return a tensor put together from its parts."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def gathered(value: Any) -> Any:
    """Return a tensor of state put together, on the CPU; what is no tensor as it is."""
    return whole(value.detach()).cpu() if isinstance(value, torch.Tensor) else value


def parted(value: Any, like: Any) -> Any:
    """Return a whole tensor cut as ``like`` is; what has another shape (a count of steps) as it is."""
    if not isinstance(like, DTensor) or not isinstance(value, torch.Tensor) or value.shape != like.shape:
        return value
    # Every rank has read all of it: none has to send, nor to keep in step with the others.
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
