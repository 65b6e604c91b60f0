"""Why a bad row is bad: planted rows for each group, and what must not be taken for one."""

from __future__ import annotations

import pytest

from hpc_trex.agents.attribution import attributor, latin_language, only_the_form_differs, refuses, script
from hpc_trex.agents.protocol import Sample
from hpc_trex.errors import UsageProblem
from hpc_trex.models import MetricSpec, Source, TaskCard

GERMAN = "Der Hund ist nicht in dem Haus, und wir wissen auch nicht, wo die Katze ist."
ENGLISH = "The dog is not in the house, and we do not know where the cat is."


def card(metric: str = "exact_match", *capabilities: str) -> TaskCard:
    rows = Source(path="rows.jsonl")
    labels = ("billing", "stock") if metric in ("accuracy", "macro_f1") else ()
    spec = MetricSpec.model_validate({"name": metric, "labels": labels})
    return TaskCard(name="t", sources={"a": rows}, dev=rows, test=rows, metric=spec, capabilities=capabilities)


def group(answer: str, reference: str, *flags: str, of: TaskCard | None = None) -> str:
    return attributor(of or card())(Sample("dev:1", "question", answer, reference, 0.0, flags))


@pytest.mark.parametrize(
    ("metric", "answer", "reference", "flags", "wanted"),
    [
        ("exact_match", "I'm sorry, but I cannot help with that.", "42", (), "refusal"),
        ("accuracy", "As an AI, I do not sort tickets", "stock", ("unparsable",), "refusal"),
        (
            "exact_match",
            "I\u2019m unable to say",
            "42",
            ("truncated",),
            "refusal",
        ),  # that it was cut is the lesser trouble
        ("chrf", "抱歉我无法回答这个问题。", "水", (), "refusal"),
        ("exact_match", "first we add the", "42", ("truncated",), "truncation"),
        ("exact_match", "<think>so let us see", "42", ("empty", "truncated"), "truncation"),
        ("json_fields", '{"a": 1, "b', '{"a": 1}', ("truncated", "invalid_json"), "truncation"),
        ("json_fields", '{"a": 2} and so on', '{"a": 1}', ("truncated",), "content"),  # the object was read
        ("accuracy", "billing\nbecause", "stock", ("truncated", "other_label"), "content"),  # the label was read
        ("event_order", "A, B, C, D, because", "D, A, C, B", ("truncated",), "content"),  # the order was read
        ("event_order", "First we look at", "D, A, C, B", ("truncated", "unparsable"), "truncation"),
        ("accuracy", "billing", "stock", ("prompt_cut", "other_label"), "truncation"),  # the question was not
        ("chrf", ENGLISH, GERMAN, (), "language"),
        ("chrf", "Die Hunde bellen und das ist nicht gut für uns", "狗在叫这对我们不好", (), "language"),
        ("rouge1", "собака в доме", "The dog is in the house", (), "language"),
        ("chrf", ENGLISH, "The cat is in the garden with the dog and it is happy.", (), "content"),
        ("exact_match", "", "42", ("empty",), "format"),
        ("exact_match", "**Yes.**", "yes", (), "format"),
        ("exact_match", "The answer is 42.", "42", (), "format"),
        ("accuracy", "not billing", "stock", ("unparsable",), "format"),
        ("json_fields", "a is 1", '{"a": 1}', ("invalid_json",), "format"),
        ("exact_match", "41", "42", (), "content"),
        ("accuracy", "billing", "stock", ("other_label",), "content"),
    ],
)
def test_each_group_has_its_rows(metric: str, answer: str, reference: str, flags: tuple[str, ...], wanted: str) -> None:
    assert group(answer, reference, *flags, of=card(metric)) == wanted


def test_knowledge_and_reasoning_are_told_apart_only_by_the_card() -> None:
    assert group("41", "42", of=card("exact_match", "reasoning")) == "reasoning"
    assert group("41", "42", of=card("exact_match", "Math", "classification")) == "reasoning"
    assert group("Rome", "Paris", of=card("exact_match", "knowledge")) == "knowledge"
    assert group("Rome", "Paris", of=card("exact_match", "knowledge", "reasoning")) == "content"
    assert group("Rome", "Paris", of=card("exact_match", "extraction")) == "content"


def test_a_right_answer_that_declines_makes_declining_no_refusal() -> None:
    assert group("I cannot say.", "I cannot tell.") == "content"


def test_only_the_beginning_of_an_answer_declines() -> None:
    assert not refuses("The shop opens at nine. " * 10 + "I cannot say more.")
    assert not refuses("a cannot-do attitude")
    assert refuses("Sorry! I can't do this")


def test_a_sign_or_a_place_is_no_mere_form() -> None:
    assert not only_the_form_differs("-5", "5")
    assert not only_the_form_differs("42", "4.2")
    assert not only_the_form_differs("142", "42")
    assert not only_the_form_differs("not positive", "positive")
    assert not only_the_form_differs("", "")


def test_texts_that_are_too_short_tell_no_language() -> None:
    assert script("ja") == script("42") == ""
    assert latin_language("la casa") == ""
    assert latin_language(GERMAN) == "de"
    assert latin_language(ENGLISH) == "en"
    assert latin_language("Le chien est dans la maison et il ne sait pas que nous sommes là") == "fr"
    assert latin_language("El perro está en la casa y no se sabe que los gatos son de ella") == "es"
    assert script("犬は家にいます") == "KANA"
    assert script("狗在房子里") == "CJK"


def test_a_sites_own_lists_take_the_place_of_the_shipped_ones(tmp_path, monkeypatch) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "refusals.txt").write_text("# ours\ncomputer says no\n")
    monkeypatch.setenv("HPC_TREX_SITE", str(tmp_path))
    assert group("Computer says no.", "42") == "refusal"
    assert group("I'm sorry, no.", "42") == "content"
    (tmp_path / "agents" / "stopwords.toml").write_text("de = 5\n")
    with pytest.raises(UsageProblem, match=r"stopwords\.toml.*not lists of words"):
        group(ENGLISH, GERMAN)
