"""The text tasks of FT-Bench: each scorer against the rule of its authors, restated here a second time.

The restatements walk over the text sign by sign or count words, where ours uses expressions: what both get wrong in the same way
would have to be a misreading of the rule.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.metrics import AnswerSet, aggregate, judge
from hpc_trex.evaluation.scorers.event_order import find_order
from hpc_trex.evaluation.scorers.label_sets import read_labels
from hpc_trex.models import MetricSpec

# --- econlogicqa: lm-eval's rule, sign by sign ---------------------------------------------------------------------------

BETWEEN = ("-->", "->", "and", "then", ",", ";", "→", ">", "|")


def single(text: str, place: int) -> bool:
    """Tell whether a sign has no letter a to z on either side."""
    around = text[place - 1 : place] + text[place + 1 : place + 2]
    return not re.search("[A-Za-z]", around)


def after_break(text: str, place: int) -> int:
    """Return where blanks, at most one mark and blanks end."""
    while place < len(text) and text[place].isspace():
        place += 1
    for mark in BETWEEN:
        if text[place : place + len(mark)].lower() == mark and (not mark.isalpha() or whole_word(text, place, mark)):
            place += len(mark)
            break
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def whole_word(text: str, place: int, word: str) -> bool:
    around = text[place - 1 : place] + text[place + len(word) : place + len(word) + 1]
    return not re.search(r"\w", around)


def run_at(text: str, start: int) -> str:
    """Return the run of four letters that begins at ``start``, with what is between them; empty where there is none."""
    if text[start].upper() not in "ABCD" or (start and re.match("[A-Za-z]", text[start - 1])):
        return ""
    place = start + 1
    for _ in range(3):
        place = after_break(text, place)
        if place >= len(text) or text[place].upper() not in "ABCD" or not single(text, place):
            return ""
        place += 1
    return text[start:place]


def upstream_order(text: str) -> str:
    marks = [
        (m.end()) for m in re.finditer(r"(?i)\b(?:answer|order|sequence|ordering)\b\s*(?:is)?\s*[:\-\u2013]?\s*", text)
    ]
    for part in ([text[marks[-1] :]] if marks else []) + [text]:
        place, tried = 0, []
        while place < len(part):
            run = run_at(part, place)
            tried += [run.upper()] if run else []
            place += len(run) or 1
        tried += [part[i : i + 4] for i in range(len(part) - 3) if tight(part, i)]
        capitals = [sign for place, sign in enumerate(part) if sign in "ABCD" and single(part, place)]
        tried += ["".join(capitals[i : i + 4]) for i in range(len(capitals) - 3)]
        for one in tried:
            letters = "".join(sign for sign in one if sign in "ABCD")
            if sorted(letters) == list("ABCD"):
                return letters
    return ""


def tight(text: str, start: int) -> bool:
    return set(text[start : start + 4]) <= set("ABCD") and not re.search(
        "[A-Za-z]", text[max(0, start - 1) : start] + text[start + 4 : start + 5]
    )


PIECES = [
    "A",
    "B",
    "C",
    "D",
    "a",
    "d",
    ", ",
    " ",
    " -> ",
    "-->",
    " and ",
    " then ",
    "; ",
    ".",
    "Answer: ",
    "the order is ",
]
PIECES += ["\n", "ABCD", "Band", "DACB", "first ", "→", "|", "为", "(", ")", "1"]


@settings(deadline=None, max_examples=250)
@given(st.lists(st.sampled_from(PIECES), max_size=16).map("".join))
def test_an_order_is_found_where_lm_evals_task_finds_it(text):
    assert find_order(text) == upstream_order(text)


@pytest.mark.parametrize("mark", [", ", " -> ", " then ", "; ", " > ", " ", ""])
def test_every_order_is_found_in_every_usual_form(mark):
    for order in permutations("ABCD"):
        assert find_order(f"The correct order is {mark.join(order)}.") == "".join(order)


def test_pairs_tell_a_wrong_order_from_none():
    spec = MetricSpec(name="event_order")
    assert judge("D, A, B, C", "D, A, C, B", spec).also == (("pairwise_accuracy", pytest.approx(5 / 6)),)
    assert judge("B, C, A, D", "D, A, C, B", spec).also == (("pairwise_accuracy", 0.0),)
    assert judge("who knows", "D, A, C, B", spec).also == (("pairwise_accuracy", 0.0),)


# --- cs-bench ------------------------------------------------------------------------------------------------------------


def upstream_cs_bench(text: str, reference: str, kind: str) -> float:
    """Words as ``\\b`` parts them; the first that is a letter A to D, or true or false, in either case."""
    words = "".join(sign if sign.isalnum() or sign == "_" else " " for sign in text).lower().split()
    known = {"Multiple-choice": set("abcd"), "Assertion": {"true", "false"}}[kind]
    first = next((word for word in words if word in known), None)
    return float(first == reference.lower())


SAID = st.lists(
    st.sampled_from(
        ["A", "b", "C", "(D)", "true", "False", "not", "untrue", "a stack", " ", ", ", ".", "_", "是", "é"]
    ),
    max_size=8,
).map("".join)


@settings(deadline=None, max_examples=120)
@given(
    SAID,
    st.sampled_from(
        [("B", "Multiple-choice"), ("D", "Multiple-choice"), ("true", "Assertion"), ("false", "Assertion")]
    ),
)
def test_a_cs_bench_answer_is_read_as_upstream_reads_it(text, asked):
    reference, kind = asked
    spec = MetricSpec(name="cs_bench", keep=["Format"])
    assert judge(text, reference, spec, {"Format": kind}).score == upstream_cs_bench(text.strip(), reference, kind)


def test_a_kind_that_no_rule_of_cs_bench_reads_is_refused():
    spec = MetricSpec(name="cs_bench", keep=["Format"])
    with pytest.raises(UsageProblem, match="Fill-in"):
        judge("8", "8", spec, {"Format": "Fill-in-the-blank"})
    with pytest.raises(UsageProblem, match="None"):
        judge("B", "B", spec)


def test_a_reference_that_no_answer_equals_is_wrong_as_upstream_and_marked():
    cs, fin = MetricSpec(name="cs_bench", keep=["Format"]), MetricSpec(name="openfindata", keep=["task"])
    assert judge("8", "8", cs, {"Format": "Multiple-choice"})[::3] == (0.0, ("unparsable", "odd_reference"))
    assert judge("B", "AB", cs, {"Format": "Multiple-choice"})[::3] == (0.0, ("other_label", "odd_reference"))
    assert judge("A", "nan", fin, {"task": "business_compliance"})[::3] == (0.0, ("other_label", "odd_reference"))
    with pytest.raises(UsageProblem, match="no order"):
        judge("A, B, C, D", "A, B, C", MetricSpec(name="event_order"))


# --- openfindata ---------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=120)
@given(
    st.lists(
        st.sampled_from(["A", "B", "E", "b", "答案", "。", "Б", "ß", "甲银行", "乙证券", "、", "\n", " "]), max_size=8
    ).map("".join),
    st.sampled_from(
        [("B", "financial_facts"), ("E", "intent_understanding"), ("甲银行、乙证券", "entity_recognition")]
    ),
)
def test_an_openfindata_answer_is_read_as_opencompass_reads_it(text, asked):
    reference, task = asked
    if task == "entity_recognition":
        wanted = float(not [word for word in reference.split("、") if text.count(word) == 0])
    else:
        wanted = float([sign for sign in text if sign.isupper()][-1:] == [reference])
    assert judge(text, reference, MetricSpec(name="openfindata", keep=["task"]), {"task": task}).score == wanted


def test_a_card_that_does_not_keep_the_task_is_refused():
    with pytest.raises(UsageProblem, match="task"):
        judge("A", "A", MetricSpec(name="openfindata"))


# --- sst-2 ---------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(["positive", "negative"]), st.sampled_from(["positive", "negative"])), min_size=1
    )
)
def test_sst2_is_glues_accuracy_however_a_class_is_written(pairs):
    """GLUE compares class numbers: here as words, with the marks and the case that models give them."""
    spec = MetricSpec(name="accuracy", labels=("negative", "positive"))
    said = [f"**{word.title()}**.\n" if i % 2 else f" {word}" for i, (word, _) in enumerate(pairs)]
    scores = [judge(text, wanted, spec).score for text, (_, wanted) in zip(said, pairs, strict=True)]
    assert sum(scores) / len(scores) == pytest.approx(np.mean([word == wanted for word, wanted in pairs]))


# --- aci-bench -----------------------------------------------------------------------------------------------------------

NOTE = st.lists(
    st.sampled_from(["The", "patient", "denies", "Peña", "38.5°C", "• cough", "\n\n", "A1c", "coughs", "\uff0c"]),
    max_size=12,
)


@settings(deadline=None, max_examples=100)
@given(NOTE.map(" ".join), NOTE.map(" ".join))
def test_rouge1_of_a_note_is_that_of_evaluates_rouge(answer, reference):
    """Words of a to z and 0 to 9, each counted as often as both have it; F of precision and recall."""
    said, wanted = (Counter(re.findall("[a-z0-9]+", text.lower())) for text in (answer, reference))
    both = (said & wanted).total()
    f = 2 * both / (said.total() + wanted.total()) if both else 0.0
    spec = MetricSpec(name="rouge1", options={"tokenizer": "rouge-score"})
    assert judge(answer, reference, spec).score == pytest.approx(f)


def test_rouge1_without_the_option_knows_every_script():
    assert judge("今天", "今天", MetricSpec(name="rouge1")).score == 1
    assert judge("今天", "今天", MetricSpec(name="rouge1", options={"tokenizer": "rouge-score"})).score == 0
    with pytest.raises(ValueError, match="tokenizer"):
        MetricSpec(name="rouge1", options={"tokenizer": "jieba"})


# --- hoc -----------------------------------------------------------------------------------------------------------------

LABELS = ("cell death", "angiogenesis", "inflammation")
HOC = MetricSpec(name="label_set_f1", labels=LABELS)
SETS = st.sets(st.sampled_from(LABELS))


def judged_sets(pairs):
    written = [["; ".join(sorted(one)) or "none" for one in pair] for pair in pairs]
    judged = [judge(said, wanted, HOC) for said, wanted in written]
    scores, counts = [one.score for one in judged], [one.counts for one in judged]
    return AnswerSet(
        "label_set_f1", LABELS, scores, [one.wanted for one in judged], [one.answer for one in judged], counts
    )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(SETS, SETS), min_size=1, max_size=20))
def test_f1_of_label_sets_equals_scikit_learns(pairs):
    from sklearn.metrics import f1_score

    said, wanted = ([[int(label in one) for label in LABELS] for one in side] for side in zip(*pairs, strict=True))
    f1 = f1_score(wanted, said, average=None, zero_division=0)
    present = [place for place in range(3) if any(row[place] for row in said + wanted)]
    expected = f1[present].mean() if present else 0.0
    assert float(aggregate(judged_sets(pairs))[0]) == pytest.approx(expected)


def test_label_sets_are_drawn_as_rows():
    pairs = [({"cell death"}, {"cell death"}), ({"cell death"}, {"angiogenesis"}), (set(), {"inflammation"})]
    weights = np.array([[2, 1, 0], [0, 0, 3]])
    doubled = [aggregate(judged_sets([pairs[0], pairs[0], pairs[1]]))[0], aggregate(judged_sets([pairs[2]] * 3))[0]]
    assert aggregate(judged_sets(pairs), weights).tolist() == pytest.approx(doubled)


def test_an_unreadable_answer_is_wrong_and_names_no_label():
    judged = judge("I could not say", "none", HOC)
    assert (judged.score, judged.answer, judged.flags, judged.counts) == (0.0, "", ("unparsable",), (0,) * 6)


@pytest.mark.parametrize(
    "text", ["Cell death", "1) cell  death", "labels: 'cell death'.", "* cell death;", "(cell death)"]
)
def test_marks_around_a_label_are_no_matter(text):
    assert read_labels(text, LABELS).found == ("cell death",)


def test_references_that_are_no_labels_are_refused():
    for reference in ("cell death; growth", "", "it depends"):
        with pytest.raises(UsageProblem, match="no list of"):
            judge("none", reference, HOC)
    with pytest.raises(UsageProblem, match="labels"):
        judge("none", "none", MetricSpec(name="label_set_f1"))
