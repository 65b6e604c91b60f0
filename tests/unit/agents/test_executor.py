"""Repairs by rule: what is changed of a trial or a recipe that failed, and that the messages they go by are the real ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.agents.executor import NO_FLASH, by_rule, change_words, effective, may_repair
from hpc_trex.agents.mending import Failed, Repaired
from hpc_trex.data.errors import DataProblem
from hpc_trex.data.operators.python import _kept, _mapped
from hpc_trex.errors import JobFailure
from hpc_trex.ftbench.rows import Row
from hpc_trex.models import (
    DataRecipe,
    FailureClass,
    JobKind,
    RoundPlan,
    TrainConfig,
    TrialPlan,
    TrialState,
    TrialView,
)
from hpc_trex.models.operators import Load, Python
from hpc_trex.training.attention import FLASH, Machine, choose

CODE = "def transform(row):\n    return len(row['answer']) > 3\n"
ROW = Row(prompt="1 + 1 =", answer="2", source="a", row_id="a:1")


def failed(failure: FailureClass, message: str = "", *, train: TrainConfig | None = None, mode: str = "map") -> Failed:
    data = DataRecipe(steps=(Load(source="a"), Python(code=CODE, mode=mode)))  # type: ignore[arg-type]
    plan = RoundPlan(hypothesis="h", data=data, trials=(TrialPlan(train=train or TrainConfig()),))
    return Failed(1, int(train is not None), 1, failure, message, plan, train=train)


def after_oom(train: TrainConfig, processes: int = 1) -> TrainConfig | None:
    change = by_rule(failed(FailureClass.OOM, train=train), processes)
    return None if change is None else train.model_copy(update=change.how)


@pytest.mark.parametrize(
    ("batch", "micro", "processes", "expected"),
    [(32, None, 1, 16), (32, None, 2, 8), (32, 16, 1, 8), (32, 1, 1, 1), (2, None, 2, None), (12, 6, 1, 3)],
)
def test_after_oom_the_micro_batch_is_halved_and_the_batch_stays(batch, micro, processes, expected) -> None:
    new = after_oom(TrainConfig(batch_size=batch, micro_batch_size=micro), processes)
    assert new is not None
    assert new.micro_batch_size == expected
    assert new.batch_size == batch
    assert new.gradient_checkpointing is (expected in (1, None))


def test_of_a_micro_batch_of_one_activations_are_computed_again_and_then_there_is_no_more() -> None:
    new = after_oom(TrainConfig(micro_batch_size=1))
    assert new is not None
    assert new.gradient_checkpointing
    assert after_oom(new) is None


def test_the_last_repair_that_is_allowed_saves_all_the_memory_it_can() -> None:
    change = by_rule(failed(FailureClass.OOM, train=TrainConfig(micro_batch_size=64)), 1, last=True)
    assert change is not None
    assert change.how == {"micro_batch_size": 1, "gradient_checkpointing": True}


@given(batch=st.integers(1, 200), processes=st.integers(1, 8))
def test_oom_repairs_always_end_and_always_divide_the_batch(batch: int, processes: int) -> None:
    train = TrainConfig(batch_size=batch)
    share = max(1, batch // processes)
    for _ in range(20):
        new = after_oom(train, processes)
        if new is None:
            assert train.gradient_checkpointing
            break
        if not new.gradient_checkpointing:
            assert new.micro_batch_size is not None
            assert new.micro_batch_size < (train.micro_batch_size or share + 1)
            assert share % new.micro_batch_size == 0
        train = new
    else:
        pytest.fail("no end")


def test_only_a_failure_of_its_own_settings_or_data_is_mended() -> None:
    assert {failure for failure in FailureClass if may_repair(failure)} == {
        FailureClass.OOM,
        FailureClass.CONFIG,
        FailureClass.DATA,
    }


def test_where_flash_attention_is_not_there_sdpa_is_taken() -> None:
    """By the message that the training really ends with."""
    with pytest.raises(JobFailure) as caught:
        choose(FLASH, Machine(installed=False, capability=None, half=False))
    message = str(caught.value)
    assert message.startswith(NO_FLASH)
    change = by_rule(failed(FailureClass.CONFIG, message, train=TrainConfig(attention="flash_attention_2")), 1)
    assert change is not None
    assert (change.how, change.plan) == ({"attention": "sdpa"}, None)
    assert by_rule(failed(FailureClass.CONFIG, message, train=TrainConfig()), 1) is None, "it did not ask for it"


def test_an_architecture_without_sdpa_says_so_in_the_words_that_the_rule_looks_for() -> None:
    torch = pytest.importorskip("torch")
    from transformers import PretrainedConfig, PreTrainedModel

    class Odd(PreTrainedModel):
        config_class = PretrainedConfig
        _supports_sdpa = False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    config = PretrainedConfig()
    with pytest.raises(ValueError, match="attention implementation") as caught:
        Odd._from_config(config, attn_implementation="sdpa")
    change = by_rule(failed(FailureClass.CONFIG, str(caught.value), train=TrainConfig()), 1)
    assert change is not None
    assert change.how == {"attention": "eager"}


def test_code_that_answers_whether_to_keep_a_row_is_a_filter() -> None:
    with pytest.raises(DataProblem) as caught:
        _mapped(ROW, True, "python: row 1 of 2 (a:1)", set())
    change = by_rule(failed(FailureClass.DATA, caught.value.message), 1)
    assert change is not None
    assert change.plan is not None
    step = change.plan.data.steps[1]
    assert isinstance(step, Python)
    assert (step.mode, step.code) == ("filter", CODE)


def test_a_filter_that_answers_with_rows_is_a_map() -> None:
    with pytest.raises(DataProblem) as caught:
        _kept(ROW, [ROW._asdict()], "python: row 1 of 2 (a:1)")
    change = by_rule(failed(FailureClass.DATA, caught.value.message, mode="filter"), 1)
    assert change is not None
    assert change.plan is not None
    assert change.plan.data.steps[1].mode == "map"  # type: ignore[union-attr]


def test_what_is_not_certain_is_left_alone() -> None:
    assert (
        by_rule(failed(FailureClass.DATA, "python: row 7 of 20 (a:7): ZeroDivisionError: division by zero"), 1) is None
    )
    assert by_rule(failed(FailureClass.CONFIG, "LoRA target x does not exist", train=TrainConfig()), 1) is None


def test_a_repair_is_told_in_words_and_code_by_its_length() -> None:
    train = TrainConfig(micro_batch_size=4)
    assert change_words(failed(FailureClass.OOM, train=train), Repaired("", {"micro_batch_size": 2})) == (
        "micro_batch_size 4 -> 2"
    )
    one = failed(FailureClass.DATA)
    steps = (Load(source="a"), Python(code="def transform(row): return row"))
    plan = one.plan.model_copy(update={"data": DataRecipe(steps=steps)})
    words = change_words(one, Repaired("", plan=plan))
    assert "without python(code=2 lines, " in words
    assert "with python(code=1 lines, " in words


def test_the_next_job_is_given_what_repairs_have_set() -> None:
    plan = TrialPlan(train=TrainConfig(micro_batch_size=16))
    trial = TrialView(
        node=1,
        trial=1,
        state=TrialState.ACTIVE,
        kind=JobKind.TRAIN,
        plan=plan,
        micro_batch_size=8,
        how={"attention": "sdpa"},
    )
    train = effective(trial)
    assert train is not None
    assert (train.micro_batch_size, train.attention) == (8, "sdpa")
