"""The client against a real server: answers are validated and recorded, and nothing is paid twice."""

from __future__ import annotations

import shutil
import threading

import pytest

from hpc_trex.agents.llm.client import LlmClient
from hpc_trex.agents.llm.errors import LlmBadAnswer, LlmBudgetReached, LlmUnavailable
from hpc_trex.agents.llm.ledger import Ledger
from hpc_trex.errors import UsageProblem
from hpc_trex.models import LlmSettings
from hpc_trex.models.base import Record
from tests.llm_asking import GOOD, QUICK, Direction, ask, client, question
from tests.llm_server import Good, LlmServer, Silence, Status


def test_a_good_answer_is_validated_priced_and_recorded(tmp_path):
    with LlmServer(Good(GOOD, tokens=(1000, 50), cached=900)) as server:
        asked = client(tmp_path, server.url, price_in=2.0, price_out=10.0)
        answer = ask(asked)
    assert answer.value == Direction(**GOOD)
    assert not answer.recorded
    call = asked.ledger.find("node-0001/plan-1")
    assert (call.rung, call.schema_name, call.role, call.node) == ("json_schema", "Direction", "researcher", 1)
    assert (call.usage.tokens_in, call.usage.tokens_out, call.usage.tokens_cached) == (1000, 50, 900)
    assert call.usage.money == pytest.approx(0.0025)
    assert call.usage.requests == 1
    assert call.value == GOOD


def test_the_longest_answer_is_always_sent_and_the_prefix_of_the_messages_is_untouched(tmp_path):
    with LlmServer(GOOD) as server:
        ask(client(tmp_path, server.url, max_tokens=777))
    assert server.requests[0].body["max_tokens"] == 777
    assert server.requests[0].messages == list(question().messages)
    assert "temperature" not in server.requests[0].body


def test_a_recorded_answer_costs_no_request_whatever_else_changed(tmp_path):
    with LlmServer(GOOD) as server:
        ask(client(tmp_path, server.url))
    other = client(tmp_path, "https://nowhere.invalid/v1", key=None, model="other", tokens_cap=1)
    answer = other.ask(question(text="Something else?"), Direction)
    assert answer.recorded
    assert answer.value == Direction(**GOOD)
    assert answer.usage.tokens_in == 100
    assert len(server.requests) == 1


def test_another_searchs_folder_replays_it(tmp_path):
    with LlmServer(GOOD) as server:
        ask(client(tmp_path / "one", server.url))
    shutil.copytree(tmp_path / "one" / "llm", tmp_path / "two" / "llm")
    assert ask(client(tmp_path / "two", "https://nowhere.invalid/v1", key=None)).recorded


def test_a_recorded_answer_that_fits_no_more_is_said_and_not_paid_again(tmp_path):
    class Later(Record):
        other: int

    with LlmServer(GOOD) as server:
        asked = client(tmp_path, server.url)
        ask(asked)
        with pytest.raises(LlmBadAnswer, match="does not fit this version") as caught:
            asked.ask(question(), Later)
    assert str(asked.ledger.path("node-0001/plan-1")) in caught.value.hint
    assert len(server.requests) == 1


def test_two_threads_that_ask_the_same_call_pay_once(tmp_path):
    with LlmServer(Good(GOOD, delay=0.3)) as server:
        asked = client(tmp_path, server.url)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(ask(asked))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(server.requests) == 1
    assert sorted(answer.recorded for answer in answers) == [False, True, True, True]


