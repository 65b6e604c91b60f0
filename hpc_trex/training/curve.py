"""The training curve: at most 200 points, each the mean since the one before."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hpc_trex.models import LossPoint

MAX_POINTS = 200


class Curve:
    """Collects the loss of every step. Its whole state is ``points`` and ``window``.

    ``ends``: the last step of each stage. No point is a mean over two stages: their losses are of different kinds.
    """

    def __init__(
        self, ends: tuple[int, ...], *, points: Iterable[LossPoint] = (), window: Iterable[float] = ()
    ) -> None:
        self.points = list(points)
        self.window = list(window)
        self._ends = ends
        self._stride = math.ceil(ends[-1] / (MAX_POINTS - len(ends) + 1))

    def add(self, step: int, loss: float, lr: float, tokens: int) -> None:
        """Take in step ``step``, counted from 1."""
        self.window.append(loss)
        if step % self._stride == 0 or step in self._ends:
            mean = sum(self.window) / len(self.window)
            self.points.append(LossPoint(step=step, loss=mean, lr=lr, tokens=tokens))
            self.window.clear()

    @property
    def last(self) -> float | None:
        return self.points[-1].loss if self.points else None
