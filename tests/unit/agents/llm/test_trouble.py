"""Everything that a server can do instead of answering: each ends by its deadline, with its exit code, on record."""

from __future__ import annotations

import datetime
import email.utils
import socket
import threading
import time

import pytest

from hpc_trex.agents.llm.errors import LlmBadAnswer, LlmUnavailable
from hpc_trex.agents.llm.patience import Breaker, Pace
from hpc_trex.agents.llm.transport import Trouble, retry_after
from hpc_trex.errors import CredentialsMissing, UsageProblem
from tests.llm_asking import GOOD, QUICK, ask, client
from tests.llm_server import BROKEN_JSON, LOGIN_PAGE, Good, HangUp, LlmServer, Raw, Silence, Status, Trickle

NO_CHOICES = Raw('{"id": "1", "choices": null, "usage": {"prompt_tokens": 7, "completion_tokens": 0}}')
ERROR_IN_STREAM = Raw('data: {"error": {"message": "CUDA out of memory"}}\n\n', "text/event-stream")
PASSING = {
    "500": Status(500),
    "503": Status(503),
    "408": Status(408),
    "429": Status(429),
    "429 with Retry-After": Status(429, headers={"Retry-After": "0.05"}),
    "no byte": HangUp(),
    "cut in the middle": Good(GOOD, cut=True),
    "stream without its end": Good(GOOD, finish=None),
    "truncated JSON": BROKEN_JSON,
    "login page": LOGIN_PAGE,
    "no choices": NO_CHOICES,
    "error inside a stream": ERROR_IN_STREAM,
    "stream of no JSON": Raw("data: {oops\n\n", "text/event-stream"),
    "a list": Raw("[1, 2]"),
    "nothing": Raw(""),
    "a stream of nothing": Raw("", "text/event-stream"),
    "error with status 200": Raw('{"error": {"message": "overloaded", "code": 503}}'),
    "choices of the wrong type": Raw('{"choices": [{"message": "hi", "finish_reason": "stop"}]}'),
}


@pytest.fixture(scope="module", autouse=True)
def _imported(tmp_path_factory):
    """The openai package takes over a second to import; the short deadlines of these tests are not for that."""
    with LlmServer(GOOD) as server:
        ask(client(tmp_path_factory.mktemp("first"), server.url))


@pytest.mark.parametrize("name", PASSING)
def test_trouble_that_passes_is_tried_again(tmp_path, name):
    with LlmServer([PASSING[name], PASSING[name], GOOD]) as server:
        asked = client(tmp_path, server.url)
        answer = ask(asked)
    assert answer.value.trials == 2
    assert answer.usage.requests == 3
    assert len(asked.ledger.calls()) == 1


@pytest.mark.parametrize("name", PASSING)
def test_trouble_that_stays_is_an_endpoint_away_and_on_record(tmp_path, name):
    with LlmServer(PASSING[name]) as server:
        asked = client(tmp_path, server.url)
        with pytest.raises(LlmUnavailable) as caught:
            ask(asked)
    assert caught.value.exit_code == 8
    assert caught.value.hint
    assert len(server.requests) == 3
    (call,) = asked.ledger.calls()
    assert call.error == caught.value.message
    assert call.usage.requests == 3


@pytest.mark.parametrize("stream", ["streamed", "in one piece"])
def test_a_cut_answer_is_cut_in_either_form(tmp_path, stream):
    ways = ("stream", "stream_options") if stream == "streamed" else ()
    with LlmServer([Good(GOOD, cut=True), GOOD], supports=("json_schema", "max_tokens", *ways)) as server:
        assert ask(client(tmp_path, server.url)).value.trials == 2


def test_usage_of_what_failed_is_booked(tmp_path):
    with LlmServer([NO_CHOICES, GOOD]) as server:
        assert ask(client(tmp_path, server.url)).usage.tokens_in == 107


def test_what_is_quoted_of_a_web_page_is_its_title(tmp_path):
    with LlmServer(LOGIN_PAGE) as server, pytest.raises(LlmUnavailable, match=r"a web page \(Please log in\)"):
        ask(client(tmp_path, server.url))