def test_different_calls_are_asked_at_the_same_time(tmp_path):
    meeting = threading.Barrier(3, timeout=5)  # broken, and the server fails, if one waits for another

    def answer(_request):
        meeting.wait()
        return GOOD

    with LlmServer(answer) as server:
        asked = client(tmp_path, server.url)
        threads = [threading.Thread(target=ask, args=(asked, f"plan-{number}")) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(asked.ledger.calls()) == 3
    assert all(call.value for call in asked.ledger.calls())


def test_a_wrong_answer_gets_one_repair_turn_that_quotes_what_is_wrong(tmp_path):
    with LlmServer([GOOD | {"trials": 50}, GOOD]) as server:
        answer = ask(client(tmp_path, server.url))
    assert answer.value.trials == 2
    assert answer.usage.requests == 2
    assert answer.usage.tokens_in == 200
    *before, shown, wish = server.requests[1].messages
    assert before == server.requests[0].messages
    assert '"trials": 50' in shown["content"]
    assert "trials: Input should be less than or equal to 5" in wish["content"]


def test_two_wrong_answers_are_a_bad_answer_with_its_usage_on_record(tmp_path):
    with LlmServer(GOOD | {"direction": "hope"}) as server:
        asked = client(tmp_path, server.url)
        with pytest.raises(LlmBadAnswer, match="'data' or 'training'"):
            ask(asked)
    assert len(server.requests) == 2
    (call,) = asked.ledger.calls()
    assert call.value is None
    assert len(call.replies) == 2
    assert call.usage.tokens_out == 40
    assert "after one repair turn" in call.error
    assert asked.ledger.find(call.call) is None


def test_a_call_that_failed_is_asked_again_and_both_stand_in_the_ledger(tmp_path):
    bad = Good(GOOD | {"trials": 0})
    with LlmServer([bad, bad, GOOD]) as server:
        asked = client(tmp_path, server.url)
        with pytest.raises(LlmBadAnswer):
            ask(asked)
        assert not ask(asked).recorded
    assert [call.value for call in asked.ledger.calls()] == [None, GOOD]
    assert asked.ledger.spent().tokens_in == 300


def test_an_answer_cut_by_the_limit_is_asked_for_again_shorter(tmp_path):
    cut = Good('{"why": "' + "a" * 3000, finish="length")
    with LlmServer([cut, GOOD]) as server:
        assert ask(client(tmp_path, server.url, max_tokens=64)).value.trials == 2
    assert "cut after 64 tokens" in server.requests[1].messages[-1]["content"]
    assert len(server.requests[1].messages[-2]["content"]) == 500


def test_a_whole_answer_before_the_limit_counts(tmp_path):
    with LlmServer(Good(f'{{"why": "", "direction": "data", "trials": 1}}{" " * 500}', finish="length")) as server:
        assert ask(client(tmp_path, server.url)).usage.requests == 1


def test_a_refusal_is_quoted(tmp_path):
    with (
        LlmServer(Good("", refusal="I cannot help with that.")) as server,
        pytest.raises(LlmBadAnswer, match="I cannot help"),
    ):
        ask(client(tmp_path, server.url))


def test_a_cap_on_tokens_stops_new_calls_and_gives_old_answers(tmp_path):
    with LlmServer(Good(GOOD, tokens=(90, 20))) as server:
        asked = client(tmp_path, server.url, tokens_cap=200)
        ask(asked, "a")
        ask(asked, "b")
        with pytest.raises(LlmBudgetReached, match="220 of 200 tokens") as caught:
            ask(asked, "c")
        assert ask(asked, "a").recorded
    assert caught.value.exit_code == 7
    assert len(server.requests) == 2
    assert len(asked.ledger.calls()) == 2


def test_a_cap_on_money_stops_new_calls(tmp_path):
    with LlmServer(Good(GOOD, tokens=(1_000_000, 0))) as server:
        asked = client(tmp_path, server.url, money_cap=3, price_in=2, price_out=8)
        ask(asked, "a")
        ask(asked, "b")
        with pytest.raises(LlmBudgetReached, match=r"4\.00 of 3\.00"):
            ask(asked, "c")


def test_a_cap_on_money_without_prices_is_refused_at_once(tmp_path):
    with pytest.raises(UsageProblem, match="price"):
        client(tmp_path, "http://127.0.0.1:9/v1", money_cap=3, price_in=2)


def test_unknown_usage_stays_unknown_and_the_cap_holds_all_the_same(tmp_path):
    with LlmServer(Good(GOOD | {"why": "x" * 8000}, tokens=None)) as server:
        asked = client(tmp_path, server.url, tokens_cap=1500)
        assert ask(asked, "a").usage.tokens_in is None
        assert asked.ledger.spent().unknown == 1
        with pytest.raises(LlmBudgetReached):
            ask(asked, "b")


def test_another_model_for_one_question(tmp_path):
    with LlmServer(GOOD) as server:
        asked = client(tmp_path, server.url)
        asked.ask(
            question(), Direction, settings=asked.settings.model_copy(update={"model": "big", "temperature": 0.5})
        )
    assert server.requests[0].body["model"] == "big"
    assert server.requests[0].body["temperature"] == 0.5
    assert asked.ledger.calls()[0].model == "big"


def test_an_endpoint_with_a_key_variable_of_its_own_is_never_given_the_clients_key(tmp_path, monkeypatch):
    monkeypatch.setenv("OTHER_KEY", "other-secret-1")
    with LlmServer(GOOD) as server:
        asked = client(tmp_path, "https://nowhere.invalid/v1")
        other = LlmSettings(model="tiny", base_url=server.url, key_variable="OTHER_KEY")
        asked.ask(question(), Direction, settings=other)
    assert server.requests[0].headers["authorization"] == "Bearer other-secret-1"


def test_close_ends_a_pause(tmp_path):
    with LlmServer(Status(503)) as server:
        asked = client(tmp_path, server.url, pace=QUICK._replace(first_pause=60, longest_pause=60))
        threading.Timer(0.2, asked.close).start()
        with pytest.raises(LlmUnavailable):
            ask(asked)
        with pytest.raises(LlmUnavailable, match="stops"):
            ask(asked)
    assert len(server.requests) == 1


def test_close_ends_a_request_under_way(tmp_path):
    with LlmServer(Silence()) as server:
        asked = client(tmp_path, server.url, deadline_seconds=60)
        threading.Timer(0.3, asked.close).start()
        with pytest.raises(LlmUnavailable, match="stops"):
            ask(asked)


def test_the_responses_interface_is_used_only_by_choice(tmp_path):
    with LlmServer(Good(GOOD, tokens=(70, 7))) as server:
        answer = ask(client(tmp_path, server.url, api="responses"))
    assert server.requests[0].path == "/v1/responses"
    assert server.requests[0].body["store"] is False
    assert (answer.usage.tokens_in, answer.usage.tokens_out) == (70, 7)
    assert answer.value.trials == 2


def test_texts_with_half_characters_are_sent_and_recorded(tmp_path):
    with LlmServer(Good(lambda request: {"why": "\U0001f600 \ud800", "direction": "data", "trials": 1})) as server:
        asked = client(tmp_path, server.url)
        with pytest.raises(LlmBadAnswer):
            asked.ask(question(text="row: \ud800"), Direction)
    assert "row: ?" in server.requests[0].text
    assert asked.ledger.calls()[0].messages[1]["content"] == "row: ?"


def test_a_client_is_made_for_a_ledger_that_does_not_exist_yet(tmp_path):
    ledger = Ledger(tmp_path / "none" / "llm")
    assert LlmClient(LlmSettings(model="m"), ledger, key=None).ledger.spent().calls == 0
