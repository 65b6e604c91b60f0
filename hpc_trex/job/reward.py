"""The task's own scorer as the reward of a ``grpo`` stage. It judges training rows; dev and test rows are not read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hpc_trex.errors import JobFailure
from hpc_trex.files import read_record
from hpc_trex.models import FailureClass, JobSpec, TaskCard, reward_obstacle

if TYPE_CHECKING:
    from hpc_trex.training.reinforce import Reward


def task_reward(spec: JobSpec) -> Reward | None:
    """Return the reward of a training that has a stage for it, else None.

    Raises :class:`JobFailure` (CONFIG) where there is no task, or its metric cannot judge an answer by itself.
    """
    if spec.train is None or all(stage.objective != "grpo" for stage in spec.train.stages):
        return None
    card = read_record(Path(spec.task_card), TaskCard)
    obstacle = "there is no task whose scorer could judge" if card is None else reward_obstacle(card.metric)
    if card is None or obstacle:
        raise JobFailure(
            f"a grpo stage is not possible: {obstacle}", failure=FailureClass.CONFIG, hint="leave the stage out"
        )
    from hpc_trex.evaluation.metrics import judge
    from hpc_trex.training.reinforce import Reward

    metric = card.metric
    sign = 1.0 if metric.higher_is_better else -1.0
    return Reward(lambda text, answer: sign * judge(text, answer, metric).score, metric.stop, metric.max_new_tokens)
