"""The training in this process: resumption, batching and packing leave the numbers alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hpc_trex.errors import JobFailure
from hpc_trex.files import read_record
from hpc_trex.job.heartbeat import Beat
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import FailureClass
from hpc_trex.training.beat import Interrupted
from hpc_trex.training.data import IGNORED, Sample
from hpc_trex.training.progress import MARKER, Progress, complete_checkpoints
from tests.in_process import losses, trial, weights
from tests.jobs import prepared_set, spec_for

pytestmark = [pytest.mark.local, pytest.mark.usefixtures("one_thread", "fresh_accelerator")]


@pytest.fixture(scope="module")
def base(untrained: dict[str, str]) -> dict[str, str]:
    return untrained


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(prepared_set(tmp_path_factory.mktemp("rows") / "set", 60, holdout=10))


LORA = {"method": "lora", "lora": {"rank": 4, "dropout": 0.2}}


DORA = {"method": "lora", "lora": {"rank": 4, "use_dora": True, "use_rslora": True}}
PLAIN = {"method": "full", "loss": "plain", "packing": False}


@pytest.mark.parametrize(
    "train", [{"method": "full"}, LORA, DORA, PLAIN], ids=["full", "lora with dropout", "dora, rslora", "plain loss"]
)
def test_resumed_run_equals_the_uninterrupted_one_bit_by_bit(
    tmp_path: Path, base: dict[str, str], rows: str, train: dict[str, Any]
) -> None:
    """Curve, tokens and every weight, over two stops; the epochs turn in between."""
    import torch

    whole = trial(tmp_path / "whole", base, rows, train=train)
    with pytest.raises(Interrupted) as first:
        trial(tmp_path / "1", base, rows, stop_at=4, train=train)
    with pytest.raises(Interrupted) as second:
        trial(tmp_path / "2", base, rows, stop_at=8, train=train, resume_from=(str(tmp_path / "1" / "checkpoints"),))
    assert (first.value.step, second.value.step) == (5, 9)  # the stop is seen one step after it was asked for
    folders = tuple(str(tmp_path / name / "checkpoints") for name in ("1", "2"))
    last = trial(tmp_path / "3", base, rows, train=train, resume_from=folders)
    assert last.figures["resumed_from_step"] == 9
    assert last.figures["curve"] == whole.figures["curve"]
    assert last.figures["tokens"] == whole.figures["tokens"]
    assert last.extra_scores == whole.extra_scores
    ours, theirs = weights(last), weights(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_other_seeds_give_other_runs_and_the_same_seed_the_same(
    tmp_path: Path, base: dict[str, str], rows: str
) -> None:
    first, again = (trial(tmp_path / name, base, rows) for name in ("first", "again"))
    assert losses(first) == losses(again)
    from hpc_trex.training.train import train

    spec = spec_for(tmp_path / "other", tmp_path, base=base, data_dir=rows, train={"max_steps": 2}, seed=8)
    assert [
        point.loss for point in train(spec, Beat(AttemptPaths(tmp_path / "other"), every=1)).figures["curve"]
    ] != losses(first)[:2]


def test_half_a_checkpoint_is_never_resumed_from(tmp_path: Path, base: dict[str, str], rows: str) -> None:
    with pytest.raises(Interrupted):
        trial(tmp_path / "1", base, rows, stop_at=4)
    folder = tmp_path / "1" / "checkpoints"
    half = folder / "step-00000011"
    shutil.copytree(folder / "step-00000005", half)
    (half / MARKER).unlink()
    assert trial(tmp_path / "2", base, rows, resume_from=(str(folder),)).figures["resumed_from_step"] == 5


def test_checkpoint_of_another_training_is_passed_over(tmp_path: Path, base: dict[str, str], rows: str) -> None:
    with pytest.raises(Interrupted):
        trial(tmp_path / "1", base, rows, stop_at=4)
    folders = (str(tmp_path / "1" / "checkpoints"),)
    other = trial(tmp_path / "2", base, rows, resume_from=folders, train={"learning_rate": 1e-3})
    assert other.figures["resumed_from_step"] == 0
    halved = trial(tmp_path / "3", base, rows, resume_from=folders, train={"micro_batch_size": 2})
    assert halved.figures["resumed_from_step"] == 5


def test_two_checkpoints_are_kept_and_none_after_the_end(tmp_path: Path, base: dict[str, str], rows: str) -> None:
    with pytest.raises(Interrupted):
        trial(tmp_path / "1", base, rows, stop_at=8, checkpoint_seconds=1e-6)
    assert [one.step for one in complete_checkpoints(tmp_path / "1" / "checkpoints")] == [8, 9]
    trial(tmp_path / "2", base, rows, checkpoint_seconds=1e-6)
    left = complete_checkpoints(tmp_path / "2" / "checkpoints")
    assert [one.folder.name for one in left] == ["step-00000012-finished"]


def test_attempt_after_a_finished_training_evaluates_its_model(tmp_path: Path, base: dict[str, str], rows: str) -> None:
    import torch

    first = trial(tmp_path / "1", base, rows, train=LORA)
    second = trial(tmp_path / "2", base, rows, train=LORA, resume_from=(str(tmp_path / "1" / "checkpoints"),))
    assert second.ref == first.ref
    assert second.figures["curve"] == first.figures["curve"]
    assert second.figures["resumed_from_step"] == 12
    batch = {"input_ids": torch.tensor([[1, 2, 3]])}
    with torch.no_grad():
        assert torch.allclose(second.model.eval()(**batch).logits, first.model.eval()(**batch).logits, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"micro_batch_size": 1},
        {"micro_batch_size": 3},
        {"packing": False},
        {"gradient_checkpointing": True},
        {"attention": "eager"},
    ],
    ids=str,
)
def test_how_a_batch_is_computed_does_not_change_the_loss(
    tmp_path: Path, base: dict[str, str], rows: str, change: dict[str, Any]
) -> None:
    plain = trial(tmp_path / "plain", base, rows)
    other = trial(tmp_path / "other", base, rows, train=change)
    assert losses(other) == pytest.approx(losses(plain), rel=2e-4)
    assert other.figures["tokens"] == plain.figures["tokens"]


SAMPLES = [
    Sample([5, 6, 7, 8, 9, 10, 11], 2),
    Sample([12, 13, 14], 1),
    Sample([15, 16, 17, 18], 3),
    Sample([19, 20], 1),
]


def load(base: dict[str, str], attention: str = "sdpa") -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base["path"], attn_implementation=attention)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_loss_and_gradient_equal_the_unpacked_ones(base: dict[str, str], attention: str) -> None:
    import torch

    from hpc_trex.training.batches import make_batch
    from hpc_trex.training.losses import LossModel
    from hpc_trex.training.objective import counted

    model = load(base, attention)
    seen = {}
    for layout in ("padded", "packed"):
        batch = make_batch(SAMPLES, layout, pad_id=0, additive=attention == "eager")
        model.zero_grad()
        loss = LossModel(model, None)(*counted(batch, torch.device("cpu")))
        loss.backward()
        seen[layout] = (batch, loss.item(), [value.grad.clone() for value in model.parameters()])
    assert seen["packed"][0].inputs["input_ids"].shape == (3, 7)
    assert seen["padded"][0].inputs["input_ids"].shape == (4, 7)
    assert seen["packed"][0].tokens == seen["padded"][0].tokens == 16
    assert seen["packed"][1] == pytest.approx(seen["padded"][1], rel=1e-5)
    for ours, theirs in zip(seen["packed"][2], seen["padded"][2], strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_labels_are_shifted_within_their_own_sample() -> None:
    from hpc_trex.training.batches import make_batch

    batch = make_batch(SAMPLES[:3], "varlen", pad_id=0)
    assert batch.labels.tolist() == [
        [IGNORED, 7, 8, 9, 10, 11, IGNORED, 13, 14, IGNORED, IGNORED, IGNORED, 18, IGNORED]
    ]
    assert batch.inputs["position_ids"].tolist() == [[0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 0, 1, 2, 3]]
    assert "attention_mask" not in batch.inputs


def test_a_model_whose_packed_samples_see_each_other_is_found_out(base: dict[str, str]) -> None:
    """Qwen3 keeps them apart; Mamba, a state-space model, has no mask to heed."""
    from transformers import MambaConfig, MambaForCausalLM

    from hpc_trex.training.packing import packing_is_exact

    assert packing_is_exact(load(base), "packed")
    assert packing_is_exact(load(base, "eager"), "packed", additive=True)
    mamba = MambaForCausalLM(MambaConfig(vocab_size=50, hidden_size=16, state_size=4, num_hidden_layers=1))
    assert not packing_is_exact(mamba, "packed")
    assert not packing_is_exact(mamba, "varlen")


def test_holdout_loss_and_truncation_are_reported(tmp_path: Path, base: dict[str, str], rows: str) -> None:
    told = trial(tmp_path / "1", base, rows, train={"max_seq_len": 10}).extra_scores
    assert told["holdout_loss"] > 0
    assert told["train_truncated"] == 1.0
    assert told["train_loss"] > 0


def test_chat_rows_are_taken_as_they_are_and_the_style_is_handed_on(tmp_path: Path, base: dict[str, str]) -> None:
    """A tokenizer with a chat template whose prompts were rendered by the preparation."""
    from transformers import AutoTokenizer

    folder = tmp_path / "model"
    shutil.copytree(base["path"], folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    tokenizer.save_pretrained(folder)
    chat = prepared_set(tmp_path / "chat", 20, style="chat")
    trained = trial(tmp_path / "1", {"name": "chatty", "path": str(folder)}, str(chat), train={"max_steps": 2})
    assert trained.style == "chat"
    assert trained.tokenizer.chat_template
    saved = AutoTokenizer.from_pretrained(trained.ref.path)
    assert saved.chat_template == tokenizer.chat_template
    assert saved.eos_token_id is not None


def test_adapter_on_disk_says_where_its_base_is_and_loads(tmp_path: Path, base: dict[str, str], rows: str) -> None:
    import torch

    from hpc_trex.training.load import load_model, load_tokenizer

    trained = trial(tmp_path / "1", base, rows, train=LORA)
    assert (
        json.loads((Path(trained.ref.adapter) / "adapter_config.json").read_text())["base_model_name_or_path"]
        == base["path"]
    )
    again = load_model(trained.ref, attention="auto", precision="auto").model.eval()
    inputs = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        assert torch.allclose(again(inputs).logits, trained.model.eval()(inputs).logits, atol=1e-5)
    assert load_tokenizer(trained.ref).pad_token_id is not None


def test_precision_bf16_trains_on_a_cpu_too(tmp_path: Path, base: dict[str, str], rows: str) -> None:
    import torch

    full = trial(tmp_path / "full", base, rows, train={"precision": "bf16"})
    assert losses(full)[-1] < losses(full)[0]
    assert all(value.dtype == torch.float32 for value in weights(full).values())
    lora = trial(tmp_path / "lora", base, rows, train=LORA | {"precision": "bf16"})
    dtypes = {value.dtype for name, value in lora.model.named_parameters() if value.requires_grad}
    assert dtypes == {torch.float32}


def test_compiled_layers_train_as_the_written_ones(
    tmp_path: Path, base: dict[str, str], rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the compiler's front half: what a C++ compiler or Triton makes of it takes minutes on a CPU."""
    import torch

    from hpc_trex.training import compiled

    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    train = {"max_steps": 4, "batch_size": 4}
    plain = trial(tmp_path / "plain", base, rows, train=train)
    try:
        other = trial(tmp_path / "other", base, rows, train=train | {"compiled": True})
    finally:
        torch.compiler.set_stance("default")
    assert losses(other) == pytest.approx(losses(plain), rel=1e-4)
    assert (plain.figures["compiled"], other.figures["compiled"]) == (False, True)
    assert weights(other).keys() == weights(plain).keys()


