"""Each metric with good, bad, malformed, empty, foreign and reasoning answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.metrics import AnswerSet, aggregate, judge
from hpc_trex.models import MetricSpec

LABELS = ("positive", "negative", "neutral")


def spec(name, labels=()):
    return MetricSpec(name=name, labels=labels)


@pytest.mark.parametrize(
    ("name", "text", "reference", "score", "flags"),
    [
        ("exact_match", " 42\n", "42", 1, ()),
        ("exact_match", "<think>6 times 7</think>42", "42", 1, ()),
        ("exact_match", "41", "42", 0, ()),
        ("exact_match", "", "42", 0, ("empty",)),
        ("exact_match", "<think>never closed 42", "42", 0, ("empty",)),
        ("exact_match", "", "", 0, ("empty",)),
        ("exact_match", "四十二", "四十二", 1, ()),
        ("accuracy", "Positive", "positive", 1, ()),
        ("accuracy", "negative", "positive", 0, ("other_label",)),
        ("accuracy", "who knows", "positive", 0, ("unparsable",)),
        ("accuracy", "", "positive", 0, ("empty", "unparsable")),
        ("macro_f1", "positive.", "positive", 1, ()),
        ("macro_f1", "none of them", "positive", 0, ("unparsable",)),
        ("json_fields", '{"a": 1, "b": "x"}', '{"b": "x", "a": 1.0}', 1, ()),
        ("json_fields", '{"a": 1, "b": "y"}', '{"b": "x", "a": 1}', 0.5, ()),
        ("json_fields", '{"c": 1}', '{"a": null}', 0, ()),
        ("json_fields", '{"a": 1', '{"a": 1}', 0, ("invalid_json",)),
        ("json_fields", "", '{"a": 1}', 0, ("empty", "invalid_json")),
        ("json_fields", '<think>{"a": 2}</think>{"a": 1}', '{"a": 1}', 1, ()),
        ("json_fields", "{}", "{}", 1, ()),
        ("json_fields", '{"a": 1}', "{}", 0, ()),
        ("rouge1", "the cat sat", "the cat sat", 1, ()),
        ("rouge1", "the cat", "the dog", 0.5, ()),
        ("rouge1", "今天天气好", "今天天气好", 1, ()),
        ("rouge1", "今天", "明天", 0.5, ()),
        ("rouge1", "Привет мир", "привет мир", 1, ()),
        ("rouge1", "", "the dog", 0, ("empty",)),
        ("rouge2", "the cat sat", "the cat sat down", 0.8, ()),
        ("rouge2", "the dog sat", "a cat ran", 0, ()),
        ("rougeL", "the cat sat", "the black cat sat", 6 / 7, ()),
        ("rougeL", "今天天气好", "今天天气真好", 10 / 11, ()),
        ("bleu", "the cat sat on the mat", "the cat sat on the mat", 1, ()),
        ("bleu", "", "the cat sat on the mat", 0, ("empty",)),
        ("bleu", "今天天气好", "今天天气好", 1, ()),
        ("chrf", "the cat sat", "the cat sat", 1, ()),
        ("chrf", "", "the cat sat", 0, ("empty",)),
        ("chrf", "今天天气好", "今天天气好", 1, ()),
        ("chrf", "xyz", "今天天气好", 0, ()),
    ],
)
def test_an_answer_is_scored_and_flagged(name, text, reference, score, flags):
    labels = LABELS if name in ("accuracy", "macro_f1") else ()
    judged = judge(text, reference, spec(name, labels))
    assert judged.score == pytest.approx(score)
    assert judged.flags == flags


def test_rouge1_agrees_with_the_reference_package_on_english_text():
    from rouge_score.rouge_scorer import RougeScorer

    own, wanted = "A b, c-d 12 the the.", "the b c e 12; A a"
    plain = RougeScorer(["rouge1"]).score(wanted, own)["rouge1"].fmeasure
    assert judge(own, wanted, spec("rouge1")).score == pytest.approx(plain)


def test_an_answer_with_all_fields_right_counts_in_a_rate_of_its_own():
    assert judge('{"a": 1, "b": 3}', '{"a": 1, "b": 2}', spec("json_fields")).also == (("all_fields", 0.0),)
    assert judge('{"a": 1, "b": 2}', '{"a": 1, "b": 2}', spec("json_fields")).also == (("all_fields", 1.0),)


def test_without_labels_any_first_line_is_an_answer():
    judged = judge("Lima\nbecause", "LIMA", spec("accuracy"))
    assert (judged.score, judged.flags) == (1.0, ())
    assert judge("Quito", "Lima", spec("accuracy")).flags == ()


@pytest.mark.parametrize(
    ("name", "labels", "reference", "word"), [("accuracy", LABELS, "angry", "labels"), ("json_fields", (), "x", "JSON")]
)
def test_a_reference_that_the_metric_cannot_use_is_the_cards_fault(name, labels, reference, word):
    with pytest.raises(UsageProblem, match=word):
        judge("positive", reference, spec(name, labels))


answer = st.sampled_from([*LABELS, ""])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(LABELS), answer), min_size=1, max_size=30))
def test_macro_f1_equals_scikit_learns_and_takes_no_class_from_the_answers(pairs):
    from sklearn.metrics import f1_score

    references, predictions = [list(side) for side in zip(*pairs, strict=True)]
    answers = AnswerSet("macro_f1", LABELS, [0.0] * len(pairs), references, predictions)
    present = [label for label in LABELS if label in references or label in predictions]
    wanted = f1_score(references, predictions, labels=present, average="macro", zero_division=0)
    assert float(aggregate(answers)[0]) == pytest.approx(wanted)


def test_an_answer_that_could_not_be_read_does_not_become_a_class():
    answers = AnswerSet("macro_f1", ("a", "b"), [1.0, 0.0], ["a", "a"], ["a", ""])
    assert float(aggregate(answers)[0]) == pytest.approx(2 / 3)


def test_weights_count_an_answer_as_often_as_they_say():
    weights = np.array([[2, 0], [1, 1], [0, 2]])
    mean = AnswerSet("exact_match", (), [1.0, 0.0], ["x", "y"], ["x", "z"])
    assert aggregate(mean, weights).tolist() == [1.0, 0.5, 0.0]
    repeated = AnswerSet("macro_f1", ("a", "b"), [1.0, 0.0] * 2, ["a", "b", "a", "b"], ["a", "a", "a", "a"])
    once = AnswerSet("macro_f1", ("a", "b"), [1.0, 0.0], ["a", "b"], ["a", "a"])
    assert aggregate(once, np.array([[2, 2]]))[0] == pytest.approx(aggregate(repeated)[0])


SENTENCES = ("the cat sat on the mat", "a dog ran", "the cat", "hello there , you", "on the mat sat the cat")


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([*SENTENCES, ""]), st.sampled_from(SENTENCES)), min_size=1, max_size=12))
def test_bleu_equals_sacrebleus_over_the_whole_set(pairs):
    from sacrebleu.metrics.bleu import BLEU

    judged = [judge(answer, reference, spec("bleu")) for answer, reference in pairs]
    texts, references = [list(side) for side in zip(*pairs, strict=True)]
    counts = [one.counts for one in judged]
    answers = AnswerSet("bleu", (), [one.score for one in judged], references, texts, counts)
    assert float(aggregate(answers)[0]) * 100 == pytest.approx(BLEU().corpus_score(texts, [references]).score)


def test_an_interval_of_bleu_is_drawn_over_sets_not_over_scores_of_rows():
    from hpc_trex.evaluation.intervals import score_interval
    from hpc_trex.models import EvalSettings

    pairs = [("the cat sat on the mat", "the cat sat on the mat"), ("a dog ran", "the dog has run away")] * 10
    judged = [judge(answer, reference, spec("bleu")) for answer, reference in pairs]
    answers = AnswerSet("bleu", (), [one.score for one in judged], [""] * 20, [""] * 20, [one.counts for one in judged])
    score = score_interval(answers, EvalSettings(bootstrap=200))
    assert score.low < score.value < score.high < 1
    assert score.value != pytest.approx(sum(answers.scores) / 20)
