"""A key is in no record, no log, no error and no repr, even where the server or a model writes it down."""

from __future__ import annotations

import json
import logging
import traceback

import pytest

from hpc_trex.agents.llm.endpoint import Endpoint, endpoint_of, plain
from hpc_trex.errors import TrexError
from hpc_trex.models import LlmSettings
from tests.llm_asking import GOOD, KEY, Direction, ask, client, question
from tests.llm_server import Good, HangUp, LlmServer, Raw, Status, Trickle

TROUBLE = {
    "key refused, quoted": Status(401, f"Incorrect API key provided: {KEY}"),
    "request refused, quoted": Status(400, f"bad header: Bearer {KEY}"),
    "server fails, quoted": Status(500, f"traceback: {KEY}"),
    "web page": Raw(f"<title>{KEY}</title>", "text/html"),
    "no JSON": Raw(KEY),
    "hang up": HangUp(),
    "endless": Trickle(),
    "bad answer": Good(f"I saw {KEY}"),
    "wrong tool": Good(GOOD, tool=KEY),
    "refusal": Good("", refusal=f"not with {KEY}"),
    "key in escapes": Good(json.dumps(GOOD).replace("few rows", "".join(f"\\u{ord(sign):04x}" for sign in KEY))),
    "good answer": Good(GOOD | {"why": f"because {KEY}"}),
}


@pytest.mark.parametrize("name", TROUBLE)
def test_a_key_is_never_written_down(tmp_path, name, caplog, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_LOG", "debug")
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    errors: list[BaseException | None] = []
    with LlmServer(TROUBLE[name]) as server:
        asked = client(tmp_path, server.url, deadline_seconds=0.3 if name == "endless" else 5)
        try:
            said.append(repr(asked.ask(question(text=f"The key is {KEY}."), Direction)))
        except TrexError as error:
            said += [repr(error), str(error), error.hint, "".join(traceback.format_exception(error))]
            errors += [error.__cause__, error.__context__]
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert not any(errors)
    files = [path.read_text() for path in (tmp_path / "llm").rglob("*") if path.is_file()]
    assert files
    output = capsys.readouterr()
    for text in [*said, *files, caplog.text, output.out, output.err, repr(asked), str(vars(asked))]:
        assert KEY not in text


def test_an_endpoint_shows_no_key_and_no_password():
    made = endpoint_of(LlmSettings(model="m", base_url="https://me:passw0rd!@host/v1?token=abc"), KEY)
    assert KEY not in repr(made)
    assert made.plain_url == "https://host/v1"
    assert made.hide(f"{KEY} passw0rd!") == "[key] [key]"


def test_a_password_in_the_address_is_on_no_record(tmp_path):
    with LlmServer(GOOD) as server:
        asked = client(tmp_path, server.url.replace("http://", "http://me:passw0rd-1@"))
        ask(asked)
    assert "passw0rd-1" not in (tmp_path / "llm" / "node-0001" / "plan-1.json").read_text()
    assert asked.ledger.calls()[0].base_url == server.url


def test_a_key_with_signs_that_json_escapes_is_hidden_in_either_form():
    key = 'ab"cd\\ef123'
    made: Endpoint = endpoint_of(LlmSettings(model="m"), key)
    assert made.hide(f'{key} and "ab\\"cd\\\\ef123"') == '[key] and "[key]"'


def test_words_for_no_key_are_no_secrets(tmp_path):
    with LlmServer(GOOD | {"why": "none of it"}) as server:
        assert ask(client(tmp_path, server.url, key=None)).value.why == "none of it"


def test_a_plain_address_keeps_what_names_the_server():
    assert plain("http://u:p@[::1]:8000/v1/?k=1#x") == "http://[::1]:8000/v1/"
