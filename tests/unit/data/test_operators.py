"""The operators that convert, sample by strata, mix by temperature, and drop by language or signs of waste."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hpc_trex.data.errors import DataProblem
from hpc_trex.data.mixing import strata_counts, tempered
from hpc_trex.data.prepare import prepare
from hpc_trex.models import DataRecipe, trial_identity
from hpc_trex.models.operators import LATER
from hpc_trex.models.plan import TrialPlan
from tests.unit.data.recipes import Bench, prepared

LOAD = [{"op": "load", "source": "a"}, {"op": "load", "source": "b"}]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "bench")
    bench.source("a", [(f"question {n}", "yes" if n % 4 else "no") for n in range(80)])
    bench.source("b", [(f"other {n}", "no") for n in range(20)])
    return bench


def _ids(bench: Bench, steps: list[dict[str, Any]], seed: int = 0) -> list[str]:
    spec = bench.spec(steps, seed)
    prepare(spec, lambda _: None)
    return [row.row_id for row in prepared(spec)]


def _drops(bench: Bench, steps: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    told = prepare(bench.spec(steps), lambda _: None)["steps"]
    assert isinstance(told, list)
    return {drop["reason"]: tuple(drop["examples"]) for drop in told[len(steps) - 1]["dropped"]}


def _sources(ids: list[str]) -> dict[str, int]:
    return dict(Counter(one.split(":")[0] for one in ids))


def test_a_stratified_sample_keeps_the_shares_or_makes_them_equal(bench: Bench) -> None:
    assert _sources(_ids(bench, [*LOAD, {"op": "sample", "n": 20, "method": "stratified"}])) == {"a": 16, "b": 4}
    equal = {"op": "sample", "n": 20, "method": "stratified", "equal": True}
    assert _sources(_ids(bench, [*LOAD, equal])) == {"a": 10, "b": 10}
    assert _sources(_ids(bench, [*LOAD, equal | {"n": 60}])) == {"a": 40, "b": 20}
    assert _ids(bench, [*LOAD, equal]) == _ids(bench, [*LOAD, equal])
    assert _ids(bench, [*LOAD, equal]) != _ids(bench, [*LOAD, equal], seed=1)
    spec = bench.spec([*LOAD, equal | {"by": "answer"}])
    prepare(spec, lambda _: None)
    assert Counter(row.answer.strip() for row in prepared(spec)) == {"yes": 10, "no": 10}


@given(
    st.dictionaries(st.text(max_size=3), st.integers(1, 50), min_size=1, max_size=6), st.integers(0, 400), st.booleans()
)
def test_strata_add_up_and_never_ask_for_more_than_there_is(have: dict[str, int], total: int, equal: bool) -> None:
    counts = strata_counts(have, total, equal=equal)
    assert sum(counts.values()) == min(total, sum(have.values()))
    assert all(0 <= counts[name] <= have[name] for name in have)
    if equal:
        most = max(counts.values())
        assert all(counts[name] >= most - 1 or counts[name] == have[name] for name in have)


def test_a_temperature_brings_sources_nearer_to_equal_parts(bench: Bench) -> None:
    def mixed(**more: object) -> dict[str, int]:
        return _sources(_ids(bench, [*LOAD, {"op": "mix", "total": 30, **more}]))

    assert mixed(temperature=1) == {"a": 24, "b": 6}
    assert mixed(temperature=2) == {"a": 20, "b": 10}
    assert mixed(weights={"a": 1, "b": 1}, caps={"b": 5}) == {"a": 5, "b": 5}
    assert mixed(temperature=1, caps={"a": 20}) == {"a": 15, "b": 15}
    assert tempered({"a": 4.0, "b": 0.0}, 2) == {"a": 2.0, "b": 0.0}


def test_convert_writes_prompt_and_answer_by_templates(bench: Bench) -> None:
    step = {"op": "convert", "prompt": "[{{ source }}] {{ prompt }}?", "answer": "{{ answer | upper }}"}
    spec = bench.spec([LOAD[1], step])
    prepare(spec, lambda _: None)
    assert prepared(spec)[0]._asdict() == {"row_id": "b:1", "prompt": "[b] other 0?", "answer": " NO", "source": "b"}


def test_convert_leaves_plain_texts_as_they_are(bench: Bench) -> None:
    """They have no answer, which the template would have refused or written."""
    bench.source("texts", [("a manual", ""), ("a book", "")])
    load = {"op": "load", "source": "texts"}
    spec = bench.spec([LOAD[1], load, {"op": "convert", "prompt": "{{ prompt }}?", "answer": "{{ answer | upper }}!"}])
    prepare(spec, lambda _: None)
    assert [row[1:3] for row in prepared(spec)][-2:] == [("a manual", ""), ("a book", "")]
    assert prepared(spec)[0][1:3] == ("other 0?", " NO!")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ question }}", "row b:1: .*'question' is undefined"),
        ("{{ prompt", "line 1 of the template"),
        ("{{ prompt.__class__.__mro__ }}", "row b:1"),
        ("{% if false %}x{% endif %}", "row b:1: the prompt is empty"),
    ],
)
def test_a_template_that_cannot_be_filled_names_the_row(bench: Bench, template: str, message: str) -> None:
    with pytest.raises(DataProblem, match=message) as caught:
        prepare(bench.spec([LOAD[1], {"op": "convert", "prompt": template}]), lambda _: None)
    assert caught.value.hint


def test_filter_language_keeps_what_it_asked_for_and_what_cannot_be_told(bench: Bench) -> None:
    texts = [
        "The committee will meet on Tuesday afternoon to discuss the new budget for the library.",
        "Der Ausschuss trifft sich am Dienstag, um den neuen Haushalt der Bibliothek zu besprechen.",
        "Le comité se réunira mardi après-midi pour discuter du nouveau budget de la bibliothèque.",
        "12 + 30 = 42",
        "ok danke",
    ]
    bench.source("a", [(text, "x") for text in texts])
    step = {"op": "filter_language", "languages": ["en", "fr"]}
    assert _ids(bench, [LOAD[0], step]) == ["a:1", "a:3", "a:4", "a:5"]
    with pytest.raises(DataProblem, match="no language xx") as caught:
        prepare(bench.spec([LOAD[0], step | {"languages": ["xx"]}]), lambda _: None)
    assert "en" in caught.value.hint


def test_filter_quality_drops_waste_and_says_which(bench: Bench) -> None:
    answers = [
        "A plain answer, with a comma and a stop.",
        "#### **** ---- //// a",
        "same line\nsame line\nsame line\nanother line",
        "go round and go round and go round and go round and stop",
        "x" * 300,
        "長い答えですがこれは普通の文章であり空白は一つもありません。",
    ]
    bench.source("a", [(f"q{n}", answer) for n, answer in enumerate(answers)])
    assert _ids(bench, [LOAD[0], {"op": "filter_quality"}]) == ["a:1", "a:6"]
    assert _drops(bench, [LOAD[0], {"op": "filter_quality"}]) == {
        "answer is more than 50% symbols": ("a:2",),
        "answer repeats more than 30% of its lines": ("a:3",),
        "answer repeats more than 30% of its runs of three words": ("a:4",),
        "answer has words of more than 20 characters on average": ("a:5",),
    }
    off = {"max_symbol_share": None, "max_repeated_lines": None, "max_repeated_ngrams": None, "max_mean_word": None}
    assert len(_ids(bench, [LOAD[0], {"op": "filter_quality", **off}])) == 6
    assert _ids(bench, [LOAD[0], {"op": "filter_quality", **off, "min_words": 3, "max_words": 9}]) == ["a:1", "a:3"]


@pytest.mark.parametrize(
    "step",
    [
        {"op": "dedup", "threshold": 0.9},
        {"op": "sample", "n": 3, "by": "answer"},
        {"op": "mix"},
        {"op": "mix", "temperature": 2, "repeat": True},
        {"op": "filter_tokens", "min_tokens": 9, "max_tokens": 3},
        {"op": "filter_language", "languages": []},
    ],
)
def test_parameters_without_effect_or_sense_are_refused(step: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DataRecipe(steps=(*LOAD, step))


def test_the_prepared_set_of_an_older_recipe_is_found_again() -> None:
    """The digest was recorded by the program before these operators had their later parameters."""
    steps = [
        {"op": "load", "source": "a"},
        {"op": "load", "source": "b"},
        {"op": "dedup"},
        {"op": "mix", "weights": {"a": 3, "b": 1}, "total": 100},
        {"op": "sample", "n": 50},
    ]
    recipe = DataRecipe.model_validate({"steps": steps, "seed": 3})
    assert recipe.set_digest() == "d8527e1ab290f068054e75803528249c58604d8f55f66262caf72df6602124ba"
    assert recipe.model_copy(update={"seed": 4}).set_digest() != recipe.set_digest()


def test_an_older_recipe_keeps_its_identity() -> None:
    """Recorded before method, threshold, ngram, temperature, caps, by and equal were parameters."""
    steps = (
        {"op": "load", "source": "a"},
        {"op": "dedup"},
        {"op": "mix", "weights": {"a": 2.0}},
        {"op": "sample", "n": 5},
        {"op": "filter_similar", "reference": "a"},
    )
    recipe = DataRecipe.model_validate({"steps": steps})
    plain = recipe.identity()["steps"]
    assert plain == [
        {"op": "load", "source": "a", "limit": None},
        {"op": "dedup", "columns": ["prompt", "answer"]},
        {"op": "mix", "weights": {"a": 1.0}, "total": None, "repeat": False},
        {"op": "sample", "n": 5, "fraction": None},
        {"op": "filter_similar", "reference": "a", "min_similarity": 0.5},
    ]
    changed = DataRecipe.model_validate({"steps": (*steps[:3], {"op": "sample", "n": 5, "method": "hardest"})})
    assert len({trial_identity(one, TrialPlan(), base="b", task="t") for one in (recipe, changed)}) == 2
    assert set(LATER) == {"dedup", "filter_similar", "mix", "sample"}