ENDLESS = {
    "comments of a stream": Trickle(),
    "bytes of a stream": Trickle(piece=b"x"),
    "events of a stream": Trickle(piece=b'data: {"choices": [{"index": 0, "delta": {"content": " "}}]}\n\n'),
    "white space before JSON": Trickle(kind="application/json", piece=b" "),
    "headers": Trickle(place="headers"),
    "silence": Silence(),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_reply_that_never_ends_is_over_by_the_deadline(tmp_path, name):
    with LlmServer(ENDLESS[name]) as server:
        asked = client(tmp_path, server.url, deadline_seconds=0.4, pace=QUICK._replace(overdue_tries=2))
        begun = time.monotonic()
        with pytest.raises(LlmUnavailable):
            ask(asked)
        assert time.monotonic() - begun < 4
    assert len(server.requests) == 2
    assert asked.ledger.calls()[0].usage.requests == 2


@pytest.mark.parametrize("place", ["body", "headers"])
def test_threads_of_endless_replies_do_not_pile_up(tmp_path, place):
    with LlmServer(Trickle(pause=0.01, place=place)) as server:
        asked = client(tmp_path, server.url, deadline_seconds=0.15, pace=QUICK._replace(overdue_tries=1))
        for number in range(3):
            with pytest.raises(LlmUnavailable):
                ask(asked, f"plan-{number}")
        end = time.monotonic() + 5
        while any("_work" in thread.name for thread in threading.enumerate()) and time.monotonic() < end:
            time.sleep(0.02)
        assert not [thread.name for thread in threading.enumerate() if "_work" in thread.name]


def test_an_answer_without_end_in_bytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("hpc_trex.agents.llm.wire.MOST_BYTES", 50_000)
    with LlmServer(Good("x" * 100_000)) as server, pytest.raises(LlmUnavailable, match="has no end"):
        ask(client(tmp_path, server.url))


def test_a_server_that_is_not_there_is_said_with_its_address(tmp_path):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    with pytest.raises(LlmUnavailable, match=f"tiny at http://127.0.0.1:{port}/v1: no connection"):
        ask(client(tmp_path, f"http://127.0.0.1:{port}/v1"))


def test_a_server_that_asks_for_long_patience_is_not_waited_for(tmp_path):
    with LlmServer(Status(429, headers={"Retry-After": "3600"})) as server, pytest.raises(LlmUnavailable) as caught:
        ask(client(tmp_path, server.url))
    assert caught.value.retry_after == 3600
    assert len(server.requests) == 1


def test_short_patience_is_kept(tmp_path):
    with LlmServer([Status(429, headers={"Retry-After": "0.3"}), GOOD]) as server:
        begun = time.monotonic()
        ask(client(tmp_path, server.url))
    assert time.monotonic() - begun >= 0.3


def test_an_account_without_money_is_not_asked_again(tmp_path):
    empty = Status(429, "You exceeded your current quota", error_code="insufficient_quota")
    with LlmServer(empty) as server, pytest.raises(LlmUnavailable) as caught:
        ask(client(tmp_path, server.url))
    assert "money" in caught.value.hint
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_key_is_said_at_once_with_the_servers_words(tmp_path, code):
    with LlmServer(Status(code, "project blocked")) as server:
        asked = client(tmp_path, server.url, key_variable="MY_KEY")
        with pytest.raises(CredentialsMissing, match="project blocked") as caught:
            ask(asked)
    assert "MY_KEY" in caught.value.hint
    assert len(server.requests) == 1
    assert asked.ledger.calls()[0].error == caught.value.message


@pytest.mark.parametrize("key", [None, "", "  \n"])
def test_a_server_elsewhere_is_never_asked_without_a_key(tmp_path, key):
    with pytest.raises(CredentialsMissing, match="MY_KEY") as caught:
        ask(client(tmp_path, "https://nowhere.invalid/v1", key=key, key_variable="MY_KEY"))
    assert caught.value.exit_code == 4


def test_a_server_on_this_machine_needs_no_key(tmp_path):
    with LlmServer(GOOD) as server:
        ask(client(tmp_path, server.url, key=None))
    assert server.requests[0].headers["authorization"] == "Bearer none"


def test_a_key_that_no_header_can_hold_is_said_without_it(tmp_path):
    with pytest.raises(CredentialsMissing) as caught:
        ask(client(tmp_path, "http://127.0.0.1:9/v1", key="sk-geheim\nübel"))
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("url", ["127.0.0.1:8000/v1", "ftp://host/v1", "http://", "nonsense"])
def test_an_address_that_is_none_is_said(tmp_path, url):
    with pytest.raises(UsageProblem, match="no address"):
        ask(client(tmp_path, url))


def test_a_proxy_of_the_site_is_not_asked_for_a_server_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with LlmServer(GOOD) as server:
        assert ask(client(tmp_path, server.url)).value.trials == 2


@pytest.mark.parametrize("code", [400, 404, 413, 422])
def test_a_request_that_the_server_refuses_is_a_bad_answer_in_its_words(tmp_path, code):
    refusal = Status(code, "maximum context length is 4096 tokens")
    with LlmServer(refusal) as server, pytest.raises(LlmBadAnswer, match="maximum context length is 4096"):
        ask(client(tmp_path, server.url))
    assert len(server.requests) == 1


def test_an_endpoint_that_was_away_for_several_calls_is_left_alone_for_a_while(tmp_path):
    pace = QUICK._replace(breaker_failures=2, breaker_seconds=0.5)
    with LlmServer([Status(500)] * 6 + [GOOD]) as server:
        asked = client(tmp_path, server.url, pace=pace)
        for number in range(2):
            with pytest.raises(LlmUnavailable, match="HTTP 500"):
                ask(asked, f"plan-{number}")
        with pytest.raises(LlmUnavailable, match="2 times in a row") as caught:
            ask(asked, "plan-2")
        assert 0 < caught.value.retry_after <= 0.5
        assert len(server.requests) == 6
        assert len(asked.ledger.calls()) == 2
        time.sleep(0.55)
        assert ask(asked, "plan-2").value.trials == 2
        assert ask(asked, "plan-3").value.trials == 2


def test_after_the_pause_one_call_goes_first():
    breaker = Breaker(Pace(breaker_failures=1, breaker_seconds=0.2))
    breaker.check()
    breaker.away("HTTP 500", None)
    time.sleep(0.25)
    breaker.check()
    with pytest.raises(LlmUnavailable):
        breaker.check()
    breaker.there()
    breaker.check()


def test_a_breaker_keeps_the_patience_that_the_server_asked_for():
    breaker = Breaker(Pace(breaker_failures=1, breaker_seconds=0.0))
    breaker.away("HTTP 429", 50.0)
    with pytest.raises(LlmUnavailable) as caught:
        breaker.check()
    assert 45 < caught.value.retry_after <= 50


def test_a_server_that_answers_badly_is_there(tmp_path):
    with LlmServer(Good("no JSON")) as server:
        asked = client(tmp_path, server.url, pace=QUICK._replace(breaker_failures=1))
        for number in range(3):
            with pytest.raises(LlmBadAnswer):
                ask(asked, f"plan-{number}")


def test_an_endpoint_that_is_away_for_days_fills_no_disk(tmp_path):
    with LlmServer(Status(503)) as server:
        asked = client(tmp_path, server.url)
        for _ in range(5):
            with pytest.raises(LlmUnavailable):
                ask(asked)
    (call,) = asked.ledger.calls()
    assert call.usage.requests == 15


def test_pauses_grow_up_to_a_limit_and_differ():
    pace, trouble = Pace(tries=50), Trouble("later", "")
    for number, longest in [(1, 1), (2, 2), (3, 4), (6, 30), (40, 30)]:
        pauses = {pace.pause(trouble, number) for _ in range(20)}
        assert len(pauses) > 1
        assert all(longest / 2 <= pause <= longest for pause in pauses)
    assert pace.pause(trouble, 50) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_what_a_server_says_of_patience(headers, seconds):
    assert retry_after(headers) == seconds


def test_patience_until_a_date():
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100)
    assert retry_after({"retry-after": email.utils.format_datetime(then, usegmt=True)}) == pytest.approx(100, abs=5)
