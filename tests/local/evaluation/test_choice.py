"""Choice by log-likelihood: the option that the model itself finds likeliest, as lm-eval counts it."""

import pytest

from hpc_trex.data.formatting import render_prompt
from hpc_trex.evaluation.evaluate import evaluate
from hpc_trex.models import MetricSpec
from hpc_trex.samples import read_samples
from tests.local.evaluation.asking import CHATML, prompts

pytestmark = pytest.mark.local

LABELS = ("yes", "no", "not at all")
WORDS = ("one", "twenty two", "a", "0", "k k k", "three: 3")


def likelihood(model, tokenizer, text, continuation):
    """Return the log-probability of a continuation, one text at a time and without lm-eval."""
    import torch

    before = tokenizer(text)["input_ids"]
    after = tokenizer(continuation, add_special_tokens=False)["input_ids"]
    model.eval()
    with torch.no_grad():
        logits = model(torch.tensor([before + after])).logits[0].log_softmax(-1)
    return sum(float(logits[len(before) + i - 1, token]) for i, token in enumerate(after))


def own_options(count):
    """Return options that differ from row to row in number and length."""
    return [WORDS[i % 3 : i % 3 + 2 + i % 3] for i in range(count)]


def best(model, tokenizer, text, options, lead, *, by_letter=False):
    scores = [likelihood(model, tokenizer, text, lead + option) for option in options]
    if by_letter:
        scores = [score / len(option) for score, option in zip(scores, options, strict=True)]
    return options[max(range(len(options)), key=scores.__getitem__)]


@pytest.mark.parametrize("style", ["plain", "chat"])
def test_the_answer_is_the_models_own_likeliest_option(model, tokenizer, job, style):
    texts, options = prompts(20), own_options(20)
    tokenizer.chat_template = CHATML if style == "chat" else None
    try:
        rendered = [render_prompt(text, style, tokenizer, "") for text in texts]
        lead = "" if style == "chat" else " "
        wanted = [best(model, tokenizer, text, row, lead) for text, row in zip(rendered, options, strict=True)]
        answers = [answer if i % 2 else row[0] for i, (answer, row) in enumerate(zip(wanted, options, strict=True))]
        metric = MetricSpec(name="accuracy", mode="choice", choices="options")
        more = [{"choices": list(row)} for row in options]
        spec, rows, samples = job(metric, list(zip(texts, answers, strict=True)), more=more)
        beats = []
        done = evaluate(model, tokenizer, spec, rows, samples, beats.append, style=style)
    finally:
        tokenizer.chat_template = None
    written = list(read_samples(samples))
    assert [row.answer for row in written] == wanted
    assert len(set(wanted)) > 2
    right = [float(answer == own) for answer, own in zip(answers, wanted, strict=True)]
    assert done.per_sample == [row.score for row in written] == right
    assert 0 < done.main.value < 1
    assert done.main.low < done.main.value < done.main.high
    assert done.main.n == 20
    asked = sum(len(row) for row in options)
    assert (beats[-1].step, beats[-1].total_steps) == (asked, asked)


def test_by_letter_long_options_are_not_at_a_disadvantage(model, tokenizer, job):
    texts, options = prompts(24), own_options(24)
    plain = [best(model, tokenizer, text, row, " ") for text, row in zip(texts, options, strict=True)]
    wanted = [best(model, tokenizer, text, row, " ", by_letter=True) for text, row in zip(texts, options, strict=True)]
    assert plain != wanted
    metric = MetricSpec(name="accuracy_norm", mode="choice", choices="options")
    more = [{"choices": list(row)} for row in options]
    spec, rows, samples = job(metric, list(zip(texts, wanted, strict=True)), more=more)
    done = evaluate(model, tokenizer, spec, rows, samples, lambda _: None)
    assert done.main.metric == "accuracy_norm"
    assert done.main.value == 1
    both = sum(one == other for one, other in zip(plain, wanted, strict=True)) / 24
    assert done.extra["accuracy"] == pytest.approx(both)


