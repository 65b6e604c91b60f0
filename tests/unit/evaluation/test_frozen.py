"""What is frozen with a search: the digest follows the rules of the evaluation, and the rules follow SCORING."""

import pytest

from hpc_trex.evaluation.metrics import judge
from hpc_trex.ftbench.frozen import SCORING, eval_digest
from hpc_trex.models import EvalSettings, MetricSpec, Prompt, Source, TaskCard


def card(**changes):
    source = Source(path="rows.jsonl")
    return TaskCard(**{"name": "t", "sources": {"s": source}, "dev": source, "test": source} | changes)


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"metric": MetricSpec(name="chrf")}, {}),
        ({"metric": MetricSpec(stop=("\n", "."))}, {}),
        ({"metric": MetricSpec(max_new_tokens=65)}, {}),
        ({"prompt": Prompt(prompt="Q: {{ prompt }}")}, {}),
        ({"prompt": Prompt(system="Be short.")}, {}),
        ({}, {"bootstrap": 2000}),
        ({}, {"seed": 5}),
    ],
)
def test_other_rules_have_another_digest(changes, settings):
    assert eval_digest(card(**changes), EvalSettings(**settings)) != eval_digest(card(), EvalSettings())


def test_what_changes_no_score_changes_no_digest():
    same = card(title="another", licence="MIT", dev=Source(path="other.jsonl"))
    assert eval_digest(same, EvalSettings(batch_size=1)) == eval_digest(card(), EvalSettings())


def test_a_default_that_is_written_out_is_the_same_rule():
    given = MetricSpec(name="exact_match", max_new_tokens=64, stop=("\n",))
    assert eval_digest(card(metric=given), EvalSettings()) == eval_digest(card(), EvalSettings())


KNOWN = [
    ("exact_match", "<think>a</think> 42 ", "42", 1.0),
    ("exact_match", "42.", "42", 0.0),
    ("accuracy", "**Yes.**\nbecause", "yes", 1.0),
    ("accuracy", "yes or no", "yes", 0.0),
    ("json_fields", 'So: {"a": 1, "b": "x "}', '{"a": 1.0, "b": "x", "c": null}', 2 / 3),
    ("rouge1", "the cat sat on the mat", "a cat on the mat", 8 / 11),
    ("chrf", "the cat sat", "the cat sits", 0.610345),
]


@pytest.mark.parametrize(("name", "text", "reference", "score"), KNOWN)
def test_known_answers_keep_their_scores_until_scoring_is_raised(name, text, reference, score):
    """Where this fails the scoring has changed: raise SCORING with it, or results of two versions are mixed."""
    assert SCORING == 1
    labels = ("yes", "no") if name == "accuracy" else ()
    assert judge(text, reference, MetricSpec(name=name, labels=labels)).score == pytest.approx(score, abs=1e-5)
