"""The processes of a training, each of which holds the whole model: what the loop needs of accelerate, and no more."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from hpc_trex.training.losses import LossModel, loss_model

T = TypeVar("T")


class Ranks:
    """Data parallel (DDP): all processes hold all weights and exchange their gradients. Also the case of one process."""

    name = "ddp"

    def __init__(self, accelerator: Any) -> None:
        self.accelerator = accelerator
        self._losses: LossModel | None = None
        self._wrapped: Any = None

    @property
    def rank(self) -> int:
        return int(self.accelerator.process_index)

    @property
    def world(self) -> int:
        return int(self.accelerator.num_processes)

    @property
    def device(self) -> Any:
        return self.accelerator.device

    def losses(self, model: Any, wanted: str) -> LossModel:
        """Return the model with its loss, the same object in every stage: a second wrapper would leave its hooks on
        the weights.
        """
        if self._losses is None:
            self._losses = loss_model(model, wanted)
        return self._losses

    def ask(self, question: Callable[[Any], T]) -> T:
        """Return what a question about the model's answers finds. Called on all ranks, after :meth:`losses`."""
        assert self._losses is not None
        return question(self._losses.model)

    def prepare(self, optimizer: Any) -> tuple[Any, Any]:
        """Return the model of :meth:`losses` as it is to be called, and the optimizer.

        accelerate holds on to what it is given: the moments of the stage before are let go.
        """
        self.accelerator.free_memory()
        if self._wrapped is None:
            self._wrapped = self.accelerator.prepare_model(self._losses)
        return self._wrapped, self.accelerator.prepare_optimizer(optimizer)

    def apart(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which gradients are added up and not exchanged."""
        held: contextlib.AbstractContextManager[Any] = self.accelerator.no_sync(self._wrapped)
        return held

    def backward(self, loss: Any) -> None:
        """Make the gradients of a loss that is a sum over ranks, where each rank has its part: they are averaged."""
        self.accelerator.backward(loss * self.world)

    def clip(self, model: Any, limit: float) -> float:
        """Scale the gradients down to a norm of ``limit`` and return the norm that they had."""
        return float(self.accelerator.clip_grad_norm_(model.parameters(), limit))

    def total(self, values: Any) -> Any:
        """Return the sum of a tensor over all ranks."""
        return self.accelerator.reduce(values, reduction="sum")

    def heard(self, value: T) -> list[T]:
        """Return what each rank has, in their order."""
        import torch

        if self.world == 1:
            return [value]
        every: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(every, value)
        return every

    def wait(self) -> None:
        """Wait until all ranks are here."""
        self.accelerator.wait_for_everyone()

    def state(self, model: Any, optimizer: Any) -> dict[str, Any]:
        """Return the trained weights by name and the optimizer's state, whole. Called on all ranks."""
        weights = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
        return {"weights": weights, "optimizer": optimizer.state_dict()}

    def put(self, weight: Any, value: Any) -> None:
        """Give a weight its value, which is whole."""
        weight.copy_(value)

    def put_optimizer(self, optimizer: Any, state: dict[str, Any]) -> None:
        """Give an optimizer its state, which is whole."""
        optimizer.load_state_dict(state)

    def saved(self, model: Any) -> dict[str, Any] | None:  # noqa: ARG002 - of sharded ones it is
        """Return what is to be saved of the model where that is not what it holds itself."""
        return None
