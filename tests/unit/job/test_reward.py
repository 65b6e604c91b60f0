"""The task's scorer as a reward: it judges what a model wrote, and says where it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpc_trex.errors import JobFailure
from hpc_trex.job.reward import task_reward
from hpc_trex.models import FailureClass, MetricSpec, Source, TaskCard
from tests.jobs import spec_for

GRPO = {"stages": [{"objective": "grpo"}]}


def card(folder: Path, **metric: Any) -> None:
    source = Source(path="x.jsonl")
    made = TaskCard(name="mine", sources={"a": source}, dev=source, test=source, metric=MetricSpec(**metric))
    (folder / "attempt" / "card.json").write_text(made.model_dump_json())


def test_a_right_answer_is_worth_more_whichever_way_the_metric_points(tmp_path: Path) -> None:
    spec = spec_for(tmp_path / "attempt", tmp_path, train=GRPO)
    card(tmp_path, name="accuracy", labels=("yes", "no"), max_new_tokens=5)
    reward = task_reward(spec)
    assert reward is not None
    assert (reward.stop, reward.max_new_tokens) == (("\n",), 5)
    assert [reward.judge(text, "yes") for text in (" yes", " no", "", "maybe")] == [1.0, 0.0, 0.0, 0.0]
    card(tmp_path, name="exact_match", higher_is_better=False)
    other = task_reward(spec)
    assert other is not None
    assert other.judge("yes", "yes") == -1.0


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        ({"name": "accuracy", "mode": "choice", "choices": ["a", "b"]}, "chosen by likelihood"),
        ({"keep": ["kind"], "groups": "kind"}, "needs columns that training rows do not have: kind"),
        (None, "there is no task whose scorer could judge"),
    ],
)
def test_a_metric_that_judges_no_single_answer_is_refused(
    tmp_path: Path, metric: dict[str, Any] | None, why: str
) -> None:
    spec = spec_for(tmp_path / "attempt", tmp_path, train=GRPO)
    if metric is not None:
        card(tmp_path, **metric)
    with pytest.raises(JobFailure, match=why) as caught:
        task_reward(spec)
    assert caught.value.failure is FailureClass.CONFIG


def test_a_training_without_such_a_stage_asks_for_no_task(tmp_path: Path) -> None:
    assert task_reward(spec_for(tmp_path / "attempt", tmp_path, train={"stages": [{}]})) is None
