"""How many steps a training takes, the learning rate of each, and which samples stand in it. Pure functions of numbers."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from hpc_trex.errors import JobFailure
from hpc_trex.models import FailureClass, TrainConfig

#: The lowest learning rate of the cosine and linear schedules, as a part of the highest.
FLOOR = 0.0


def total_steps(config: TrainConfig, samples: int) -> int:
    """Return the optimizer steps: ``epochs`` over the samples, the last step filled from the next epoch, capped by
    ``max_steps``.
    """
    # Rounded first: 1.1 times 50 is 55.00000000000001 in floating point, and no 56th step was asked for.
    steps = max(1, math.ceil(round(config.epochs * samples / config.batch_size, 9)))
    return steps if config.max_steps is None else min(steps, config.max_steps)


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """Return the learning rate of step ``step`` (from 0): linear warm-up, then constant, linear or cosine to 0."""
    return config.learning_rate * factor(config.schedule, step, total, config.warmup_ratio)


def factor(schedule: Literal["constant", "linear", "cosine"], step: int, total: int, warmup_ratio: float) -> float:
    """Return the part of the highest learning rate, in (0, 1]."""
    warmup = math.ceil(warmup_ratio * total)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, total - warmup)
    part = 1 - done if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return FLOOR + (1 - FLOOR) * part


class Sizes(NamedTuple):
    """How an optimizer step's samples are dealt out."""

    batch: int
    """Samples of a step over all ranks."""
    micro: int
    """Samples of one forward pass of one rank, at most."""
    rank: int
    world: int

    @classmethod
    def of(cls, config: TrainConfig, rank: int, world: int) -> Sizes:
        """Return the sizes. Raises :class:`JobFailure` (CONFIG) for a batch with fewer samples than ranks."""
        if config.batch_size < world:
            raise JobFailure(
                f"batch_size = {config.batch_size} is less than the {world} processes",
                failure=FailureClass.CONFIG,
                hint="raise batch_size or ask for fewer processes",
            )
        share = math.ceil(config.batch_size / world)
        return cls(batch=config.batch_size, micro=min(config.micro_batch_size or share, share), rank=rank, world=world)

    def micro_batches(self, members: list[int]) -> list[list[int]]:
        """Return this rank's part of a step's samples, cut into micro-batches.

        Every rank gets the same number of micro-batches (the last of them may be empty), since all of them meet in
        the reduction at the last.
        """
        own = members[self.rank :: self.world]
        count = math.ceil(math.ceil(len(members) / self.world) / self.micro)
        return [own[index * self.micro : (index + 1) * self.micro] for index in range(count)]
