"""A training in stages: plain texts, answers, preferences; resumed anywhere, it is the one that was never stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hpc_trex.errors import JobFailure
from hpc_trex.models import FailureClass
from hpc_trex.training.beat import Interrupted
from hpc_trex.training.data import Rows
from tests.forked import share_of_e
from tests.in_process import losses, trial, weights
from tests.jobs import staged_set

pytestmark = [pytest.mark.local, pytest.mark.usefixtures("one_thread", "fresh_accelerator")]

DPO: dict[str, Any] = {
    "objective": "dpo",
    "sources": ["good"],
    "rejected": ["bad"],
    "learning_rate": 1e-3,
    "max_steps": 4,
}
STAGES: list[dict[str, Any]] = [
    {"objective": "pretrain", "sources": ["text"], "max_steps": 3},
    {"objective": "sft", "max_steps": 4, "learning_rate": 1e-3},
    DPO,
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(staged_set(tmp_path_factory.mktemp("rows") / "set"))


@pytest.mark.parametrize(
    "method", [{"method": "full"}, {"method": "lora", "lora": {"rank": 4, "dropout": 0.2}}], ids=str
)
def test_resumed_stages_equal_the_uninterrupted_ones_bit_by_bit(
    tmp_path: Path, untrained: dict[str, str], rows: str, method: dict[str, Any]
) -> None:
    """Stopped within the first stage, at the end of the second, within the last."""
    import torch

    train = {**method, "stages": STAGES, "batch_size": 6, "max_steps": None}
    whole = trial(tmp_path / "whole", untrained, rows, train=train)
    assert [point.step for point in whole.figures["curve"]] == list(range(1, 12))
    folders: tuple[str, ...] = ()
    for stop_at, seen in ((1, 2), (6, 7), (8, 9)):
        with pytest.raises(Interrupted) as stopped:
            trial(tmp_path / str(seen), untrained, rows, stop_at=stop_at, train=train, resume_from=folders)
        assert stopped.value.step == seen
        folders += (str(tmp_path / str(seen) / "checkpoints"),)
    last = trial(tmp_path / "last", untrained, rows, train=train, resume_from=folders)
    assert last.figures["resumed_from_step"] == 9
    assert last.figures["curve"] == whole.figures["curve"]
    assert last.figures["tokens"] == whole.figures["tokens"]
    assert last.extra_scores == whole.extra_scores
    assert {"stage_1_pretrain_loss", "stage_2_sft_loss", "stage_3_dpo_loss"} <= whole.extra_scores.keys()
    ours, theirs = weights(last), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_first_loss_of_a_preference_is_that_of_having_none(
    tmp_path: Path, untrained: dict[str, str], rows: str
) -> None:
    """ln 2: model and reference are one. Afterwards it falls, however the batch is cut."""
    changes: tuple[dict[str, Any], ...] = ({}, {"micro_batch_size": 3}, {"packing": False}, {"loss": "plain"})
    runs = [
        trial(tmp_path / str(number), untrained, rows, train={"stages": [DPO], "max_steps": None, **change})
        for number, change in enumerate(changes)
    ]
    for run in runs:
        assert losses(run)[0] == pytest.approx(0.693147, abs=1e-5)
        assert losses(run) == pytest.approx(losses(runs[0]), rel=2e-4)
        assert run.figures["tokens"] == runs[0].figures["tokens"]
    assert losses(runs[0])[-1] < 0.68


def test_pretraining_has_its_loss_on_all_tokens_and_loses_no_text(
    tmp_path: Path, untrained: dict[str, str], rows: str
) -> None:
    """The first loss is transformers' own over the same texts; a long one is cut into pieces, each with its own first token."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    stage = {"objective": "pretrain", "sources": ["text"], "max_steps": 1}
    train = {"stages": [stage], "max_seq_len": 16, "batch_size": 500, "micro_batch_size": 32, "max_steps": None}
    # A batch larger than the set goes on with the next epoch: exactly one epoch is wanted.
    tokenizer = AutoTokenizer.from_pretrained(untrained["path"])
    from hpc_trex.training.data import read_rows

    texts = [text for text, source in zip(*read_rows(Path(rows) / "rows")[::2], strict=True) if source == "text"]
    ids = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts]
    pieces = [one[start : start + 16] for one in ids for start in range(0, len(one), 16)]
    pieces = [piece for piece in pieces if len(piece) > 1]
    run = trial(tmp_path / "run", untrained, rows, train=train | {"batch_size": len(pieces)})
    assert run.figures["tokens"] == sum(map(len, pieces))
    model = AutoModelForCausalLM.from_pretrained(untrained["path"])
    total = 0.0
    with torch.no_grad():
        for piece in pieces:
            batch = torch.tensor([piece])
            total += float(model(input_ids=batch, labels=batch).loss) * (len(piece) - 1)
    assert losses(run)[0] == pytest.approx(total / sum(len(piece) - 1 for piece in pieces), rel=1e-4)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            {"objective": "pretrain", "sources": ["other"]},
            r"stage 1 \(pretrain .*no row to train on.*rows of: bad, good, text",
        ),
        ({"objective": "sft", "sources": ["text"]}, "the training set is empty"),
        (
            {"objective": "dpo", "sources": ["good"], "rejected": ["text"]},
            "none of 40 rows has the prompt of one of the 0",
        ),
    ],
)
def test_a_stage_without_rows_is_refused_with_what_there_is(
    tmp_path: Path, untrained: dict[str, str], rows: str, stage: dict[str, Any], message: str
) -> None:
    with pytest.raises(JobFailure, match=message) as caught:
        trial(tmp_path / "run", untrained, rows, train={"stages": [stage]})
    assert caught.value.failure is FailureClass.DATA


