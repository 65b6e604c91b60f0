"""The language model of a sweep: what its elements are given, and what is refused because they could not ask."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from hpc_trex.errors import CredentialsMissing, TrexError, UsageProblem
from hpc_trex.models import Container, Profile
from hpc_trex.sweep.asking import asks_lines, llm_of
from hpc_trex.sweep.element import make_element_search
from hpc_trex.sweep.folder import list_sweeps, read_config
from hpc_trex.sweep.plan import read_request
from hpc_trex.sweep.records import ArrayRecord, SweepRequest
from hpc_trex.sweep.script import Chunk, render
from hpc_trex.tree.store import Store

KEY = "sk-a-secret-of-the-tests"
INSIDE = "http://llm.cluster:8000/v1"
CLUSTER = Profile(name="gpus", scheduler="slurm", network="login")


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    return path


def request(**llm: object) -> SweepRequest:
    return SweepRequest(researchers=("playbook", "llm"), llm=llm)


def test_a_server_of_the_site_with_a_key_in_a_file_is_taken(key_file):
    settings = llm_of(request(model="ours", base_url=INSIDE, key_file=str(key_file)), CLUSTER)
    assert settings is not None
    assert (settings.model, settings.base_url, settings.key_file) == ("ours", INSIDE, str(key_file))


def test_the_table_of_a_file_is_spelled_as_in_the_configuration_or_as_its_fields(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text(
        'researchers = ["llm"]\n[llm]\nmodel = "x"\nbase-url = "http://127.0.0.1:9/v1"\ntokens = 300\n'
        '[llm.executor]\nbase-url = "http://127.0.0.1:8/v1"\nkey_variable = "B_KEY"\n'
    )
    found = read_request(file, {"llm": {"model": "typed", "executor": {"model": "small"}}}).llm
    executor = {"base_url": "http://127.0.0.1:8/v1", "key_variable": "B_KEY", "model": "small"}
    assert found == {"model": "typed", "base_url": "http://127.0.0.1:9/v1", "tokens_cap": 300, "executor": executor}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('llm = "x"', "llm is a table, not 'x'"),
        ('[llm]\nexecutor = "small"', r"llm\.executor is a table, not 'small'"),
        ('[llm]\nmodle = "x"', r"unknown key llm\.modle; did you mean model"),
        ('[llm.reviewer]\nbase-ulr = "x"', r"unknown key llm\.reviewer\.base_ulr; did you mean base_url"),
        ('[llm.served]\nmodel = "x"', r"unknown key llm\.served"),
    ],
)
@pytest.mark.parametrize("typed", [{}, {"llm": {"model": "y"}}])
def test_a_table_that_is_none_is_refused_by_the_name_of_its_key(tmp_path, text, words, typed):
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    with pytest.raises(UsageProblem, match=words) as caught:
        read_request(file, typed)
    assert str(file) in caught.value.message


def test_where_nodes_reach_the_internet_the_default_server_is_taken(key_file):
    profile = CLUSTER.model_copy(update={"network": "compute"})
    assert llm_of(request(model="x", key_file=str(key_file)), profile) is not None


@pytest.mark.parametrize("network", ["login", "none"])
def test_nodes_without_network_cannot_ask_the_internet(key_file, network):
    profile = CLUSTER.model_copy(update={"network": network})
    with pytest.raises(UsageProblem, match="reach no network outside") as caught:
        llm_of(request(model="x", key_file=str(key_file)), profile)
    assert "--llm-base-url" in caught.value.hint
    reviewer = {"base_url": "http://127.0.0.1:9/v1", "model": "y", "key_file": str(key_file)}
    with pytest.raises(UsageProblem, match="the reviewer's server is at http://127"):
        llm_of(request(model="x", base_url=INSIDE, key_file=str(key_file), reviewer=reviewer), profile)


def test_this_machine_is_no_server_for_nodes(key_file):
    with pytest.raises(UsageProblem, match="that is this machine"):
        llm_of(request(model="x", base_url="http://localhost:8000/v1", key_file=str(key_file)), CLUSTER)


def test_a_key_in_the_environment_does_not_reach_jobs(key_file, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(CredentialsMissing, match="no secret is passed") as caught:
        llm_of(request(model="x", base_url=INSIDE), CLUSTER)
    assert "--llm-key-file" in caught.value.hint
    key_file.chmod(0o644)
    with pytest.raises(CredentialsMissing, match="others may read"):
        llm_of(request(model="x", base_url=INSIDE, key_file=str(key_file)), CLUSTER)


def test_on_this_machine_the_variable_is_enough_and_is_asked_for(monkeypatch):
    here = Profile(name="here")
    asked = request(model="x", base_url=INSIDE, key_variable="OUR_KEY")
    with pytest.raises(CredentialsMissing, match="OUR_KEY"):
        llm_of(asked, here)
    monkeypatch.setenv("OUR_KEY", KEY)
    assert llm_of(asked, here) is not None
    assert llm_of(request(model="x", base_url="http://127.0.0.1:1/v1"), here) is not None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"researchers": ("llm",)}, "needs a model"),
        ({"researchers": ("random",), "llm": {"model": "x"}}, "no element asks one"),
        ({"researchers": ("llm",), "baseline_only": True, "llm": {"model": "x"}}, "no element asks one"),
        ({"researchers": ("llm",), "llm": {"model": "x", "base_url": "http://127.0.0.1:1/v1", "colour": 1}}, "colour"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_made(make, given, words):
    with pytest.raises(TrexError) as caught:
        make(**given)
    assert words in f"{caught.value.message} {caught.value.hint}"
    assert list_sweeps() == []


def test_typed_words_win_over_the_file_also_in_the_table_of_one_agent(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text('[llm]\nmodel = "a"\ntokens_cap = 9\n[llm.reviewer]\nmodel = "b"\nbase_url = "http://b/v1"\n')
    made = read_request(file, {"llm": {"model": "c", "reviewer": {"model": "d"}}})
    assert made.llm == {"model": "c", "tokens_cap": 9, "reviewer": {"model": "d", "base_url": "http://b/v1"}}


def test_only_elements_of_the_researcher_llm_ask_and_the_plan_says_what_all_may_use(make, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    llm = {"model": "x", "base_url": INSIDE, "tokens_cap": 500}
    paths = make(researchers=("random", "llm"), seeds=(0, 1), llm=llm)
    config = read_config(paths)
    assert asks_lines(config) == [f"asks       x at {INSIDE}: 2 element(s), at most 500 tokens each, 1000 in all"]
    assert KEY not in paths.config.read_text()
    for element in config.elements()[:2]:
        with Store.read(make_element_search(paths, config, element)) as store:
            asks = store.config.llm
        assert (asks is not None) is (element.researcher == "llm")
        assert asks is None or asks.tokens_cap == 500
    uncapped = config.model_copy(update={"llm": config.llm.model_copy(update={"tokens_cap": None})})
    assert "no cap (--llm-tokens" in asks_lines(uncapped)[0]
    assert asks_lines(config.model_copy(update={"llm": None})) == []


def test_a_container_sees_the_key_file_and_no_script_holds_the_key(make, key_file, monkeypatch):
    llm = {"model": "x", "base_url": INSIDE, "key_file": str(key_file)}
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    paths = make(researchers=("llm",), llm=llm)
    inside = CLUSTER.model_copy(update={"container": Container(image="/images/trex.sif")})
    config = read_config(paths).model_copy(update={"profile": inside})
    record = ArrayRecord(number=1, token=f"{config.uid}-a1", elements=(0,))
    text = render(paths, config, record, Chunk((0,), None, waits=False))
    assert str(key_file) in text
    assert KEY not in text
    assert KEY not in paths.config.read_text()
    assert tomllib.loads(paths.config.read_text())["llm"]["key_file"] == str(key_file)
