"""One endpoint and its key: where requests go, and what must never be written down."""

from __future__ import annotations

import ipaddress
import json
import os
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import SecretStr

from hpc_trex.errors import CredentialsMissing, UsageProblem
from hpc_trex.models import LlmSettings

DEFAULT_URL = "https://api.openai.com/v1"
#: What a server that needs no key is sent.
NO_KEY = "none"
HIDDEN = "[key]"
#: Shorter ones are no secrets (``none``, ``EMPTY``), and hiding them would spoil texts.
SHORTEST_SECRET = 8


class Endpoint(NamedTuple):
    """Where to ask and with which key; its repr shows no key."""

    url: str
    key: SecretStr
    own: bool = False
    """The search serves the model itself (``--llm-serve``)."""

    @property
    def plain_url(self) -> str:
        return plain(self.url)

    @property
    def local(self) -> bool:
        """Whether no proxy of the site stands between us and it: it is on this machine, or a job of our own."""
        return self.own or on_loopback(self.url)

    def hide(self, text: str) -> str:
        """Return a text with the key, and a password of the URL, taken out: servers like to quote them."""
        parts = urllib.parse.urlsplit(self.url)
        for secret in (self.key.get_secret_value(), urllib.parse.unquote(parts.password or ""), parts.password or ""):
            if len(secret) >= SHORTEST_SECRET:
                text = text.replace(secret, HIDDEN).replace(json.dumps(secret)[1:-1], HIDDEN)
        return text


def each_text(value: Any, change: Callable[[str], str]) -> Any:
    """Return plain JSON data with every text in it changed; keys stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: each_text(item, change) for key, item in value.items()}
    return [each_text(item, change) for item in value] if isinstance(value, (list, tuple)) else value


def endpoint_of(settings: LlmSettings, key: str | None, environment: Mapping[str, str] | None = None) -> Endpoint:
    """Return the endpoint of some settings.

    Raises CredentialsMissing where a server elsewhere would be asked without a key, UsageProblem for a URL that is none.
    """
    given = os.environ if environment is None else environment
    url = settings.base_url or given.get("OPENAI_BASE_URL") or DEFAULT_URL
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageProblem(
            f"no address of a language model: {plain(url)}", hint="e.g. --llm-base-url http://127.0.0.1:8000/v1"
        )
    key = (key or "").strip()
    if not key and not on_loopback(url):
        raise CredentialsMissing(
            f"{plain(url)} needs a key and there is none in {settings.key_variable}",
            hint=f"export {settings.key_variable}=..., then: hpc-trex resume",
        )
    if not (key.isascii() and key.isprintable()):
        raise CredentialsMissing(
            f"the key in {settings.key_variable} holds characters that no key can hold",
            hint="copy it again: letters, digits and signs on one line",
        )
    return Endpoint(url, SecretStr(key or NO_KEY), own=settings.served is not None)


def plain(url: str) -> str:
    """Return a URL as it may be written down: without user, password, query."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def on_loopback(url: str) -> bool:
    """Tell whether a URL names this very machine."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
