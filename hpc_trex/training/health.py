"""Recognises a training that diverges before its hours are spent."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from hpc_trex.errors import JobFailure
from hpc_trex.models import FailureClass

_RECENT = 5


class Diverged(JobFailure):
    """The loss is no number any more, or far above where it began (failure class DIVERGED)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, failure=FailureClass.DIVERGED, hint="lower the learning rate or raise warmup_ratio")


class LossWatch:
    """Looks at every step's loss (mean per answer token) and gradient norm.

    Beside NaN and infinity, a mean over the last five steps above three times the first loss *and* above twice the
    loss of guessing, ln(choices), is divergence: such a model is far worse than one that knows nothing. The choices are
    the vocabulary, or 2 where one of two answers is to be preferred.
    """

    def __init__(self, choices: int, *, first: float | None = None, recent: Iterable[float] = ()) -> None:
        self.first = first
        self.recent: deque[float] = deque(recent, maxlen=_RECENT)
        self._guessing = math.log(choices)

    def see(self, step: int, loss: float, gradient_norm: float) -> None:
        """Take in one step. Raises :class:`Diverged`."""
        if not math.isfinite(loss) or not math.isfinite(gradient_norm):
            raise Diverged(f"diverged at step {step}: loss {loss}, gradient norm {gradient_norm}")
        self.first = loss if self.first is None else self.first
        self.recent.append(loss)
        mean = sum(self.recent) / len(self.recent)
        if len(self.recent) == _RECENT and mean > max(3 * self.first, 2 * self._guessing):
            raise Diverged(
                f"diverged at step {step}: mean loss {mean:.2f} over {_RECENT} steps, {self.first:.2f} at first"
            )
