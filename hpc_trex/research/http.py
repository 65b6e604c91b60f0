"""One small polite HTTP client: few requests, far apart, bounded in time and size, remembered on disk, never an exception.

A cluster's firewall drops packets, a name server never answers, a proxy shows a login page: each costs seconds once,
and is a sentence in the result.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar
from urllib.parse import urlencode, urlsplit

from hpc_trex.research.exchange import Answer, exchange
from hpc_trex.research.memory import mark_asked, recall, remember, seconds_since_asked

T = TypeVar("T")

CONNECT_SECONDS, DEADLINE_SECONDS = 2.0, 10.0
MOST_BYTES = 4_000_000
TRIES = 3
#: A host that failed is not asked again for so long: a controller lives for days, and networks come back.
LEFT_ALONE_SECONDS = 1800.0
OFFLINE_VARIABLE = "HPC_TREX_OFFLINE"
#: What a reader may raise for an answer that is not what the service documents.
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError)


class Ask(NamedTuple):
    """One request: what identifies it, and what must not be remembered."""

    service: str
    """Its name for a person."""
    url: str
    params: tuple[tuple[str, str], ...] = ()
    every: float = 0.0
    """Least seconds between two requests to this host."""
    secret_params: tuple[tuple[str, str], ...] = ()
    """Sent, but neither in the cache nor in any message."""
    secret_headers: Mapping[str, str] = {}

    @property
    def name(self) -> str:
        """The address without secrets: what the answer is remembered under."""
        return f"{self.url}?{urlencode(self.params)}" if self.params else self.url

    @property
    def host(self) -> str:
        """Host and port: what is asked one at a time."""
        try:
            return urlsplit(self.url).netloc
        except ValueError:  # a mistyped address: the request itself says so
            return self.url

    @property
    def full(self) -> str:
        """The address that is sent."""
        params = (*self.params, *self.secret_params)
        return f"{self.url}?{urlencode(params)}" if params else self.url


class _Host:
    """What this session knows of one host."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        """One connection at a time."""
        self.free_at = 0.0
        self.shut_until = 0.0
        self.why = ""


def is_offline(environment: Mapping[str, str] | None = None, variable: str = OFFLINE_VARIABLE) -> bool:
    """Tell whether a switch in the environment forbids the network: any text but ``0``, ``no``, ``false``, ``off``."""
    given = os.environ if environment is None else environment
    return given.get(variable, "").strip().lower() not in ("", "0", "no", "false", "off")


class Web:
    """One session with the outside. Threads may share it; each host is asked by one of them at a time."""

    def __init__(
        self,
        folder: Path,
        *,
        network: Literal["compute", "login", "none"] = "login",
        offline: bool = False,
        connect_seconds: float = CONNECT_SECONDS,
        deadline_seconds: float = DEADLINE_SECONDS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """``folder`` keeps the answers; ``network`` is the profile's class."""
        self.folder = folder
        self.offline = ""
        if network == "none":
            self.offline = "offline: the profile says network = none"
        elif is_offline():
            self.offline = f"offline: {OFFLINE_VARIABLE} is set"
        elif offline:
            self.offline = "offline, as asked"
        self._connect, self._deadline, self._most = connect_seconds, deadline_seconds, most_bytes
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()

    def get(self, ask: Ask, read: Callable[[str], T]) -> tuple[T | None, str]:
        """Return what ``read`` makes of the answer, and a note: why there is none, or that it is an old one.

        ``read`` raises one of :data:`UNREADABLE` for an answer that is not the service's; such a one is not remembered. An
        answer of the last days is taken from the cache without asking; an older one where the service cannot be asked.
        """
        old = recall(self.folder, ask.name)
        if old is not None and old.fresh:
            value = _read(read, old.body)
            if value is not None:
                return value, ""
        body, why = (None, self.offline) if self.offline else self._polite(ask)
        if body is not None:
            value = _read(read, body)
            if value is not None:
                remember(self.folder, ask.name, body)
                return value, ""
            why = "its answer is not what the service documents"
        value = _read(read, old.body) if old is not None else None
        if old is not None and value is not None:
            return value, f"{why}; answer of {old.date[:10]} from the cache"
        return None, why

    def _polite(self, ask: Ask) -> tuple[str | None, str]:
        end = time.monotonic() + self._deadline
        with self._lock:
            host = self._hosts.setdefault(ask.host, _Host())
        if not host.lock.acquire(timeout=self._deadline):
            return None, f"other requests to {ask.service} took all of {self._deadline:g} s"
        try:
            if time.monotonic() < host.shut_until:
                return None, f"left alone: {host.why}"
            return self._tries(ask, host, end)
        finally:
            host.lock.release()

    def _tries(self, ask: Ask, host: _Host, end: float) -> tuple[str | None, str]:
        """Ask until there is an answer, a refusal, or no time left; the caller holds the host's lock."""
        pause, why = 0.0, ""
        for count in range(1, TRIES + 1):
            start = max(host.free_at, time.monotonic() + pause, self._free_of_others(ask))
            if start >= end:
                return None, _shut(host, why, max(0.0, start - time.monotonic())) if why else "no time left to wait"
            time.sleep(max(0.0, start - time.monotonic()))
            mark_asked(self.folder, ask.host)
            answer = exchange(ask.full, ask.secret_headers, connect=self._connect, end=end, most=self._most)
            host.free_at = time.monotonic() + ask.every
            mark_asked(self.folder, ask.host)  # again: the request went out some time after the first mark
            if answer.status == 200 and not answer.problem:
                return answer.body, ""
            why = _words(answer)
            if answer.too_large or answer.status in (400, 404, 405, 414, 422):
                return None, why  # this question's own fault
            if answer.status != 429 and answer.status < 500:
                return None, _shut(host, why, LEFT_ALONE_SECONDS)
            pause = 0.5 * 2**count if answer.retry_after is None else answer.retry_after
        return None, _shut(host, why, max(pause, LEFT_ALONE_SECONDS))

    def _free_of_others(self, ask: Ask) -> float:
        """Return when (monotonic) the last request of any process is far enough away. A sweep has many controllers.

        Two that look at the same instant may still meet; the clock is another than the disk's, so the wait is bounded.
        """
        since = seconds_since_asked(self.folder, ask.host) if ask.every else None
        return 0.0 if since is None else time.monotonic() + max(0.0, ask.every - since)


def _read(read: Callable[[str], T], body: str) -> T | None:
    try:
        return read(body)
    except UNREADABLE:
        return None


def _shut(host: _Host, why: str, seconds: float) -> str:
    host.why, host.shut_until = why, time.monotonic() + seconds
    return why


def _words(answer: Answer) -> str:
    """Say what came instead of an answer."""
    if answer.problem:
        return answer.problem
    if answer.status == 429:
        asks = "" if answer.retry_after is None else f", asks to wait {answer.retry_after:.0f} s"
        return f"rate-limited (status 429){asks}"
    if answer.status in (401, 402, 403, 407):
        return f"refused (status {answer.status}): a key is missing or wrong, or the site's proxy forbids it"
    if 300 <= answer.status < 400:
        return f"sends elsewhere (status {answer.status}): a login page of the network?"
    return f"answers with status {answer.status}"
