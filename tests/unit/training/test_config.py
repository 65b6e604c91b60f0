"""What of a training configuration makes an experiment, and what is refused for this machine."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpc_trex.errors import JobFailure
from hpc_trex.models import DataRecipe, FailureClass, LoraSettings, TrainConfig, TrialPlan, trial_identity
from hpc_trex.models.operators import Load
from hpc_trex.training.quantize import nf4_obstacle, quantized_loading


def identity(**train: object) -> str:
    plan = TrialPlan(train=TrainConfig.model_validate(train))
    return trial_identity(DataRecipe(steps=(Load(source="a"),)), plan, base="b", task="t")


@pytest.mark.parametrize(
    ("train", "before"),
    [
        ({}, "7a08715febf3689c18f4103376e8b7811ab6c222ce090e8e12bdb67f35a4bacf"),
        (
            {"method": "full", "learning_rate": 1e-3},
            "f7bcc07aeb2fc8c8fce18eb925b45c0110ca28ea554768b965de0da305a8667a",
        ),
        (
            {"lora": {"rank": 8, "targets": ["q_proj"]}, "packing": False},
            "b09da2a0436fdde22e3fd6d45d3ee6248e8462e021362fc01fdc9399ead58a09",
        ),
    ],
)
def test_new_fields_at_their_default_leave_the_identity_of_older_plans(train: dict[str, object], before: str) -> None:
    """The digests were recorded before DoRA, rsLoRA, quantization and loss were fields."""
    assert identity(**train) == before
    assert identity(**train, loss="chunked", attention="eager", compiled=True, parallel="fsdp") == before


def test_what_changes_the_numbers_changes_the_identity() -> None:
    plain = identity()
    others = [{"lora": {"use_dora": True}}, {"lora": {"use_rslora": True}}, {"quantization": "nf4"}]
    assert len({plain, *(identity(**other) for other in others)}) == 4
    assert identity(method="full") == identity(method="full", lora=LoraSettings(use_dora=True).model_dump())


def test_stages_are_known_by_what_they_do_not_by_how_they_are_written() -> None:
    """One stage of answers is the training without stages; what a stage leaves out is filled in from around it."""
    plain = identity(learning_rate=1e-3)
    assert identity(learning_rate=1e-3, stages=[{}]) == plain
    assert identity(stages=[{"learning_rate": 1e-3}]) == plain
    dpo = {"objective": "dpo", "rejected": ["b", "c"]}
    two = identity(learning_rate=1e-3, stages=[{}, dpo])
    assert two == identity(
        learning_rate=0.5,
        stages=[{"learning_rate": 1e-3}, dpo | {"rejected": ["c", "b"], "beta": 0.1, "learning_rate": 1e-3}],
    )
    others = [[dpo, {}], [{}, dpo | {"beta": 0.2}], [{}, dpo | {"max_steps": 3}], [{"objective": "pretrain"}, dpo]]
    assert len({plain, two, *(identity(learning_rate=1e-3, stages=stages) for stages in others)}) == 6


def test_the_stages_of_a_training_are_filled_in_their_order() -> None:
    train = TrainConfig.model_validate({"max_steps": 9, "epochs": 2, "stages": [{"max_steps": 4}, {"epochs": 1}]})
    assert [(own.max_steps, own.epochs) for _, own in train.staged()] == [(4, 2.0), (9, 1.0)]
    assert [stage.shown for stage in train.stages] == ["sft (max_steps 4)", "sft (epochs 1.0)"]
    assert not any(own.stages for _, own in train.staged())


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ({"objective": "dpo"}, "a dpo stage needs rejected"),
        ({"objective": "dpo", "sources": ["a"], "rejected": ["a"]}, "cannot be in sources and in rejected"),
        ({"rejected": ["a"]}, "rejected and beta are of objective"),
        ({"beta": 0.1}, "rejected and beta are of objective"),
        ({"generations": 4}, "generations and temperature are of objective"),
        ({"objective": "grpo", "generations": 5}, "batch_size 16 is no multiple of generations 5"),
    ],
)
def test_a_stage_that_contradicts_itself_is_refused(stage: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        TrainConfig.model_validate({"stages": [stage]})


@pytest.mark.parametrize("other", [{"quantization": "nf4"}, {"stages": [{"objective": "grpo"}]}], ids=str)
def test_what_cannot_be_sharded_is_refused(other: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="parallel = fsdp: "):
        TrainConfig.model_validate({"parallel": "fsdp"} | other)


def test_four_bit_weights_say_what_they_lack() -> None:
    assert nf4_obstacle(gpu=False, installed=True) == "no CUDA GPU"
    assert nf4_obstacle(gpu=True, installed=False) == "bitsandbytes is not installed"
    assert nf4_obstacle(gpu=True, installed=True) == ""


def test_four_bit_weights_are_refused_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(JobFailure, match="quantization = nf4 is not possible: no CUDA GPU") as caught:
        quantized_loading(half=True)
    assert caught.value.failure is FailureClass.CONFIG
