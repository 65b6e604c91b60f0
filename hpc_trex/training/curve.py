"""The training curve: at most 200 points, each the mean since the one before."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hpc_trex.models import LossPoint

MAX_POINTS = 200


class Curve:
    """Collects the loss of every step. Its whole state is ``points`` and ``window``."""

    def __init__(self, total: int, *, points: Iterable[LossPoint] = (), window: Iterable[float] = ()) -> None:
        self.points = list(points)
        self.window = list(window)
        self._total = total
        self._stride = math.ceil(total / MAX_POINTS)

    def add(self, step: int, loss: float, lr: float, tokens: int) -> None:
        """Take in step ``step``, counted from 1."""
        self.window.append(loss)
        if step % self._stride == 0 or step == self._total:
            mean = sum(self.window) / len(self.window)
            self.points.append(LossPoint(step=step, loss=mean, lr=lr, tokens=tokens))
            self.window.clear()

    @property
    def last(self) -> float | None:
        return self.points[-1].loss if self.points else None
