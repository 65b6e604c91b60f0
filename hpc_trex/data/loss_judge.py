"""The loss of each row's answer under a model: what ``filter_loss`` and ``order by loss`` go by.

A crossfit judge is a copy of the base model tuned on the other half of the rows. What the rows agree on it learns, and
a wrong answer stays surprising. Rows with the same prompt are always in the same half: a copy of a wrong row would
otherwise teach the judge to believe it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hpc_trex.data.errors import DataProblem
from hpc_trex.data.formatting import answer_text, render_prompt
from hpc_trex.data.operators.base import Context, column, families
from hpc_trex.data.seeds import rank_keys

if TYPE_CHECKING:
    from datasets import Dataset

    from hpc_trex.training.data import Sample

BATCH = 32
"""Rows a step of a judge's training."""
SCORING_TOKENS = 16_384
"""Padded tokens of one scoring pass."""
MAX_TOKENS = 2048
"""Longer rows lose the beginning of their prompt, as in training."""
SMALL = 50_000_000
"""Up to so many parameters a judge is tuned whole, above by LoRA: two copies must fit where one is trained."""
RATE_FULL = 3e-3
RATE_LORA = 5e-4


def base_losses(data: Dataset, context: Context) -> list[float]:
    """Return the base model's mean loss a token of each row's answer."""
    samples, pad_id = _samples(data, context)
    context.tick("loading the base model")
    return _losses(_load(context), samples, pad_id, context)


def text_losses(data: Dataset, context: Context, name: str) -> list[float]:
    """Return the base model's mean loss a token of each row's prompt, or answer, as a text by itself."""
    from hpc_trex.training.data import Rows, tokenise
    from hpc_trex.training.load import load_tokenizer

    tokenizer = load_tokenizer(context.base)
    texts = column(data, name)
    samples, _ = tokenise(Rows([""] * len(texts), texts, texts), tokenizer, max_seq_len=MAX_TOKENS, style="plain")
    context.tick("loading the base model")
    return _losses(_load(context), samples, int(tokenizer.pad_token_id), context)


def crossfit_losses(data: Dataset, context: Context, steps: int) -> list[float]:
    """Return each row's loss under a copy of the base model that was tuned for ``steps`` steps on the other half."""
    samples, pad_id = _samples(data, context)
    side = _halves(families(data), context.seed)
    losses = [0.0] * len(samples)
    for half in (0, 1):
        judged = [place for place, own in enumerate(side) if own == half]
        taught = [samples[place] for place, own in enumerate(side) if own != half]
        if not taught or not judged:
            raise DataProblem(
                "filter_loss: crossfit needs rows with at least two different prompts", hint='use judge = "base"'
            )
        model = _tuned(_load(context), taught, pad_id, steps, context)
        found = _losses(model, [samples[place] for place in judged], pad_id, context)
        for place, loss in zip(judged, found, strict=True):
            losses[place] = loss
    return losses


def _halves(prompts: Sequence[str], seed: int) -> list[int]:
    """Return 0 or 1 for each row, the same for equal prompts, about as many of each."""
    distinct = list(dict.fromkeys(prompts))
    keys = rank_keys(seed, distinct)
    ranked = sorted(range(len(distinct)), key=keys.__getitem__)
    side = {distinct[index]: rank % 2 for rank, index in enumerate(ranked)}
    return [side[prompt] for prompt in prompts]


def _samples(data: Dataset, context: Context) -> tuple[list[Sample], int]:
    """Return the tokenised rows, formatted as they will be trained on, and the id that pads them."""
    from hpc_trex.training.data import Rows, tokenise
    from hpc_trex.training.load import load_tokenizer

    tokenizer = load_tokenizer(context.base)
    prompts = [render_prompt(text, context.style, tokenizer, context.system) for text in column(data, "prompt")]
    pairs = zip(column(data, "answer"), prompts, strict=True)
    answers = [answer_text(answer, context.style, prompt) for answer, prompt in pairs]
    rows = Rows(prompts, answers, column(data, "source"))
    samples, _ = tokenise(rows, tokenizer, max_seq_len=MAX_TOKENS, style=context.style)
    return samples, int(tokenizer.pad_token_id)


def _load(context: Context) -> Any:
    from hpc_trex.training.load import load_model

    return load_model(context.base, attention="sdpa", precision="auto").model


def _tuned(model: Any, samples: Sequence[Sample], pad_id: int, steps: int, context: Context) -> Any:
    """Train a judge: AdamW, linear decay, batches drawn epoch by epoch under the step's seed."""
    import torch

    from hpc_trex.training.batches import make_batch
    from hpc_trex.training.data import Stream

    torch.manual_seed(context.seed % 2**32)
    whole = sum(parameter.numel() for parameter in model.parameters()) <= SMALL
    model = model.float() if whole else _adapted(model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rate = RATE_FULL if whole else RATE_LORA
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    stream = Stream(len(samples), seed=context.seed, ordered=False)
    model.train()
    for step in range(steps):
        members = [samples[index] for index in stream.take(step * BATCH, BATCH)]
        batch = make_batch(members, "padded", pad_id=pad_id)
        loss = _token_losses(model, batch).sum() / (batch.labels >= 0).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 10 == 0:
            context.tick(f"tuning a judge: step {step} of {steps}")
    return model


def _adapted(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, settings)


def _losses(model: Any, samples: Sequence[Sample], pad_id: int, context: Context) -> list[float]:
    """Return the mean loss a token of each sample's answer, under a model in evaluation mode."""
    import torch

    from hpc_trex.training.batches import make_batch

    model.eval()
    losses = [0.0] * len(samples)
    done = 0
    with torch.no_grad():
        for group in passes([len(sample.ids) for sample in samples]):
            batch = make_batch([samples[place] for place in group], "padded", pad_id=pad_id)
            counts = (batch.labels >= 0).sum(dim=1).clamp(min=1)
            means = _token_losses(model, batch).sum(dim=1).cpu() / counts
            for place, mean in zip(group, means.tolist(), strict=True):
                losses[place] = mean
            done += len(group)
            context.tick(f"scored {done} of {len(samples)} rows")
    return losses


def passes(lengths: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield the places of rows of like length in tokens, as many at a time as one pass of the model may hold, at least one."""
    by_length = sorted(range(len(lengths)), key=lengths.__getitem__)
    start = 0
    while start < len(by_length):
        end = start + 1
        while end < len(by_length) and (end + 1 - start) * lengths[by_length[end]] <= SCORING_TOKENS:
            end += 1
        yield by_length[start:end]
        start = end


def _token_losses(model: Any, batch: Any) -> Any:
    """Return the cross-entropy (B, T) of each place, 0 where there is nothing to predict."""
    import torch

    device = next(model.parameters()).device
    logits = model(**{name: tensor.to(device) for name, tensor in batch.inputs.items()}).logits.float()
    flat = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.labels.flatten().to(device), ignore_index=-100, reduction="none"
    )
    return flat.view(batch.labels.shape)