def test_options_of_all_rows_are_classes_with_a_macro_f1(model, tokenizer, job):
    from sklearn.metrics import f1_score

    texts = prompts(18)
    answers = [LABELS[i % 3] for i in range(18)]
    metric = MetricSpec(name="macro_f1", mode="choice", choices=LABELS)
    more = [{"choices": list(LABELS)}] * 18
    spec, rows, samples = job(metric, list(zip(texts, answers, strict=True)), more=more)
    done = evaluate(model, tokenizer, spec, rows, samples, lambda _: None)
    found = [row.answer for row in read_samples(samples)]
    present = [label for label in LABELS if label in (*answers, *found)]
    assert done.main.value == pytest.approx(f1_score(answers, found, labels=present, average="macro", zero_division=0))
    assert set(done.extra) >= {"accuracy", "accuracy_norm", "eval_seconds"}


def test_it_is_what_lm_evals_own_accuracies_say(model, tokenizer, job):
    """The same rows as a plain lm-eval task: its ``acc`` and ``acc_norm`` are our ``accuracy`` and ``accuracy_norm``."""
    from datasets import Dataset, DatasetDict
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.evaluator import evaluate as run
    from lm_eval.models.huggingface import HFLM

    texts, options = prompts(30), own_options(30)
    docs = [{"q": text, "o": list(row), "a": i % 2} for i, (text, row) in enumerate(zip(texts, options, strict=True))]
    data = DatasetDict({"test": Dataset.from_list(docs)})
    names = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")]
    task = ConfigurableTask(config={
        "task": "own", "custom_dataset": lambda **_: data, "test_split": "test", "output_type": "multiple_choice",
        "doc_to_text": "{{q}}", "doc_to_choice": "o", "doc_to_target": "a", "metric_list": names,
    })  # fmt: skip
    held = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, backend="causal")
    theirs = run(held, {"tasks": {"own": task}, "groups": {}}, bootstrap_iters=0)["results"]["own"]
    metric = MetricSpec(name="accuracy", mode="choice", choices="o")
    answers = [row[i % 2] for i, row in enumerate(options)]
    more = [{"choices": list(row)} for row in options]
    spec, rows, samples = job(metric, list(zip(texts, answers, strict=True)), more=more)
    done = evaluate(model, tokenizer, spec, rows, samples, lambda _: None)
    assert done.main.value == pytest.approx(theirs["acc,none"])
    assert done.extra["accuracy_norm"] == pytest.approx(theirs["acc_norm,none"])


def test_a_batch_that_does_not_fit_is_halved_and_the_choice_stays_the_same(model, tokenizer, job, monkeypatch):
    import torch

    options = own_options(10)
    metric = MetricSpec(name="accuracy", mode="choice", choices="options")
    more = [{"choices": list(row)} for row in options]
    spec, rows, samples = job(metric, [(t, o[0]) for t, o in zip(prompts(10), options, strict=True)], more=more,
                              batch_size=16)  # fmt: skip
    evaluate(model, tokenizer, spec, rows, samples, lambda _: None)
    expected, sizes, real = list(read_samples(samples)), [], type(model).forward

    def little_memory(self, input_ids, **given):
        sizes.append(len(input_ids))
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, input_ids, **given)

    monkeypatch.setattr(type(model), "forward", little_memory)
    evaluate(model, tokenizer, spec, rows, samples, lambda _: None)
    assert list(read_samples(samples)) == expected
    assert sizes[:4] == [16, 8, 4, 2]


def test_a_prompt_that_does_not_fit_before_its_longest_option_is_said_to_be_cut(model, tokenizer, job):
    metric = MetricSpec(name="accuracy", mode="choice", choices=("yes", "no way"))
    more = [{"choices": ["yes", "no way"]}] * 3
    # The model takes 256 tokens, here letters. The last letter of " no way" is predicted, not read.
    spec, rows, samples = job(metric, [("x" * 250, "yes"), ("x" * 251, "yes"), ("x", "yes")], more=more)
    evaluate(model, tokenizer, spec, rows, samples, lambda _: None)
    assert [row.flags for row in read_samples(samples)] == [(), ("prompt_cut",), ()]
