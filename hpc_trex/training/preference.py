"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290): of two answers to a prompt one is better.

The loss of a pair is -log sigmoid(beta * (m - r)): m is by how much the model finds the better answer likelier than the
worse one (log-probabilities summed over their tokens), r the same of the model that the stage began with. r is a number
a pair, made once before the first step and kept in the checkpoints: no second model is held in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional

from hpc_trex.models import Heartbeat
from hpc_trex.training.batches import Batch
from hpc_trex.training.data import Sample
from hpc_trex.training.losses import log_probabilities
from hpc_trex.training.objective import Form, counted
from hpc_trex.training.say import say

if TYPE_CHECKING:
    from hpc_trex.training.loop import Loop


class Pair(NamedTuple):
    """Two answers to one prompt."""

    chosen: Sample
    rejected: Sample


class Preference:
    """The DPO loss over pairs; a micro-batch of n pairs is 2 n samples, packed like others."""

    def __init__(self, pairs: list[Pair], beta: float) -> None:
        self.pairs = pairs
        self.beta = beta
        self.reference: torch.Tensor | None = None
        """(pairs,), fp32 on the CPU."""

    @property
    def size(self) -> int:
        return len(self.pairs)

    @property
    def drawn(self) -> int:
        return self.size

    def draw(self, loop: Loop, start: int, count: int) -> list[int]:
        """Return the pairs in the stream's order."""
        return loop.plan.stream.take(start, count)

    @property
    def choices(self) -> int:
        """The better answer or the worse one."""
        return 2

    def units(self, item: int) -> int:  # noqa: ARG002 - of other objectives it depends on the item
        """Return 1: pairs count alike, however long they are."""
        return 1

    def length(self, item: int) -> int:
        """Return the tokens of the longer answer with its prompt."""
        return max(len(sample.ids) for sample in self.pairs[item])

    def arguments(self, items: list[int], form: Form, device: Any, *, idle: bool) -> tuple[Batch, tuple[Any, ...]]:
        """Return a micro-batch of the better answers, then the worse ones, and the arguments of :meth:`compute`."""
        pairs = [self.pairs[item] for item in items]
        batch = form.batch([*(pair.chosen for pair in pairs), *(pair.rejected for pair in pairs)], idle=idle)
        inputs, places, targets = counted(batch, device)
        owners = batch.owners.flatten().to(device)[places]
        reference = None if self.reference is None else self.reference[items].to(device)
        return batch, (inputs, places, targets, owners, len(items), reference)

    def compute(
        self,
        model: Any,
        chunk: int | None,
        inputs: dict[str, torch.Tensor],
        places: torch.Tensor,
        targets: torch.Tensor,
        owners: torch.Tensor,
        pairs: int,
        reference: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return the loss summed over the pairs; without a reference the margins (pairs,) themselves."""
        tokens = log_probabilities(model, chunk, inputs, places, targets)
        chosen, rejected = tokens.new_zeros(2 * pairs).index_add(0, owners, tokens).chunk(2)
        margins = chosen - rejected
        if reference is None:
            return margins
        return -functional.logsigmoid(self.beta * (margins - reference)).sum()

    def begin(self, loop: Loop) -> None:
        """Measure the margins of the model as it is now, each rank those of its part; no dropout."""
        if self.reference is not None:
            return
        say(f"measuring how the model prefers in {self.size} pairs before it is trained")
        found = torch.zeros(self.size, dtype=torch.float32)
        loop.losses.eval()
        order = sorted(range(self.size), key=lambda item: -self.length(item))
        with torch.no_grad():
            for part in loop.sizes.micro_batches(order):
                _, arguments = self.arguments(part or order[:1], loop.plan.form, loop.device, idle=not part)
                margins = loop.losses(*arguments)
                if part:
                    found[part] = margins.float().cpu()
                loop.beat(Heartbeat(phase="loading", message="the preferences of the model before the stage"))
        loop.losses.train()
        self.reference = loop.ranks.total(found.to(loop.device)).cpu()

    def state(self) -> dict[str, Any]:
        """Return the margins of the first model, which is gone when a training is resumed."""
        assert self.reference is not None
        return {"reference": self.reference}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the margins. Raises ``ValueError`` where they are those of other pairs."""
        if state["reference"].shape != (self.size,):
            raise ValueError(f"it holds {len(state['reference'])} pairs, the stage has {self.size}")
        self.reference = state["reference"]
