"""A tiny model and tokenizer in memory, and what makes a task for them."""

import json

import pytest

from hpc_trex.files import write_record
from hpc_trex.models import EvalSettings, JobSpec, ModelRef, Source, TaskCard

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 .,:=?\n"


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocab = {token: index for index, token in enumerate([*special, *ALPHABET])}
    core = Tokenizer(models.WordLevel(vocab, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    made = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<|endoftext|>")
    made.add_special_tokens({"additional_special_tokens": special[2:]})
    return made


@pytest.fixture(scope="module")
def model(tokenizer):
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(7)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=256,
        initializer_range=0.4,  # large, so that answers differ from row to row
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config)


@pytest.fixture
def job(tmp_path):
    """Return what makes a spec and rows for a metric: ``job(metric, rows) -> (spec, rows_path, samples_path)``."""

    def make(metric, rows, *, more=(), **settings):
        card = TaskCard(name="tiny", sources={"s": Source(path="s.jsonl")}, dev=Source(path="d"), test=Source(path="t"),
                        metric=metric)  # fmt: skip
        write_record(tmp_path / "card.json", card)
        lines = [
            {"row_id": f"dev:{i}", "prompt": prompt, "answer": answer, "source": "dev"}
            for i, (prompt, answer) in enumerate(rows)
        ]
        for line, further in zip(lines, more, strict=False):
            line.update(further)
        (tmp_path / "dev.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        spec = JobSpec(
            kind="baseline", token="t", search="s", node=0, trial=1, attempt=1, attempt_dir=str(tmp_path),
            task_card=str(tmp_path / "card.json"), base=ModelRef(name="tiny", path=str(tmp_path)),
            cache_dir=str(tmp_path), evaluate=EvalSettings(**{"batch_size": 7, "bootstrap": 200} | settings),
        )  # fmt: skip
        return spec, tmp_path / "dev.jsonl", tmp_path / "samples.jsonl"

    return make
