"""The Executor's bounded repairs: what may be changed of a failed trial without asking the Researcher.

Only changes that leave the experiment the same: how many rows go through the model at once, not how many an optimizer
step sees. Everything else is a new design, and the Researcher's.
"""

from __future__ import annotations

from hpc_trex.models import FATES, FailureClass, TrainConfig


def repaired_train(train: TrainConfig, failure: FailureClass, processes: int) -> TrainConfig | None:
    """Return the configuration for the next attempt of a trial, None when no further attempt makes sense.

    After OOM the micro-batch is halved and the effective batch stays (the training accumulates more passes); None once
    it is 1. After a failure that is not the configuration's (preemption, lost nodes, the time limit) the
    configuration stays. How many attempts there are in all is said by ``FATES``.
    """
    if FATES[failure].retries == 0:
        return None
    if failure is not FailureClass.OOM:
        return train
    now = train.micro_batch_size or max(1, train.batch_size // max(1, processes))
    if now <= 1:
        return None
    return train.model_copy(update={"micro_batch_size": halved(now, train.batch_size, processes)})


def halved(micro: int, batch: int, processes: int) -> int:
    """Return half a micro-batch, rounded down to what divides each process's share of the batch."""
    share = max(1, batch // max(1, processes))
    target = max(1, min(micro, share) // 2)
    return next(size for size in range(target, 0, -1) if share % size == 0)
