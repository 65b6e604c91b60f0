"""Make a built-in base model: a tokenizer and a tiny Qwen3, really pre-trained on the corpus that ftbench generates.

Two builders at once are harmless: each builds in a folder of its own beside the target, and the rename of the first
one wins.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.builtin import PREFIX, BuiltinModel, builtin, builtin_path
from hpc_trex.models import Heartbeat, LossPoint, ModelRef, TrainConfig
from hpc_trex.training import data
from hpc_trex.training.beat import Beat
from hpc_trex.training.loop import Loop, Plan, Trained
from hpc_trex.training.objective import Answers, Form
from hpc_trex.training.ranks import Ranks
from hpc_trex.training.say import say

END = "<|end|>"


class Made(NamedTuple):
    """A built-in model on disk."""

    ref: ModelRef
    fresh: bool
    """It was made now, not found in the cache."""
    curve: tuple[LossPoint, ...] = ()
    steps: int = 0
    tokens: int = 0
    tokens_per_second: float | None = None


def make_builtin(name: str, cache_dir: str, beat: Beat, *, steps: int | None = None) -> Made:
    """Return a built-in model, made now where the cache lacks it. ``steps`` replaces the recipe's number.

    Raises ``NotFound`` for an unknown name.
    """
    recipe = builtin(name)
    if steps is not None:
        recipe = recipe._replace(steps=steps)
    target = builtin_path(name, cache_dir, steps=steps)
    ref = ModelRef(name=f"{PREFIX}{recipe.name}", path=str(target))
    if target.is_dir():
        return Made(ref, fresh=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    beat(Heartbeat(phase="loading"))
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        made = _build(recipe, building, ref, beat)
        # OSError: another builder was faster, and its model is the same. rename never replaces a folder with files.
        with suppress(OSError):
            building.rename(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return made


def _build(recipe: BuiltinModel, folder: Path, ref: ModelRef, beat: Beat) -> Made:
    from hpc_trex.ftbench.corpus import pretraining_rows

    pairs = pretraining_rows(recipe.seed, recipe.rows_per_family)
    rows = data.Rows([prompt for prompt, _ in pairs], [f" {answer}" for _, answer in pairs], [""] * len(pairs))
    tokenizer = make_tokenizer(rows, recipe)
    model = make_model(recipe, tokenizer)
    samples, _ = data.tokenise(rows, tokenizer, max_seq_len=recipe.max_positions, style="plain")
    say(f"pre-training {ref.name}: {model.num_parameters():,} weights, {len(samples)} rows, {recipe.steps} steps")
    trained = _pretrain(model, recipe, samples, tokenizer.pad_token_id, beat)
    model.save_pretrained(str(folder), safe_serialization=True)
    tokenizer.save_pretrained(str(folder))
    progress = trained.progress
    return Made(ref, True, progress.curve, progress.step, progress.tokens, trained.tokens_per_second)


def _pretrain(model: Any, recipe: BuiltinModel, samples: list[data.Sample], pad_id: int, beat: Beat) -> Trained:
    from accelerate import Accelerator

    config = TrainConfig(
        method="full",
        learning_rate=recipe.learning_rate,
        schedule="constant",
        warmup_ratio=0.0,
        max_steps=recipe.steps,
        batch_size=recipe.batch_size,
        max_seq_len=recipe.max_positions,
        grad_clip=recipe.grad_clip,
        adam_beta2=recipe.adam_beta2,
        precision="fp32",
    )
    plan = Plan(
        config=config,
        objective=Answers(samples),
        stream=data.Stream(len(samples), seed=recipe.seed, ordered=False),
        total=recipe.steps,
        seed=recipe.seed,
        form=Form("packed", additive_mask=False, pad_id=pad_id),
        vocabulary=recipe.vocab,
        checkpoints=None,
        checkpoint_seconds=float("inf"),
        identity="",
        phase="pretraining",
    )
    # Always on the CPU: it takes less than a minute there, and every machine makes the same model.
    return Loop(model, plan, Ranks(Accelerator(cpu=True, mixed_precision="no")), beat).run()


def make_tokenizer(rows: data.Rows, recipe: BuiltinModel) -> Any:
    """Return a byte-level BPE tokenizer trained on the corpus, every digit a token of its own, no chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(
        (prompt + answer for prompt, answer in zip(rows.prompts, rows.answers, strict=True)), trainer
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token=END,
        model_max_length=recipe.max_positions,
        clean_up_tokenization_spaces=False,
    )


def make_model(recipe: BuiltinModel, tokenizer: Any) -> Any:
    """Return the untrained model: Qwen3 architecture, tied embeddings drawn with the recipe's standard deviation."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(recipe.seed)
    config = Qwen3Config(
        vocab_size=recipe.vocab,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.mlp,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        head_dim=recipe.head_dim,
        max_position_embeddings=recipe.max_positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen3ForCausalLM(config)
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=recipe.embedding_std)
    return model
