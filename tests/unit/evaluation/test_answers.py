"""From raw text to the answer that is scored."""

import pytest

from hpc_trex.evaluation.answers import find_label, first_line, parse_object, same_value
from hpc_trex.samples import without_reasoning

LABELS = ("positive", "negative", "Not sure")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("yes", "yes"),
        ("  yes \n", "yes"),
        ("<think>hm\nlong</think>yes", "yes"),
        ("<think>a</think> b <think>c</think>d", "b d"),
        ("opened by the template</think>\nyes", "yes"),
        ("<think>never closed", ""),
        ("yes <think>never closed", "yes"),
        ("<think></think>", ""),
        ("", ""),
        ("e\u0301", "\u00e9"),
    ],
)
def test_reasoning_is_removed_before_an_answer_is_scored(text, answer):
    assert without_reasoning(text) == answer


def test_the_first_line_that_is_not_blank_counts():
    assert first_line("\n  \n a b \nc") == "a b"
    assert first_line(" \n") == ""


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("positive", "positive"),
        ("  Positive.\nbecause", "positive"),
        ("**NEGATIVE**", "negative"),
        ('"not sure"', "Not sure"),
        ("not positive", None),
        ("positive negative", None),
        ("正面", None),
        ("", None),
    ],
)
def test_a_label_is_the_whole_first_line_whatever_its_case_and_marks(text, label):
    assert find_label(text, LABELS) == label


def test_labels_made_of_marks_and_other_alphabets_are_found():
    assert find_label("(a)", ("(a)", "(b)")) == "(a)"
    assert find_label("正面。\n", ("正面。", "负面。")) == "正面。"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('```json\n{"a": [1, {"b": null}]}\n```', {"a": [1, {"b": None}]}),
        ('Here it is: {"a": 1} and {"b": 2}', {"a": 1}),
        ('{"a": 1', None),
        ("{'a': 1}", None),
        ("[1, 2]", None),
        ("null", None),
        ("", None),
        ('{"a":' * 100_000, None),
        ('{"a": ' + "9" * 5000 + "}", None),
    ],
)
def test_the_first_json_object_is_read_and_anything_else_is_none(text, value):
    assert parse_object(text) == value


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (3, 3.0, True),
        (True, 1, False),
        (False, 0, False),
        (True, True, True),
        (" a", "a ", True),
        ("a", "A", False),
        ("3", 3, False),
        ([1, " a"], [1, "a"], True),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ({"x": 1}, {"x": 1.0}, True),
        ({"x": 1}, {"x": 1, "y": 2}, False),
        (None, None, True),
        (None, 0, False),
    ],
)
def test_json_values_are_compared_by_meaning(left, right, same):
    assert same_value(left, right) is same
    assert same_value(right, left) is same
