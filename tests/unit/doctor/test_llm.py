"""The doctor's lines on a language model, against a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hpc_trex.doctor.check import Check, Verdict
from hpc_trex.doctor.llm import check_llm
from hpc_trex.models import LlmSettings
from tests.llm_server import EVERYTHING, LOGIN_PAGE, Good, LlmServer, Request, Status, Trickle
from tests.program import trex

pytestmark = pytest.mark.slow

GOOD = {"grounds": "it shines", "pebble": 3, "hue": "red"}
KEY = "sk-doctor-0123456789"


def lines(server: LlmServer, **settings: Any) -> dict[str, Check]:
    found = check_llm(LlmSettings(**({"model": "tiny", "base_url": server.url} | settings)), seconds=3)
    assert all(check.remedy for check in found if check.verdict != Verdict.OK)
    return {check.name: check for check in found}


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def test_a_server_that_can_do_everything_has_four_good_lines():
    with LlmServer(GOOD, key=KEY, context=65_536) as server:
        found = lines(server)
    assert list(found) == ["LLM endpoint", "LLM key", "LLM answers", "LLM context"]
    assert {check.verdict for check in found.values()} == {Verdict.OK}
    assert found["LLM endpoint"].found.startswith(f"{server.url} answers in")
    assert found["LLM key"].found == "accepted"
    assert found["LLM answers"].found == "json_schema: yes, json_object: yes, tools: yes, text: yes"
    assert found["LLM context"].found == "65,536 tokens; 32,192 are needed (context 24,000, answer 8,192)"


def test_a_server_without_schemas_is_told_with_what_works():
    supports = [name for name in EVERYTHING if not name.startswith("json")]
    with LlmServer(GOOD, supports=supports) as server:
        answers = lines(server)["LLM answers"]
    assert (answers.verdict, answers.found) == (
        Verdict.WARNING,
        "json_schema: no, json_object: no, tools: yes, text: yes",
    )


def test_a_server_without_tools_is_told():
    with LlmServer(GOOD, supports=[name for name in EVERYTHING if name != "tool"]) as server:
        assert lines(server)["LLM answers"].found == "json_schema: yes, json_object: yes, tools: no, text: yes"


def test_a_server_that_ignores_schemas_is_found_out():
    def ignores(request: Request) -> Any:
        return GOOD if "JSON schema" in request.text else Good("Pebble three.")

    with LlmServer(ignores) as server:
        assert "json_schema: no, json_object: in a second turn" in lines(server)["LLM answers"].found


def test_a_model_that_gives_no_json_is_a_failure():
    with LlmServer(Good("Pebble three.")) as server:
        answers = lines(server)["LLM answers"]
    assert answers.verdict == Verdict.FAILURE
    assert "larger" in answers.remedy


def test_a_refused_key_is_a_failure_without_the_key():
    with LlmServer(GOOD, key="another") as server:
        found = lines(server)
    assert found["LLM key"].verdict == Verdict.FAILURE
    assert "Incorrect API key" in found["LLM key"].found
    assert KEY not in str(found)
    assert "LLM answers" not in found


def test_no_key_on_this_machine_is_said(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with LlmServer(GOOD) as server:
        assert lines(server)["LLM key"].found == "none is needed on this machine"


def test_a_missing_key_for_a_server_elsewhere_is_a_failure(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    (check,) = check_llm(LlmSettings(model="tiny", base_url="https://nowhere.invalid/v1"))
    assert (check.name, check.verdict) == ("LLM key", Verdict.FAILURE)


def test_a_server_that_is_not_there_is_one_line():
    with LlmServer(GOOD) as server:
        url = server.url
    (check,) = check_llm(LlmSettings(model="tiny", base_url=url), seconds=3)
    assert (check.name, check.verdict) == ("LLM endpoint", Verdict.FAILURE)
    assert url in check.found


def test_an_unknown_model_is_named_beside_those_that_are_there():
    with LlmServer(Status(404, "The model `tinny` does not exist.")) as server:
        found = lines(server, model="tinny")
    assert (found["LLM model"].verdict, found["LLM model"].remedy) == (Verdict.WARNING, "it lists: tiny")
    assert "does not exist" in found["LLM answers"].found
    assert found["LLM answers"].verdict == Verdict.FAILURE


@pytest.mark.parametrize("behaviour", [Trickle(), LOGIN_PAGE, Status(500)], ids=["trickle", "web page", "500"])
def test_a_server_that_lists_models_and_answers_nothing_is_a_failure(behaviour):
    with LlmServer(behaviour) as server:
        found = {check.name: check for check in check_llm(LlmSettings(model="tiny", base_url=server.url), seconds=0.5)}
    assert found["LLM endpoint"].verdict == Verdict.OK
    assert found["LLM answers"].verdict == Verdict.FAILURE


def test_a_short_context_is_a_warning_and_an_untold_one_is_said():
    with LlmServer(GOOD, context=8192) as server:
        assert lines(server)["LLM context"].verdict == Verdict.WARNING
    with LlmServer(GOOD, context=None) as server:
        assert lines(server)["LLM context"].found == "the server does not tell; 32,192 tokens are needed"


def test_the_command_prints_the_lines_among_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path))
    with LlmServer(GOOD, key=KEY) as server:
        done = trex("doctor", "--llm-base-url", server.url, "--llm-model", "tiny", "--json")
        names = [check["name"] for check in json.loads(done.stdout)["checks"]]
        assert names[-4:] == ["LLM endpoint", "LLM key", "LLM answers", "LLM context"]
        monkeypatch.setenv("OPENAI_API_KEY", "wrong")
        assert "failure  LLM key" in trex("doctor", "--llm-base-url", server.url, "--llm-model", "tiny", code=8).stdout
    assert "needs --llm-model" in trex("doctor", "--llm-base-url", "http://127.0.0.1:9/v1", code=2).stderr
    assert "--llm-model: " in trex("doctor", "--llm-model", "", code=2).stderr


def test_each_endpoint_of_an_agent_has_lines_of_its_own_and_equal_ones_are_asked_once(monkeypatch):
    from hpc_trex.doctor.llm import check_agents

    monkeypatch.setenv("OPENAI_API_KEY_EXECUTOR", "wrong-for-the-second")
    with LlmServer(GOOD, key=KEY) as first, LlmServer(GOOD, key="another-key-0123") as second:
        asked = LlmSettings.model_validate(
            {
                "model": "tiny",
                "base_url": first.url,
                "executor": {"base_url": second.url},
                "reviewer": {"model": "tiny"},
            }
        )
        found = check_agents(asked, seconds=3)
    names = [check.name for check in found]
    assert names == ["LLM endpoint", "LLM key", "LLM answers", "LLM context", "executor endpoint", "executor key"]
    assert found[-1].verdict is Verdict.FAILURE
    assert "OPENAI_API_KEY_EXECUTOR" in found[-1].remedy
