"""An endpoint for each agent: who asks where, with whose key, at which price; old searches; keys that are missing."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tomli_w

from hpc_trex.agents.llm.client import LlmClient, Question
from hpc_trex.agents.llm.errors import LlmBudgetReached, LlmUnavailable
from hpc_trex.agents.llm.keys import require_keys
from hpc_trex.agents.llm.ledger import Ledger
from hpc_trex.errors import CredentialsMissing, UsageProblem
from hpc_trex.launch_llm import endpoint_words, llm_settings
from hpc_trex.models import LlmSettings
from hpc_trex.models.llm import EXECUTOR, RESEARCHER, REVIEWER, AgentEndpoint
from hpc_trex.slurm.environment import clean_environment
from tests.llm_asking import GOOD, QUICK, Direction
from tests.llm_server import LlmServer, Status
from tests.program import trex

MAIN = {"model": "big", "base_url": "https://one.example.edu/v1"}


def settings(**more: object) -> LlmSettings:
    return LlmSettings.model_validate(MAIN | more)


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_API_KEY_REVIEWER", "OPENAI_API_KEY_EXECUTOR", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_who_is_not_named_asks_as_the_researcher_does():
    asked = settings()
    assert asked.of(RESEARCHER) is asked.of(REVIEWER) is asked.of(EXECUTOR) is asked


def test_an_agent_with_another_model_of_the_same_server_has_its_key():
    own = settings(key_variable="MINE", reviewer={"model": "small"}, price_in=1.0).of(REVIEWER)
    assert (own.model, own.base_url, own.key_variable, own.price_in) == ("small", MAIN["base_url"], "MINE", 1.0)


def test_the_key_of_one_server_is_never_the_default_for_another(tmp_path):
    asked = settings(
        key_variable="MINE", key_file=str(tmp_path / "key"), executor={"base_url": "https://two.example.edu/v1"}
    )
    own = asked.of(EXECUTOR)
    assert (own.key_variable, own.key_file) == ("OPENAI_API_KEY_EXECUTOR", None)
    same = settings(key_variable="MINE", executor={"base_url": "https://one.example.edu/other/v1"}).of(EXECUTOR)
    assert same.key_variable == "MINE", "another path of the same server"
    told = settings(executor={"base_url": "https://two.example.edu/v1", "key_variable": "OPENAI_API_KEY"}).of(EXECUTOR)
    assert told.key_variable == "OPENAI_API_KEY", "who says so may use one key for two"


def test_a_search_of_an_earlier_version_still_loads_with_its_reviewers_model():
    old = tomllib.loads(tomli_w.dumps(MAIN | {"reviewer_model": "other"}))
    found = LlmSettings.model_validate(old)
    assert found.of(REVIEWER).model == "other"
    assert found.of(EXECUTOR).model == "big"
    assert LlmSettings.model_validate_json(found.model_dump_json()) == found
    with pytest.raises(ValueError, match="give one of them"):
        LlmSettings.model_validate(old | {"reviewer": {"model": "third"}})


def test_a_missing_key_of_any_agent_is_told_by_its_name(monkeypatch):
    asked = settings(
        reviewer={"base_url": "https://two.example.edu/v1"}, executor={"base_url": "http://127.0.0.1:9/v1"}
    )
    with pytest.raises(CredentialsMissing, match=r"the researcher's model: .*OPENAI_API_KEY"):
        require_keys(asked)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-main-0123456789")
    with pytest.raises(CredentialsMissing, match=r"the reviewer's model: .*OPENAI_API_KEY_REVIEWER"):
        require_keys(asked)
    monkeypatch.setenv("OPENAI_API_KEY_REVIEWER", "sk-second-0123456789")
    require_keys(asked)  # a server on this machine needs none


def test_a_launch_without_a_key_of_one_agent_ends_with_4_and_makes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path / "searches"))
    words = ("launch", "-y", "--researcher", "llm", "--llm-model", "m", "--llm-base-url", "http://127.0.0.1:9/v1",
             "--llm-executor-base-url", "https://two.example.edu/v1", "--name", "keyless")  # fmt: skip
    done = trex(*words, code=4)
    assert "executor" in done.stderr
    assert "OPENAI_API_KEY_EXECUTOR" in done.stderr
    assert not list(tmp_path.rglob("search.toml"))


def test_a_file_says_what_the_options_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("hpc-trex.toml").write_text(
        '[launch]\nresearcher = "llm"\n[llm]\nmodel = "big"\nbase-url = "http://127.0.0.1:9/v1"\n'
        '[llm.reviewer]\nmodel = "small"\n[llm.executor]\nbase_url = "http://127.0.0.1:8/v1"\n'
    )
    done = trex("launch", "--dry-run")
    assert "big at http://127.0.0.1:9/v1; reviewer: small; executor: big at http://127.0.0.1:8/v1" in done.stdout
    Path("hpc-trex.toml").write_text("[llm.reviewer]\nmodle = 'small'\n")
    assert "llm_reviewer_modle" in trex("launch", "--dry-run", code=2).stderr


def test_an_address_that_is_none_is_named_by_its_option():
    with pytest.raises(UsageProblem, match="--llm-executor-base-url two is no address"):
        llm_settings("llm", MAIN | {"executor": {"base_url": "two"}}, None)


def test_a_key_is_in_no_variable_that_jobs_are_given():
    """What jobs inherit is told by the names of variables: a key under another name would be in each job's environment."""
    for given in ({"key_variable": "LAB_LLM"}, {"reviewer": {"key_variable": "LAB_LLM"}}):
        with pytest.raises(UsageProblem, match="LAB_LLM") as caught:
            llm_settings("llm", MAIN | given, None)
        assert "LAB_LLM_KEY" in caught.value.hint
    for name in ("LAB_LLM_KEY", "OPENAI_API_KEY_REVIEWER", "HF_TOKEN"):
        assert llm_settings("llm", MAIN | {"key_variable": name}, None).key_variable == name
        assert name not in clean_environment({name: "sk-0123456789"})


