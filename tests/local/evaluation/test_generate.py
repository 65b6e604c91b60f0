"""lm-eval really runs around a tiny model that is in memory, and answers as the model alone would."""

import time

import pytest

from hpc_trex.data.formatting import render_prompt
from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.evaluate import evaluate, prompt_style
from hpc_trex.evaluation.scoring import paired_difference
from hpc_trex.models import DataRecipe, MetricSpec
from hpc_trex.samples import read_samples
from tests.local.evaluation.asking import CHATML, ask, generate, prompts

pytestmark = pytest.mark.local


def test_answers_in_batches_equal_the_models_own_one_by_one(model, tokenizer, job):
    stop = ("\n", "k")
    metric = MetricSpec(name="exact_match", max_new_tokens=12, stop=stop)
    texts = prompts(25)
    expected = [ask(model, tokenizer, render_prompt(t, "plain", tokenizer, ""), 12, stop) for t in texts]
    assert len(set(expected)) > 5
    wrong = [answer if i % 3 else "no" for i, answer in enumerate(expected)]
    spec, rows, samples = job(metric, list(zip(texts, wrong, strict=True)))
    beats = []
    model.train()
    done = evaluate(model, tokenizer, spec, rows, samples, beats.append)
    assert model.training
    written = list(read_samples(samples))
    assert [row.answer for row in written] == expected
    assert [row.row_id for row in written] == [f"dev:{i}" for i in range(25)]
    assert done.per_sample == [float(answer == own.strip() != "") for answer, own in zip(wrong, expected, strict=True)]
    assert done.main.value == pytest.approx(sum(done.per_sample) / 25)
    assert done.main.low <= done.main.value <= done.main.high
    assert [beat.step for beat in beats] == [0, 7, 14, 21, 25]
    assert {beat.phase for beat in beats} == {"evaluating"}


def test_a_batch_that_does_not_fit_the_memory_is_halved_and_answers_stay_the_same(model, tokenizer, job, monkeypatch):
    import torch

    spec, rows, samples = job(MetricSpec(max_new_tokens=6), [(text, "x") for text in prompts(20)], batch_size=16)
    evaluate(model, tokenizer, spec, rows, samples, lambda _: None)
    expected = list(read_samples(samples))
    sizes, real = [], model.generate

    def little_memory(**given):
        sizes.append(len(given["input_ids"]))
        if sizes[-1] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(**given)

    monkeypatch.setattr(model, "generate", little_memory)
    limit = 5
    beats = []
    evaluate(model, tokenizer, spec, rows, samples, beats.append)
    assert list(read_samples(samples)) == expected
    assert sizes == [16, 8, 4, 4, 4, 4, 4]
    assert beats[-1].step == 20
    limit = 0
    with pytest.raises(torch.OutOfMemoryError):
        evaluate(model, tokenizer, spec, rows, samples, lambda _: None)


def test_an_answer_is_truncated_only_where_nothing_but_the_limit_ended_it(model, tokenizer, job):
    texts = prompts(20)
    spec, rows, samples = job(MetricSpec(max_new_tokens=6, stop=("k", "3")), [(text, "x") for text in texts])
    done = evaluate(model, tokenizer, spec, rows, samples, lambda _: None)
    flagged = {row.prompt: "truncated" in row.flags for row in read_samples(samples)}
    for text in texts:
        rendered = render_prompt(text, "plain", tokenizer, "")
        tokens = generate(model, tokenizer, rendered, 6)
        ended = tokenizer.eos_token_id in tokens or any(
            stop in tokenizer.decode(tokens, skip_special_tokens=True) for stop in ("k", "3")
        )
        assert flagged[text] is not ended
    assert done.extra["truncated"] == pytest.approx(sum(flagged.values()) / 20)
    assert 0 < done.extra["truncated"] < 1


def test_a_prompt_longer_than_the_model_is_said_to_be_cut(model, tokenizer, job):
    spec, rows, samples = job(MetricSpec(max_new_tokens=4), [("long " * 60, "x"), ("short", "x")])
    done = evaluate(model, tokenizer, spec, rows, samples, lambda _: None)
    assert ["prompt_cut" in row.flags for row in read_samples(samples)] == [True, False]
    assert done.extra["prompt_cut"] == 0.5


def test_an_adapter_changes_the_answers_and_its_removal_brings_the_old_ones_back(model, tokenizer, job):
    import torch
    from peft import LoraConfig, get_peft_model

    spec, rows, samples = job(MetricSpec(max_new_tokens=8, stop=()), [(text, "x") for text in prompts(12)])
    evaluate(model, tokenizer, spec, rows, samples, lambda _: None)
    before = [row.answer for row in read_samples(samples)]
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    torch.manual_seed(3)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    evaluate(tuned, tokenizer, spec, rows, samples, lambda _: None)
    with_adapter = [row.answer for row in read_samples(samples)]
    evaluate(tuned.unload(), tokenizer, spec, rows, samples, lambda _: None)
    assert with_adapter != before
    assert [row.answer for row in read_samples(samples)] == before


