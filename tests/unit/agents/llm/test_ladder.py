"""How an answer's form is asked for: as well as the server can, and no worse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from hpc_trex.agents.llm.errors import LlmBadAnswer
from hpc_trex.agents.llm.ladder import Form, lower, strict_schema, without
from hpc_trex.models import RoundPlan
from hpc_trex.models.base import Record
from tests.llm_asking import GOOD, Direction, ask, client, question
from tests.llm_server import EVERYTHING, Good, LlmServer, Request, Status

RUNGS = ("json_schema", "json_object", "tool", "text")
OTHERS = tuple(name for name in EVERYTHING if name not in RUNGS)


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("rung", RUNGS)
def test_a_server_is_asked_on_its_best_rung_and_at_once_the_next_time(tmp_path, rung, api):
    known = RUNGS[RUNGS.index(rung) : -1]
    with LlmServer(GOOD, supports=(*OTHERS, *known)) as server:
        asked = client(tmp_path, server.url, api=api)
        assert ask(asked, "a").value == Direction(**GOOD)
        first = len(server.requests)
        ask(asked, "b")
    assert [request.rung for request in server.requests] == [*RUNGS[:first], rung]
    assert first == RUNGS.index(rung) + 1
    assert [call.rung for call in asked.ledger.calls()] == [rung, rung]
    assert asked.ledger.calls()[0].usage.requests == first


@pytest.mark.parametrize("rung", RUNGS)
def test_the_schema_reaches_the_model_on_every_rung(tmp_path, rung):
    with LlmServer(GOOD, supports=(*OTHERS, rung)) as server:
        ask(client(tmp_path, server.url))
    last = server.requests[-1]
    assert last.rung == rung
    assert "Must be" not in json.dumps(last.body)
    assert '"trials"' in json.dumps(last.body) or '\\"trials\\"' in json.dumps(last.body)
    assert last.messages[-1] == question().messages[-1]  # it stands in the system text, which stays the same


def test_a_text_without_a_system_message_gets_the_schema_at_its_end(tmp_path):
    with LlmServer(GOOD, supports=OTHERS) as server:
        own = question()._replace(messages=[{"role": "user", "content": [{"type": "text", "text": "Where next?"}]}])
        client(tmp_path, server.url).ask(own, Direction)
    (message,) = server.requests[-1].messages
    assert message["content"][0]["text"] == "Where next?"
    assert "JSON schema" in message["content"][1]["text"]


@pytest.mark.parametrize(
    ("missing", "form"),
    [
        ("stream_options", Form(stream="plain")),
        ("stream", Form(stream="no")),
        ("max_tokens", Form(limit="max_completion_tokens")),
    ],
)
def test_a_server_without_a_field_is_asked_without_it(tmp_path, missing, form):
    supports = [
        name for name in EVERYTHING if name != missing and not (missing == "stream" and name == "stream_options")
    ]
    with LlmServer(GOOD, supports=supports) as server:
        asked = client(tmp_path, server.url)
        ask(asked, "a")
        before = len(server.requests)
        ask(asked, "b")
    body = server.requests[-1].body
    assert len(server.requests) == before + 1
    assert body.get("stream", False) is (form.stream != "no")
    assert ("stream_options" in body) is (form.stream == "usage")
    assert body[form.limit] == 8192
    assert asked.ledger.calls()[0].rung == "json_schema"


def test_a_server_that_fails_with_500_over_a_schema_is_asked_without(tmp_path):
    def fails(request: Request) -> Any:
        return Status(500, "failed to parse grammar") if request.rung == "json_schema" else GOOD

    with LlmServer(fails) as server:
        assert ask(client(tmp_path, server.url)).usage.requests == 2


def test_a_schema_that_is_refused_in_its_strict_form_is_sent_as_it_is(tmp_path):
    def picky(request: Request) -> Any:
        wanted = request.body["response_format"]["json_schema"]
        return (
            Status(400, "Invalid schema for response_format: 'minimum' is not permitted") if wanted["strict"] else GOOD
        )

    with LlmServer(picky) as server:
        asked = client(tmp_path, server.url)
        assert ask(asked, "a").usage.requests == 2
        assert ask(asked, "b").usage.requests == 1
    assert server.requests[-1].body["response_format"]["json_schema"]["schema"] == Direction.model_json_schema()


def test_a_server_that_ignores_the_schema_is_given_it_in_the_prompt(tmp_path):
    def ignores(request: Request) -> Any:
        return GOOD if "JSON schema" in request.text else Good("Sure! More data.")

    with LlmServer(ignores) as server:
        asked = client(tmp_path, server.url)
        assert ask(asked, "a").usage.requests == 2
        assert ask(asked, "b").usage.requests == 1
    assert [request.rung for request in server.requests] == ["json_schema", "json_object", "json_object"]


def test_a_refusal_about_something_else_makes_nothing_simpler(tmp_path):
    with LlmServer([Status(400, "the model `tiny` does not exist"), GOOD]) as server:
        asked = client(tmp_path, server.url)
        with pytest.raises(LlmBadAnswer, match="does not exist"):
            ask(asked)
        ask(asked)
    assert [request.rung for request in server.requests] == ["json_schema", "json_schema"]


def test_a_refusal_of_every_rung_ends_in_the_servers_words_and_is_not_remembered(tmp_path):
    picky = Status(422, "schema of tool function not allowed in response_format")
    with LlmServer([picky, picky, picky, picky, GOOD]) as server:
        asked = client(tmp_path, server.url)
        with pytest.raises(LlmBadAnswer, match="not allowed"):
            ask(asked)
        ask(asked)
    assert [request.rung for request in server.requests] == [*RUNGS, "json_schema"]


def test_a_wrong_tool_is_named_in_the_repair_turn(tmp_path):
    with LlmServer([Good(GOOD, tool="launch_rockets"), GOOD], supports=(*OTHERS, "tool")) as server:
        assert ask(client(tmp_path, server.url)).value.trials == 2
    assert "'launch_rockets' does not exist; the only one is 'answer'" in server.requests[-1].messages[-1]["content"]
    assert all(isinstance(message["content"], str) for message in server.requests[-1].messages)


@pytest.mark.parametrize(
    "text",
    [
        "```json\n@\n```",
        '<think>Maybe {"direction": "data"}?</think>\n@',
        "Here it is:\n\n```\n@\n```\nGood luck!",
        "My plan is @ as you see.",
        'An example is {"a": 1}. The answer: @',
        "[@]",
        '<tool_call>{"name": "answer", "arguments": @}</tool_call>',
        "@<think>That was it.</think>",
    ],
)
def test_whatever_a_model_wraps_its_answer_in_costs_no_repair_turn(tmp_path, text):
    with LlmServer(Good(text.replace("@", json.dumps(GOOD))), supports=OTHERS) as server:
        answer = ask(client(tmp_path, server.url))
    assert answer.value == Direction(**GOOD)
    assert len(server.requests) == 4


def test_forms_differ_by_model(tmp_path):
    def by_model(request: Request) -> Any:
        small = request.body["model"] == "small"
        return (
            Status(400, "no response_format here", param="response_format")
            if small and request.rung != "tool"
            else GOOD
        )

    with LlmServer(by_model) as server:
        asked = client(tmp_path, server.url)
        small = asked.settings.model_copy(update={"model": "small"})
        for number in range(2):
            ask(asked, f"a{number}")
            asked.ask(question(f"b{number}"), Direction, settings=small)
    rungs = [(request.body["model"], request.rung) for request in server.requests]
    assert rungs[-2:] == [("tiny", "json_schema"), ("small", "tool")]


def test_a_strict_schema_demands_every_field_and_knows_no_other():
    schema, strict = strict_schema(Direction)
    assert strict
    assert schema["required"] == ["why", "direction", "trials"]
    assert schema["additionalProperties"] is False
    assert "default" not in schema["properties"]["why"]


def test_a_field_named_like_a_word_of_schemas_stays():
    class Inner(BaseModel):
        default: int = 1

    class Odd(Record):
        default: str = "x"
        properties: Inner = Inner()

    schema, strict = strict_schema(Odd)
    assert strict
    assert schema["required"] == ["default", "properties"]
    assert schema["$defs"]["Inner"]["required"] == ["default"]


def test_a_schema_with_an_open_map_is_sent_as_it_is():
    class Open(Record):
        facts: dict[str, int]

    assert strict_schema(Open) == (Open.model_json_schema(), False)


def test_the_plans_schema_has_a_form():
    schema, _ = strict_schema(RoundPlan)
    assert schema["properties"]


def test_the_last_rung_has_none_below():
    assert lower(Form("text")) is None
    assert without(Form("text", "no", "max_completion_tokens"), "tool function schema stream max_tokens") is None
    assert without(Form("text"), "upstream connect error") is None
