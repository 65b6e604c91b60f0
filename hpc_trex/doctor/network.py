"""Which hosts answer: the hub of models and data, and the endpoint of the language model. A TCP connection, no more."""

from __future__ import annotations

import os
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Literal

from hpc_trex.doctor.check import Check, failure, ok, warning

SECONDS = 2.5
HUB = "hub"
ENDPOINT = "endpoint"


def addresses(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what is to be reached, as URLs without a password: the hub, and an LLM endpoint where one is set."""
    given = os.environ if environment is None else environment
    wanted = {HUB: given.get("HF_ENDPOINT") or "https://huggingface.co"}
    if given.get("OPENAI_BASE_URL"):
        wanted[ENDPOINT] = given["OPENAI_BASE_URL"]
    return {name: _plain(url) for name, url in wanted.items()}


def _plain(url: str) -> str:
    parts = urllib.parse.urlsplit(url if "://" in url else f"https://{url}")
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))


class Calls:
    """Connections to several hosts at once, begun now: names that nobody resolves must not hold anything up."""

    def __init__(self, wanted: Mapping[str, str]) -> None:
        self._wanted = dict(wanted)
        self._answers: dict[str, str] = {}
        self._end = time.monotonic() + SECONDS
        self._threads = [threading.Thread(target=self._call, args=item, daemon=True) for item in wanted.items()]
        for thread in self._threads:
            thread.start()

    def answers(self) -> dict[str, str]:
        """Return by name an empty text for a host that answers, else what went wrong."""
        for thread in self._threads:
            thread.join(max(0.0, self._end - time.monotonic()) + 0.1)
        return {name: self._answers.get(name, f"no answer in {SECONDS:g} s") for name in self._wanted}

    def _call(self, name: str, url: str) -> None:
        try:
            with socket.create_connection(target(url), timeout=SECONDS):
                self._answers[name] = ""
        except OSError as error:
            self._answers[name] = error.strerror or str(error) or type(error).__name__


def target(url: str) -> tuple[str, int]:
    """Return host and port that a client of ``url`` connects to: the proxy's, where one is set for it."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and parts.hostname and not urllib.request.proxy_bypass(parts.hostname):
        parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80)


def judge(
    place: Literal["login", "compute"],
    answers: Mapping[str, str],
    wanted: Mapping[str, str],
    profile: Literal["compute", "login", "none"],
) -> list[Check]:
    """Compare what answers with what the profile says of the network."""
    name, checks = f"network, {place}", []
    if HUB in answers:
        words, host = answers[HUB], wanted[HUB]
        found = f"{host} answers" if not words else f"{host}: {words}"
        found += f" (network = {profile!r})"
        needed = profile == "compute" or (profile == "login" and place == "login")
        if words and needed and place == "compute":
            remedy = 'network = "login" in the profile, or jobs wait for a network that never answers'
            checks.append(failure(name, found, remedy))
        elif words and needed:
            remedy = 'bring models and data here from elsewhere (hpc-trex stage), and set network = "none"; builtin: needs none'
            checks.append(warning(name, found, remedy))
        elif not words and place == "compute" and profile != "compute":
            checks.append(ok(name, found, 'network = "compute" would let jobs fetch by themselves; offline is safer'))
        else:
            checks.append(ok(name, found))
    if place == "login" and ENDPOINT in answers:
        words, host = answers[ENDPOINT], wanted[ENDPOINT]
        found = f"{host} answers" if not words else f"{host}: {words}"
        remedy = "only an LLM Researcher needs it: correct OPENAI_BASE_URL, or use --researcher playbook"
        checks.append(warning("LLM endpoint", found, remedy) if words else ok("LLM endpoint", found))
    return checks