def test_a_second_run_gives_the_same_scores_and_a_paired_difference_of_zero(model, tokenizer, job):
    rows = [(text, "positive" if i % 2 else "negative") for i, text in enumerate(prompts(20))]
    metric = MetricSpec(name="macro_f1", labels=("positive", "negative"), max_new_tokens=5)
    spec, path, samples = job(metric, rows)
    first = evaluate(model, tokenizer, spec, path, samples, lambda _: None)
    second = evaluate(model, tokenizer, spec, path, samples, lambda _: None)
    assert first.main == second.main
    assert first.extra["unparsable"] == 1.0
    difference = paired_difference(first, second, spec.evaluate)
    assert difference.value == 0
    assert difference.low < 0 < difference.high
    assert difference.n == 20


def test_chat_markup_is_used_where_the_tokenizer_has_a_template_or_the_recipe_says_so(model, tokenizer, job):
    spec, _, _ = job(MetricSpec(), [("a", "b")])
    recipe = DataRecipe.model_validate({"steps": [{"op": "load", "source": "s"}, {"op": "format", "style": "plain"}]})
    tokenizer.chat_template = CHATML
    try:
        assert prompt_style(spec, tokenizer) == "chat"
        assert prompt_style(spec.model_copy(update={"data": recipe}), tokenizer) == "plain"
    finally:
        tokenizer.chat_template = None
    assert prompt_style(spec, tokenizer) == "plain"


def test_chat_prompts_reach_the_model_as_the_training_formats_them(model, tokenizer, job):
    spec, rows, samples = job(MetricSpec(max_new_tokens=8, stop=()), [(text, "x") for text in prompts(6)])
    tokenizer.chat_template = CHATML
    try:
        evaluate(model, tokenizer, spec, rows, samples, lambda _: None)
        expected = [ask(model, tokenizer, render_prompt(t, "chat", tokenizer, ""), 8, ()) for t in prompts(6)]
    finally:
        tokenizer.chat_template = None
    assert [row.answer for row in read_samples(samples)] == expected


def test_a_tokenizer_that_ends_every_text_does_not_end_the_prompt(model, tokenizer, job):
    """The training takes that end away, since the answer follows; so must the evaluation."""
    from copy import deepcopy

    from tokenizers.processors import TemplateProcessing

    ending = deepcopy(tokenizer)
    end = (ending.eos_token, ending.eos_token_id)
    ending.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {end[0]}", pair=f"$A {end[0]} $B {end[0]}", special_tokens=[end]
    )
    assert ending("ab")["input_ids"][-1] == ending.eos_token_id
    spec, rows, samples = job(MetricSpec(max_new_tokens=8, stop=()), [(text, "x") for text in prompts(6)])
    evaluate(model, ending, spec, rows, samples, lambda _: None)
    expected = [ask(model, tokenizer, text, 8, ()) for text in prompts(6)]
    assert [row.answer for row in read_samples(samples)] == expected


@pytest.mark.parametrize("line", ['{"row_id": "x"}', "not json", "[1]"])
def test_a_broken_row_is_named_with_its_line(model, tokenizer, job, line):
    spec, rows, samples = job(MetricSpec(), [("a", "b")])
    rows.write_text(rows.read_text() + line + "\n")
    with pytest.raises(UsageProblem, match=r"dev\.jsonl:2"):
        evaluate(model, tokenizer, spec, rows, samples, lambda _: None)
    assert not samples.exists()


def test_an_empty_split_and_an_answer_limit_beyond_the_model_are_refused(model, tokenizer, job):
    spec, rows, samples = job(MetricSpec(), [])
    with pytest.raises(UsageProblem, match="no rows"):
        evaluate(model, tokenizer, spec, rows, samples, lambda _: None)
    spec, rows, samples = job(MetricSpec(max_new_tokens=300), [("a", "b")])
    with pytest.raises(UsageProblem, match="leaves no room"):
        evaluate(model, tokenizer, spec, rows, samples, lambda _: None)


def test_200_rows_take_a_few_seconds(model, tokenizer, job):
    spec, rows, samples = job(MetricSpec(max_new_tokens=16), [(text, "x") for text in prompts(200)], batch_size=64)
    began = time.monotonic()
    done = evaluate(model, tokenizer, spec, rows, samples, lambda _: None)
    assert time.monotonic() - began < 30
    assert done.main.n == 200
