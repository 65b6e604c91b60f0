"""The client is polite, bounded in time and size, remembers, and says in words what went wrong."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path

import pytest

from hpc_trex.research.http import Ask, Web
from tests.unit.research.service import Deaf, Say, Service

Make = Callable[..., Web]


def ask(service: Service, question: str = "q", **options: object) -> Ask:
    return Ask("the service", f"{service.url}/search", (("q", question),), **options)  # type: ignore[arg-type]


def age(folder: Path, date: str = "2020-03-04T05:06:07+00:00") -> None:
    """Make every remembered answer old."""
    for path in folder.glob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "date": date}))


def test_an_answer_is_remembered_and_the_service_is_not_asked_again(web: Make, service: Service):
    service.says({"found": 1})
    assert web().get(ask(service), json.loads) == ({"found": 1}, "")
    assert web().get(ask(service), json.loads) == ({"found": 1}, "")
    assert len(service.asked) == 1
    assert service.asked[0].headers["User-Agent"].startswith("hpc-trex/")


def test_an_old_answer_is_asked_for_again(web: Make, service: Service, tmp_path: Path):
    service.says({"found": 1}, {"found": 2})
    web().get(ask(service), json.loads)
    age(tmp_path / "answers")
    assert web().get(ask(service), json.loads) == ({"found": 2}, "")


def test_an_old_answer_is_better_than_none_and_its_date_is_told(web: Make, service: Service, tmp_path: Path):
    service.says({"found": 1}, Say(status=403))
    web().get(ask(service), json.loads)
    age(tmp_path / "answers")
    value, note = web().get(ask(service), json.loads)
    assert value == {"found": 1}
    assert "refused (status 403)" in note
    assert note.endswith("answer of 2020-03-04 from the cache")


@pytest.mark.parametrize("damage", ["", "{", '{"address": "other", "date": "2999-01-01", "body": "1"}'])
def test_a_damaged_or_foreign_remembered_answer_is_none(web: Make, service: Service, tmp_path: Path, damage: str):
    service.says({"found": 1})
    web().get(ask(service), json.loads)
    for path in (tmp_path / "answers").glob("*.json"):
        path.write_text(damage)
    assert web().get(ask(service), json.loads) == ({"found": 1}, "")
    assert len(service.asked) == 2


@pytest.mark.parametrize("how", ["network", "variable", "option"])
def test_offline_no_connection_is_made_and_the_reason_is_told(
    web: Make, service: Service, monkeypatch: pytest.MonkeyPatch, how: str
):
    if how == "variable":
        monkeypatch.setenv("HPC_TREX_OFFLINE", "1")
    made = web(network="none" if how == "network" else "login", offline=how == "option")
    value, note = made.get(ask(service), json.loads)
    assert value is None
    assert note.startswith("offline")
    assert service.asked == []


@pytest.mark.parametrize("word", ["0", "false", "no", "off", ""])
def test_the_offline_switch_can_be_off(web: Make, service: Service, monkeypatch: pytest.MonkeyPatch, word: str):
    monkeypatch.setenv("HPC_TREX_OFFLINE", word)
    service.says([1])
    assert web().get(ask(service), json.loads) == ([1], "")


def test_offline_what_was_fetched_before_is_still_given(web: Make, service: Service, tmp_path: Path):
    service.says([1])
    web().get(ask(service), json.loads)
    assert web(network="none").get(ask(service), json.loads) == ([1], "")
    age(tmp_path / "answers")
    value, note = web(network="none").get(ask(service), json.loads)
    assert value == [1]
    assert "network = none" in note
    assert "from the cache" in note


def test_a_disk_that_takes_no_answers_costs_only_the_cache(web: Make, service: Service, tmp_path: Path):
    (tmp_path / "answers").write_text("a file where the folder should be")
    service.says([1])
    assert web().get(ask(service), json.loads) == ([1], "")


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_passing_failure_is_tried_again(web: Make, service: Service, status: int):
    service.says(Say(status=status, headers={"Retry-After": "0"}), [1])
    assert web().get(ask(service), json.loads) == ([1], "")
    assert len(service.asked) == 2


def test_a_failure_that_stays_ends_within_the_deadline_and_the_host_is_left_alone(web: Make, service: Service):
    service.says(Say(status=500))
    made, start = web(connect_seconds=5.0), time.monotonic()
    assert made.get(ask(service), json.loads) == (None, "answers with status 500")
    assert time.monotonic() - start < 10
    asked = len(service.asked)
    assert 1 <= asked <= 3
    assert made.get(ask(service, "another"), json.loads) == (None, "left alone: answers with status 500")
    assert len(service.asked) == asked


def test_retry_after_is_waited_for_where_it_ends_before_the_deadline(web: Make, service: Service):
    service.says(Say(status=429, headers={"Retry-After": "1"}), [1])
    assert web(deadline_seconds=5.0).get(ask(service), json.loads) == ([1], "")
    first, second = service.asked
    assert 0.95 < second.at - first.at < 3


def test_a_retry_after_that_is_a_date_is_understood(web: Make, service: Service):
    service.says(Say(status=429, headers={"Retry-After": formatdate(time.time() + 900, usegmt=True)}))
    value, note = web().get(ask(service), json.loads)
    assert value is None
    waits = re.fullmatch(r"rate-limited \(status 429\), asks to wait (\d+) s", note)
    assert waits
    assert 880 < int(waits[1]) <= 900


def test_a_long_retry_after_is_said_and_obeyed(web: Make, service: Service):
    service.says(Say(status=429, headers={"Retry-After": "3600"}))
    made, start = web(), time.monotonic()
    assert made.get(ask(service), json.loads) == (None, "rate-limited (status 429), asks to wait 3600 s")
    assert made.get(ask(service, "another"), json.loads)[0] is None
    assert time.monotonic() - start < 1
    assert len(service.asked) == 1


@pytest.mark.parametrize("pause", ["soon", "-5", "1e9", "9" * 400])
def test_a_retry_after_that_means_nothing_does_no_harm(web: Make, service: Service, pause: str):
    service.says(Say(status=429, headers={"Retry-After": pause}))
    value, note = web().get(ask(service), json.loads)
    assert value is None
    assert "rate-limited" in note


def test_requests_to_one_host_keep_their_distance_and_never_meet(web: Make, service: Service):
    service.says(Say("[1]", seconds=0.1))
    made = web(deadline_seconds=5.0)
    threads = [
        threading.Thread(target=made.get, args=(ask(service, str(number), every=0.3), json.loads))
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = [one.at for one in service.asked]
    assert len(times) == 3
    assert all(later - earlier >= 0.29 for earlier, later in pairwise(times))
    assert service.at_once == 1


def test_the_distance_holds_between_sessions_that_share_a_cache(web: Make, service: Service):
    service.says([1])
    for number in range(3):
        assert web().get(ask(service, str(number), every=0.4), json.loads) == ([1], "")
    times = [one.at for one in service.asked]
    assert len(times) == 3
    assert all(later - earlier > 0.35 for earlier, later in pairwise(times))


def test_where_the_clock_of_the_disk_is_ahead_the_wait_is_still_bounded(web: Make, service: Service, tmp_path: Path):
    service.says([1])
    assert web().get(ask(service, "first", every=0.4), json.loads) == ([1], "")
    (stamp,) = (tmp_path / "answers").glob("*.asked")
    os.utime(stamp, (time.time() + 3600, time.time() + 3600))
    assert web().get(ask(service, "second", every=0.4), json.loads) == ([1], "")


@pytest.mark.parametrize("how", ["silent", "trickle"])
def test_a_server_that_never_comes_to_an_end_costs_the_deadline_and_no_more(web: Make, service: Service, how: str):
    service.says(Say(how=how))  # type: ignore[arg-type]
    start = time.monotonic()
    assert web().get(ask(service), json.loads) == (None, "no whole answer in time")
    assert time.monotonic() - start < 2.5


def test_a_firewall_that_drops_packets_costs_the_connect_time_once(web: Make):
    deaf = Deaf()
    made, start = web(), time.monotonic()
    here = Ask("the service", deaf.url)
    assert made.get(here, json.loads) == (None, "no connection in 0.4 s")
    assert made.get(here, json.loads) == (None, "left alone: no connection in 0.4 s")
    assert time.monotonic() - start < 1.2
    deaf.close()


def test_a_refused_connection_is_told_in_the_systems_words(web: Make):
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    value, note = web().get(Ask("the service", f"http://127.0.0.1:{port}/"), json.loads)
    assert value is None
    assert note.startswith("cannot be reached (")
    assert "refused" in note or "failed" in note


@pytest.mark.parametrize("how", ["whole", "endless"])
def test_a_body_without_measure_is_not_read_to_its_end(web: Make, service: Service, how: str):
    service.says(Say("[" + "1," * 400_000 + "1]", how=how), Say("[2]"))  # type: ignore[arg-type]
    made = web()
    assert made.get(ask(service), json.loads) == (None, "its answer is larger than 300,000 bytes")
    assert made.get(ask(service, "smaller"), json.loads) == ([2], ""), "only that question was at fault"


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (Say("<html>Please log in</html>"), "not what the service documents"),
        (Say("[" * 100_000), "not what the service documents"),
        (Say(status=302, headers={"Location": "http://login.invalid/"}), "a login page of the network?"),
        (Say(status=401), "refused (status 401)"),
        (Say(status=404), "answers with status 404"),
        (Say('{"found": 1}', how="cut"), "broke off or is no HTTP"),
        (Say(how="noise"), "broke off or is no HTTP"),
    ],
)
def test_what_is_no_answer_is_told_and_not_remembered(web: Make, service: Service, say: Say, words: str):
    service.says(say, [1])
    value, note = web().get(ask(service), json.loads)
    assert value is None
    assert words in note
    assert web().get(ask(service), json.loads) == ([1], "")


def test_no_key_is_written_anywhere_or_told(web: Make, service: Service, tmp_path: Path):
    service.says([1], Say(status=403))
    secret = ask(service, secret_params=(("api_key", "s3cr3t"),), secret_headers={"x-api-key": "s3cr3t"})
    made = web()
    assert made.get(secret, json.loads) == ([1], "")
    assert service.asked[0].query["api_key"] == ["s3cr3t"]
    assert service.asked[0].headers["x-api-key"] == "s3cr3t"
    files = list((tmp_path / "answers").glob("*.json"))
    assert len(files) == 1
    assert "s3cr3t" not in files[0].read_text()
    assert files[0].stat().st_mode & 0o077 == 0
    assert "s3cr3t" not in made.get(secret._replace(params=(("q", "other"),)), json.loads)[1]
    service.close()
    gone = secret._replace(params=(("q", "third"),))
    assert "s3cr3t" not in web().get(gone, json.loads)[1]


def test_a_sites_proxy_is_used(web: Make, service: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", service.url)
    service.says([1])
    assert web().get(Ask("the service", "http://export.example/query"), json.loads) == ([1], "")
    assert service.asked[0].path == "http://export.example/query"


@pytest.mark.parametrize("address", ["http://[bad/", "", "ftp://a/b", "nonsense"])
def test_a_mistyped_address_is_a_note(web: Make, address: str):
    value, note = web().get(Ask("the service", address), json.loads)
    assert value is None
    assert note.startswith("cannot be ")
    assert "none of http or https" in note or address == "http://[bad/"


@pytest.mark.parametrize("proxy", ["nonsense://127.0.0.1:1", "socks5://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_a_note(web: Make, monkeypatch: pytest.MonkeyPatch, proxy: str):
    monkeypatch.setenv("http_proxy", proxy)
    value, note = web().get(Ask("the service", "http://service.invalid/"), json.loads)
    assert value is None
    assert note.startswith("cannot be ")
    assert proxy == "socks5://127.0.0.1:1" or "proxy" in note


def test_a_certificate_that_nobody_vouches_for_is_a_note(web: Make, tmp_path: Path):
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "key",
        "-out",
        "cert",
        "-days",
        "1",
        "-subj",
        "/CN=x",
    ]
    subprocess.run(made, check=True, capture_output=True, cwd=tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.handle_request, daemon=True).start()
        value, note = web().get(Ask("the service", f"https://127.0.0.1:{server.server_port}/"), json.loads)
    assert value is None
    assert note.startswith("cannot be reached (")
    assert "certificate" in note
