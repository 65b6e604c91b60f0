"""Several ranks, with the whole model each or with a part (FSDP2), are one training; what they save, others go on from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.jobs import ROOT, spec_for, staged_set

pytestmark = [pytest.mark.local, pytest.mark.usefixtures("one_thread")]

STAGES = [
    {"objective": "pretrain", "sources": ["text"], "max_steps": 2},
    {"max_steps": 3, "learning_rate": 1e-3},
    {"objective": "dpo", "sources": ["good"], "rejected": ["bad"], "max_steps": 4, "learning_rate": 1e-3},
]
FULL = {
    "method": "full",
    "learning_rate": 3e-3,
    "batch_size": 6,
    "micro_batch_size": 2,
    "max_seq_len": 64,
    "stages": STAGES,
}
LORA = FULL | {"method": "lora", "lora": {"rank": 4}, "stages": STAGES[1:]}
GRPO = FULL | {
    "stages": [{"objective": "grpo", "sources": ["good"], "generations": 4, "max_steps": 3}],
    "batch_size": 12,
}
#: So dear that a margin which is rounded to bf16 shows in the loss.
DEAR = {"max_steps": 1, "beta": 10.0}
#: Name: ranks, the step at which it is asked to stop, whose checkpoints it goes on from, what is trained.
RUNS: dict[str, tuple[int, int | None, str, dict[str, Any]]] = {
    "full": (1, None, "", FULL),
    "full-ddp": (2, None, "", FULL),
    "full-fsdp": (2, 6, "", FULL | {"parallel": "fsdp"}),
    "full-on-four": (4, None, "full-fsdp", FULL | {"parallel": "fsdp", "gradient_checkpointing": True}),
    "full-on-one": (1, None, "full-fsdp", FULL),
    "answers": (1, None, "", GRPO),
    "answers-ddp": (2, None, "", GRPO),
    "preferred-half": (2, None, "", FULL | {"parallel": "fsdp", "precision": "bf16", "stages": [STAGES[2] | DEAR]}),
    "lora": (1, None, "", LORA),
    "lora-fsdp": (2, None, "", LORA | {"parallel": "fsdp", "loss": "plain", "packing": False}),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, untrained: dict[str, str]) -> dict[str, dict[str, Any]]:
    """All runs in one process and its forks: what they have to import is most of their time."""
    place = tmp_path_factory.mktemp("ranks")
    rows = str(staged_set(place / "rows"))
    arguments = []
    for name, (ranks, stop, before, train) in RUNS.items():
        resume = (str(place / before / "checkpoints"),) if before else ()
        spec_for(place / name, place, base=untrained, data_dir=rows, train=train, seed=7, resume_from=resume)
        arguments.append(f"{ranks}:{place / name / 'spec.json'}" + (f"@{stop}" if stop else ""))
    done = subprocess.run(
        [sys.executable, "-m", "tests.forked", *arguments],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return {name: json.loads((place / name / "outcome.json").read_text()) for name in RUNS}


@pytest.mark.parametrize(
    ("name", "alone"),
    [
        ("full-ddp", "full"),
        ("full-on-four", "full"),
        ("full-on-one", "full"),
        ("answers-ddp", "answers"),
        ("lora-fsdp", "lora"),
    ],
)
def test_ranks_train_as_one_process_does(outcomes: dict[str, dict[str, Any]], name: str, alone: str) -> None:
    """Through all stages: plain texts, answers, preferences."""
    ours, theirs = outcomes[name], outcomes[alone]
    assert ours["tokens"] == theirs["tokens"]
    assert ours["curve"] == pytest.approx(theirs["curve"], rel=1e-3)
    assert len(ours["curve"]) == sum(stage["max_steps"] for stage in RUNS[alone][3]["stages"])


def test_the_reference_of_a_preference_is_not_rounded_to_half(outcomes: dict[str, dict[str, Any]]) -> None:
    """ln 2: model and reference are one."""
    assert outcomes["preferred-half"]["curve"] == pytest.approx([0.693147], abs=1e-2)


def test_a_checkpoint_of_two_ranks_is_one_that_four_and_one_go_on_from(outcomes: dict[str, dict[str, Any]]) -> None:
    """It was written in the preference stage, whose measure of the first model is in it."""
    assert outcomes["full-fsdp"] == {"stopped": 7}
    assert outcomes["full-on-four"]["resumed"] == outcomes["full-on-one"]["resumed"] == 7


@pytest.mark.parametrize(("name", "alone"), [("full-on-four", "full"), ("lora-fsdp", "lora")])
def test_what_sharded_ranks_save_is_the_whole_model(outcomes: dict[str, dict[str, Any]], name: str, alone: str) -> None:
    import torch

    from hpc_trex.models import ModelRef
    from hpc_trex.training.load import load_model

    models = []
    for one in (outcomes[name], outcomes[alone]):
        ref = ModelRef(name="tiny", path=one["model"], adapter=one["adapter"])
        models.append(load_model(ref, attention="sdpa", precision="fp32").model.eval())
    ours, theirs = (dict(model.named_parameters()) for model in models)
    assert ours.keys() == theirs.keys()
    ids = torch.arange(24)[None]
    with torch.no_grad():
        assert torch.allclose(models[0](ids).logits, models[1](ids).logits, atol=2e-2)
