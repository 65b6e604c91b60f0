"""Hosts are called, whatever stands in the way, and compared with what the profile says of the network."""

from __future__ import annotations

import socket
import time

import pytest

from hpc_trex.doctor import network
from hpc_trex.doctor.check import Verdict

WANTED = {"hub": "https://hub.example", "endpoint": "https://llm.example"}


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_host_that_answers_is_told_from_one_that_refuses(listener, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    found = network.Calls({"hub": listener, "endpoint": url}).answers()
    assert found["hub"] == ""
    assert "refused" in found["endpoint"].lower()


def test_a_name_that_nobody_resolves_in_time_holds_nothing_up(monkeypatch):
    monkeypatch.setattr(network, "SECONDS", 0.2)

    def hang(*_args: object, **_options: object) -> None:
        time.sleep(5)
        raise OSError("name resolution gave up")  # as the real one does at last, long after the answers were read

    monkeypatch.setattr(network.socket, "create_connection", hang)
    begun = time.monotonic()
    assert "no answer" in network.Calls({"hub": "https://hub.example"}).answers()["hub"]
    assert time.monotonic() - begun < 3


def test_passwords_are_in_no_answer_and_a_proxy_is_called_instead(monkeypatch):
    found = network.addresses(
        {"HF_ENDPOINT": "https://me:secret@hub.example:8443/x", "OPENAI_BASE_URL": "llm.example/v1"}
    )
    assert found == {"hub": "https://hub.example:8443", "endpoint": "https://llm.example"}
    assert network.target("https://hub.example:8443") == ("hub.example", 8443)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "llm.example")
    assert network.target("https://hub.example") == ("proxy.example", 3128)
    assert network.target("https://llm.example") == ("llm.example", 443)


@pytest.mark.parametrize(
    ("place", "says", "profile", "verdict"),
    [
        ("login", "", "login", "ok"),
        ("login", "timed out", "login", "warning"),
        ("login", "timed out", "none", "ok"),
        ("login", "timed out", "compute", "warning"),  # models are resolved where the launch is typed
        ("compute", "timed out", "compute", "failure"),
        ("compute", "timed out", "login", "ok"),
        ("compute", "", "login", "ok"),
        ("compute", "", "compute", "ok"),
    ],
)
def test_what_answers_is_compared_with_the_profile(place, says, profile, verdict):
    (check,) = network.judge(place, {"hub": says}, WANTED, profile)
    assert check.verdict is Verdict(verdict)
    assert "https://hub.example" in check.found


def test_the_llm_endpoint_is_asked_for_on_the_login_node_only():
    says = {"hub": "", "endpoint": "refused"}
    assert [check.name for check in network.judge("login", says, WANTED, "login")] == ["network, login", "LLM endpoint"]
    assert [check.name for check in network.judge("compute", says, WANTED, "login")] == ["network, compute"]