def test_a_training_goes_on_with_an_adapter_or_merges_it(tmp_path: Path, base: dict[str, str], rows: str) -> None:
    first = trial(tmp_path / "1", base, rows, train=LORA)
    again = trial(tmp_path / "2", first.ref.model_dump(), rows, train=LORA)
    assert losses(again)[0] < losses(first)[0]
    assert again.ref.path == first.ref.path
    assert again.ref.adapter == str(tmp_path / "2" / "model")
    trained = {name for name, value in again.model.named_parameters() if value.requires_grad}
    assert trained == {name for name, value in first.model.named_parameters() if value.requires_grad}
    with pytest.raises(
        JobFailure, match=r"lora\.rank is 16, the adapter has 4; lora\.dropout is 0\.0, the adapter has 0\.2"
    ) as caught:
        trial(tmp_path / "other", first.ref.model_dump(), rows, train={"method": "lora"})
    assert caught.value.failure is FailureClass.CONFIG
    merged = trial(tmp_path / "3", first.ref.model_dump(), rows)
    assert losses(merged)[0] < losses(first)[0]


def test_checkpoint_marker_holds_the_position(tmp_path: Path, base: dict[str, str], rows: str) -> None:
    with pytest.raises(Interrupted):
        trial(tmp_path / "1", base, rows, stop_at=4)
    progress = read_record(tmp_path / "1" / "checkpoints" / "step-00000005" / MARKER, Progress)
    assert progress is not None
    assert progress.step == 5
    assert [point.step for point in progress.curve] == [1, 2, 3, 4, 5]