def test_pairs_have_one_prompt_and_two_answers() -> None:
    from hpc_trex.training.stages import pair_up

    better = Rows(["p", "q", "p", "r"], [" a", " b", " c", " d"], ["good"] * 4)
    worse = Rows(["p", "q", "s", "r", "r"], [" x", "b ", " y", " u", " v"], ["bad"] * 5)
    assert pair_up(better, worse) == [(0, 0), (2, 0), (3, 3), (3, 4)]


def test_the_preference_loss_is_that_of_trl(tmp_path: Path, untrained: dict[str, str], rows: str) -> None:
    """Step by step, over the same pairs in the same order: TRL's DPOTrainer holds a second model, we a number a pair."""
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    from hpc_trex.training.data import read_rows

    folder = tmp_path / "ordered"
    shutil.copytree(rows, folder)
    (folder / "manifest.json").write_text(json.dumps({"format": "plain", "sha256": "0" * 64, "ordered": True}))
    train = {"stages": [DPO], "max_steps": None, "batch_size": 6, "schedule": "constant", "warmup_ratio": 0.0}
    ours = trial(tmp_path / "ours", untrained, str(folder), train=train)

    answers = dict[str, dict[str, str]]()
    for prompt, answer, source in zip(*read_rows(folder / "rows"), strict=True):
        answers.setdefault(prompt, {})[source] = answer
    pairs = [
        {"prompt": prompt, "chosen": two["good"], "rejected": two["bad"]}
        for prompt, two in answers.items()
        if len(two) > 1
    ]

    class InOrder(DPOTrainer):
        def _get_train_sampler(self, *arguments: Any) -> Any:
            return SequentialSampler(self.train_dataset)

    settings = DPOConfig(
        output_dir=str(tmp_path / "theirs"), per_device_train_batch_size=6, max_steps=4, learning_rate=1e-3, beta=0.1,
        lr_scheduler_type="constant", adam_beta2=0.98, logging_steps=1, report_to="none", use_cpu=True, bf16=False,
        save_strategy="no", gradient_checkpointing=False, disable_tqdm=True, max_length=64,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(untrained["path"])
    tokenizer = AutoTokenizer.from_pretrained(untrained["path"])
    theirs = InOrder(model=model, args=settings, train_dataset=Dataset.from_list(pairs), processing_class=tokenizer)
    theirs.train()
    logged = [entry["loss"] for entry in theirs.state.log_history if "loss" in entry]
    assert losses(ours) == pytest.approx(logged, rel=1e-3)
    assert losses(ours)[-1] < 0.68


GRPO: dict[str, Any] = {"objective": "grpo", "sources": ["good"], "generations": 4, "max_steps": 10}


def test_answers_that_score_become_likelier_and_a_stop_changes_nothing(
    tmp_path: Path, untrained: dict[str, str], rows: str
) -> None:
    """The curve is minus the mean reward. The first step's weights are also made by hand: a plain policy gradient."""
    import torch

    from hpc_trex.training.reinforce import Reward

    reward = Reward(share_of_e, ("q",), 6)
    train = {"stages": [GRPO], "batch_size": 16, "micro_batch_size": 5, "max_steps": None, "learning_rate": 1e-2}
    whole = trial(tmp_path / "whole", untrained, rows, train=train, reward=reward)
    curve = losses(whole)
    assert len(curve) == 10
    assert sum(curve[-3:]) / 3 < sum(curve[:3]) / 3 - 0.05
    with pytest.raises(Interrupted) as stopped:
        trial(tmp_path / "1", untrained, rows, stop_at=4, train=train, reward=reward)
    assert stopped.value.step == 5
    folders = (str(tmp_path / "1" / "checkpoints"),)
    last = trial(tmp_path / "2", untrained, rows, train=train, reward=reward, resume_from=folders)
    assert losses(last) == curve
    ours, theirs = weights(last), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_answers_are_drawn_from_the_model_whatever_its_generation_settings_say(
    tmp_path: Path, untrained: dict[str, str], rows: str
) -> None:
    """Their mean reward tells: a penalty, or the likeliest token only, would give other answers."""
    from hpc_trex.training.reinforce import Reward

    other = tmp_path / "model"
    shutil.copytree(untrained["path"], other)
    settings = {"repetition_penalty": 5.0, "top_k": 1, "no_repeat_ngram_size": 1, "top_p": 0.1}
    (other / "generation_config.json").write_text(json.dumps(settings))
    train = {"stages": [GRPO | {"max_steps": 1}], "batch_size": 16, "max_steps": None}
    reward = Reward(share_of_e, (), 6)
    runs = [
        trial(tmp_path / str(number), untrained | {"path": path}, rows, train=train, reward=reward)
        for number, path in enumerate((untrained["path"], str(other)))
    ]
    assert losses(runs[0]) == losses(runs[1])


def test_the_optimizer_of_a_stage_that_is_over_is_let_go() -> None:
    """Its moments are as large as the weights twice."""
    import gc
    import weakref

    import torch

    from hpc_trex.models import TrainConfig
    from hpc_trex.training.train import make_ranks

    ranks, model = make_ranks(TrainConfig(precision="fp32")), torch.nn.Linear(2, 2)
    ranks.losses(model, "plain")
    first = torch.optim.AdamW(model.parameters())
    held = weakref.ref(first)
    ranks.prepare(first)
    del first
    ranks.prepare(torch.optim.AdamW(model.parameters()))
    gc.collect()
    assert held() is None


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_gradient_of_answers_is_that_of_the_policy(untrained: dict[str, str], temperature: float) -> None:
    """Of two groups with known scores: minus advantage times log-probability, over all tokens of the step."""
    import torch
    from transformers import AutoModelForCausalLM

    from hpc_trex.training.data import Sample
    from hpc_trex.training.objective import Form
    from hpc_trex.training.reinforce import Answered, Reinforce, Reward, advantages

    assert advantages([1.0, 0.0]) == pytest.approx([0.5 / 0.5001, -0.5 / 0.5001])
    assert advantages([0.3, 0.3, 0.3]) == [0.0, 0.0, 0.0]
    model = AutoModelForCausalLM.from_pretrained(untrained["path"])
    samples = [Sample([5, 6, 7, 8], 2), Sample([5, 6, 9, 10, 11], 2), Sample([12, 13], 1), Sample([12, 14, 15], 1)]
    gains = [*advantages([1.0, 0.0]), *advantages([0.2, 0.6])]
    objective = Reinforce([], Reward(share_of_e, (), 4), None, generations=2, temperature=temperature)
    objective.take(
        {place: Answered(*one) for place, one in enumerate(zip(samples, [1.0, 0.0, 0.2, 0.6], gains, strict=True))}
    )
    _, arguments = objective.arguments([0, 1, 2, 3], Form("packed", additive_mask=False, pad_id=0), "cpu", idle=False)
    loss = objective.compute(model, None, *arguments) / 4
    assert float(loss) == pytest.approx(-0.45)
    torch.autograd.backward(loss)
    ours = model.get_input_embeddings().weight.grad.clone()
    model.zero_grad()
    tokens = sum(sample.answer_tokens for sample in samples)
    for sample, gain in zip(samples, gains, strict=True):
        logs = (model(torch.tensor([sample.ids])).logits[0] / temperature).log_softmax(-1)
        for place in range(sample.prompt_length, len(sample.ids)):
            torch.autograd.backward(-gain * logs[place - 1, sample.ids[place]] / tokens, retain_graph=True)
    assert torch.allclose(ours, model.get_input_embeddings().weight.grad, atol=1e-5)
