"""What of a training configuration makes an experiment, and what is refused for this machine."""

from __future__ import annotations

import pytest

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
    assert identity(**train, loss="chunked", attention="eager") == before


def test_what_changes_the_numbers_changes_the_identity() -> None:
    plain = identity()
    others = [{"lora": {"use_dora": True}}, {"lora": {"use_rslora": True}}, {"quantization": "nf4"}]
    assert len({plain, *(identity(**other) for other in others)}) == 4
    assert identity(method="full") == identity(method="full", lora=LoraSettings(use_dora=True).model_dump())


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
