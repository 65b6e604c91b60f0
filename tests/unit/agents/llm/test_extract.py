"""JSON is found in whatever a model wraps it in, and nothing that a model writes breaks the search for it."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_trex.agents.llm.extract import objects

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), PLAIN, max_size=4).filter(lambda value: set(value) != {"name", "arguments"})
PROSE = st.text(st.characters(exclude_characters="{}`<>"), max_size=60)


@settings(deadline=None)
@given(OBJECTS, st.sampled_from([None, 1, 2]), st.booleans())
def test_an_object_alone_is_found_however_it_is_written(value, indent, ascii_only):
    assert objects(json.dumps(value, indent=indent, ensure_ascii=ascii_only))[0] == value


@settings(deadline=None)
@given(OBJECTS.filter(bool), PROSE, PROSE, PROSE)
def test_an_object_is_found_behind_thoughts_and_between_prose(value, thought, before, after):
    # a thought's end inside a text of the object is the object's own; JSON written in ASCII hides none
    text = json.dumps(value).replace("<", "\\u003c").replace("`", "\\u0060")
    assert objects(f"<think>{thought} {{</think>{before}\n{text}\n{after}")[0] == value
    assert objects(f"{before}\n```json\n{text}\n```\n{after}")[0] == value


@settings(deadline=None)
@given(st.text(max_size=300) | st.text(st.sampled_from('{}[]":,`<think>/\\ \n1eE-naN'), max_size=300))
def test_no_text_breaks_it_and_all_that_is_found_is_json(text):
    for found in objects(text):
        assert isinstance(found, dict)
        json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    "text",
    [
        "{" * 100_000,
        '{"a":' * 50_000,
        "[" * 100_000,
        '{"a": ' + "9" * 10_000 + "}",
        "```" * 30_000,
        "<think>" * 15_000,
        "</think>" * 15_000,
        "`" * 99_999 + "\n{" * 50_000,
    ],
)
def test_hostile_texts_take_no_time(text):
    begun = time.process_time()
    objects(text)
    assert time.process_time() - begun < 2


def test_what_json_does_not_hold_is_no_object():
    assert objects('{"a": NaN}') == []
    assert objects('{"a": Infinity}') == []


def test_the_last_object_of_a_prose_comes_first():
    assert objects('like {"a": 1} or rather {"a": 2}.') == [{"a": 2}, {"a": 1}]


def test_an_object_that_was_encoded_twice_is_opened():
    assert objects(json.dumps(json.dumps({"a": 1}))) == [{"a": 1}]


def test_arguments_as_text_are_opened():
    assert objects('{"name": "answer", "arguments": "{\\"a\\": 1}"}')[0] == {"a": 1}


def test_a_thought_without_end_holds_no_answer():
    assert objects('<think>perhaps {"a": 1}') == []
