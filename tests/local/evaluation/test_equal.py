"""Equal greedy answers however they are got: batch size, padding, adapter loaded or merged, from memory or from disk."""

import pytest

from hpc_trex.evaluation.evaluate import evaluate
from hpc_trex.models import MetricSpec, ModelRef
from hpc_trex.samples import read_samples
from tests.local.evaluation.asking import generate, prompts

pytestmark = pytest.mark.local


def answers(model, tokenizer, job, **settings):
    spec, rows, samples = job(MetricSpec(max_new_tokens=10, stop=()), [(t, "x") for t in prompts(24)], **settings)
    evaluate(model, tokenizer, spec, rows, samples, lambda _: None)
    return [row.answer for row in read_samples(samples)]


def with_adapter(model):
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    return tuned


def test_padding_on_the_left_changes_no_answer(model, tokenizer, job):
    alone = answers(model, tokenizer, job, batch_size=1)
    assert len(set(alone)) > 10
    assert alone == [
        tokenizer.decode(generate(model, tokenizer, text, 10), skip_special_tokens=True) for text in prompts(24)
    ]
    for size in (2, 7, 24):
        assert answers(model, tokenizer, job, batch_size=size) == alone


def test_an_adapter_answers_alike_loaded_from_disk_and_merged(model, tokenizer, job, tmp_path):
    from hpc_trex.training.load import load_model, load_tokenizer

    base, adapter, merged = (tmp_path / name for name in ("base", "adapter", "merged"))
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    plain = answers(model, tokenizer, job)
    tuned = with_adapter(model)
    in_memory = answers(tuned, tokenizer, job)
    assert in_memory != plain
    tuned.save_pretrained(adapter)
    ref = ModelRef(name="tiny", path=str(base), adapter=str(adapter))
    loaded = load_model(ref, attention="auto", precision="auto").model
    assert answers(loaded, load_tokenizer(ref), job) == in_memory
    loaded.merge_and_unload().save_pretrained(merged)
    tuned.unload()
    whole = load_model(ModelRef(name="tiny", path=str(merged)), attention="auto", precision="auto").model
    assert answers(whole, tokenizer, job) == in_memory