def test_what_is_shown_of_a_server_has_no_password():
    asked = settings(reviewer=AgentEndpoint(base_url="https://me:secret@two.example.edu/v1"))
    assert "secret" not in endpoint_words(asked)


def question(call: str, role: str) -> Question:
    return Question(call, role, 1, [{"role": "user", "content": "Where next?"}])


def test_two_servers_have_a_breaker_each_and_one_set_of_caps(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY_EXECUTOR", "sk-second-0123456789")
    quick = QUICK._replace(tries=1, breaker_failures=1, breaker_seconds=600.0)
    with LlmServer(Status(503)) as away, LlmServer(GOOD, key="sk-second-0123456789") as there:
        asked = LlmSettings.model_validate(
            {"model": "a", "base_url": away.url, "tokens_cap": 130, "price_in": 1e6, "price_out": 1e6,
             "executor": {"model": "c", "base_url": there.url, "price_in": 0.0, "price_out": 0.0}}
        )  # fmt: skip
        client = LlmClient(asked, Ledger(tmp_path / "llm"), key="sk-main-0123456789", pace=quick)
        for _ in range(2):
            with pytest.raises(LlmUnavailable):
                client.ask(question("node-0001/plan-1", RESEARCHER), Direction)
        assert len(away.requests) == 1, "its breaker is open"
        answer = client.ask(question("node-0001/repair-1-1", EXECUTOR), Direction, settings=asked.of(EXECUTOR))
        assert answer.usage.money == 0.0, "an agent's own price"
        client.ask(question("node-0001/repair-1-2", EXECUTOR), Direction, settings=asked.of(EXECUTOR))
        with pytest.raises(LlmBudgetReached):
            client.ask(question("node-0001/repair-1-3", EXECUTOR), Direction, settings=asked.of(EXECUTOR))
    assert {request.headers["authorization"] for request in there.requests} == {"Bearer sk-second-0123456789"}
    assert {request.body["model"] for request in there.requests} == {"c"}


def test_the_key_of_a_served_model_is_never_sent_elsewhere(tmp_path, monkeypatch):
    from hpc_trex.models import ServedLlm
    from hpc_trex.slurm.profiles import load_profile

    monkeypatch.setenv("OPENAI_API_KEY_REVIEWER", "sk-second-0123456789")
    served = ServedLlm(profile=load_profile("local"), model="m", model_path=str(tmp_path))
    with LlmServer(GOOD) as server:
        asked = LlmSettings(model="m", served=served, reviewer=AgentEndpoint(base_url=server.url))
        client = LlmClient(asked, Ledger(tmp_path / "llm"), key="the-servers-own-key", pace=QUICK)
        client.ask(question("node-0001/review-1", REVIEWER), Direction, settings=asked.of(REVIEWER))
        assert server.requests[0].headers["authorization"] == "Bearer sk-second-0123456789"
