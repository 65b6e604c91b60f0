"""What one stage of a training learns from: the seam between the loop, which counts steps, and a kind of loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from hpc_trex.training.batches import Batch, Layout, make_batch
from hpc_trex.training.data import IGNORED, Sample
from hpc_trex.training.losses import cross_entropy

if TYPE_CHECKING:
    from hpc_trex.training.loop import Loop


class Form(NamedTuple):
    """How samples become tensors."""

    layout: Layout
    additive_mask: bool
    pad_id: int

    def batch(self, samples: Sequence[Sample], *, idle: bool = False) -> Batch:
        """Return a micro-batch. An ``idle`` one carries no loss: a rank that has run out of samples still takes part
        in the exchange of gradients.
        """
        made = make_batch(samples, self.layout, pad_id=self.pad_id, additive=self.additive_mask)
        return made._replace(labels=made.labels.fill_(IGNORED), tokens=0, places=0) if idle else made


class Objective(Protocol):
    """One kind of loss over a stage's items, which are counted from 0."""

    @property
    def size(self) -> int:
        """How many items there are."""
        ...

    @property
    def drawn(self) -> int:
        """How many rows are shuffled and drawn from."""
        ...

    def draw(self, loop: Loop, start: int, count: int) -> list[int]:
        """Return the items of a step: ``count`` from place ``start`` of the stage's stream on. Called on all ranks."""
        ...

    @property
    def compute(self) -> Any:
        """The loss of a micro-batch, summed (``hpc_trex.training.losses.Compute``)."""
        ...

    @property
    def choices(self) -> int | None:
        """Among how many a model that knows nothing guesses: the mean loss is then its logarithm. None: the vocabulary."""
        ...

    def units(self, item: int) -> int:
        """Return by how much an item counts in the mean loss of its step."""
        ...

    def length(self, item: int) -> int:
        """Return the tokens of an item."""
        ...

    def arguments(self, items: list[int], form: Form, device: Any, *, idle: bool) -> tuple[Batch, tuple[Any, ...]]:
        """Return a micro-batch and the arguments of ``compute``."""
        ...

    def begin(self, loop: Loop) -> None:
        """Get ready for the first step. Called on all ranks, the model in place."""
        ...

    def state(self) -> dict[str, Any]:
        """Return the tensors that a checkpoint must hold beside weights and optimizer."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state` returned."""
        ...


class Answers:
    """The cross entropy of samples: of their answers, or of all tokens where they have no prompt."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    @property
    def size(self) -> int:
        return len(self.samples)

    @property
    def drawn(self) -> int:
        return self.size

    def draw(self, loop: Loop, start: int, count: int) -> list[int]:
        """Return the samples in the stream's order."""
        return loop.plan.stream.take(start, count)

    @property
    def compute(self) -> Any:
        return cross_entropy

    @property
    def choices(self) -> int | None:
        return None

    def units(self, item: int) -> int:
        """Return the tokens that carry loss."""
        return self.samples[item].answer_tokens

    def length(self, item: int) -> int:
        """Return the tokens of the sample."""
        return len(self.samples[item].ids)

    def arguments(self, items: list[int], form: Form, device: Any, *, idle: bool) -> tuple[Batch, tuple[Any, ...]]:
        """Return a micro-batch with inputs, places and targets (:func:`counted`)."""
        batch = form.batch([self.samples[item] for item in items], idle=idle)
        return batch, counted(batch, device)

    def begin(self, loop: Loop) -> None:
        """Nothing to do."""

    def state(self) -> dict[str, Any]:
        """Return nothing: everything is a function of the step."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


def counted(batch: Batch, device: Any) -> tuple[dict[str, Any], Any, Any]:
    """Return the arguments of :func:`cross_entropy`: inputs, the flat indices of the places that carry loss, their targets."""
    labels = batch.labels.flatten()
    # Found on the CPU: on a GPU the number of places would have to be waited for.
    places = (labels != IGNORED).nonzero().squeeze(1)
    inputs = {name: value.to(device) for name, value in batch.inputs.items()}
    return inputs, places.to(device), labels[places].to(device)
