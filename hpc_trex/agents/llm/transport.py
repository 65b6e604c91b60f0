"""One HTTP request to an endpoint, over by its deadline whatever the server trickles. No retries here.

The openai package's own time limit is per read, so the request runs in a thread of its own and its connection is closed
when time is over. What went wrong is returned, not raised: its exceptions hold the request's headers, the key among them.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import functools
import queue
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, cast

from hpc_trex.agents.llm.endpoint import Endpoint
from hpc_trex.agents.llm.wire import NotAReply, Reply, clean, read, read_json, words_of
from hpc_trex.models import LlmUsage

if TYPE_CHECKING:
    from openai import OpenAI

R = TypeVar("R")
CONNECT_SECONDS = 10.0
#: Statuses below 500 that pass by themselves.
_PASSING = {408, 409, 425, 429}
_NO_MONEY = ("insufficient_quota", "billing")

Fate = Literal["later", "overdue", "refused", "denied", "empty", "stopped"]


class Trouble(NamedTuple):
    """A request that brought no reply.

    ``later``: may work soon; ``overdue``: not over by its deadline; ``refused``: the request itself is wrong for this server;
    ``denied``: the key is; ``empty``: the account is; ``stopped``: this program ends.
    """

    fate: Fate
    words: str
    status: int = 0
    retry_after: float | None = None
    usage: LlmUsage = LlmUsage()


class Sender:
    """Sends requests; :meth:`close` ends all that are under way."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._waiting: set[queue.SimpleQueue[Any]] = set()

    def send(self, endpoint: Endpoint, api: str, request: Mapping[str, Any], deadline: float) -> Reply | Trouble:
        """Return the reply to one request, or what came instead, within ``deadline`` seconds."""
        return self._within(deadline, endpoint, lambda client: _exchange(client, api, request))

    def models(self, endpoint: Endpoint, deadline: float) -> list[dict[str, Any]] | Trouble:
        """Return what the endpoint says of its models."""
        return self._within(deadline, endpoint, _models)

    def close(self) -> None:
        """End all requests under way, and refuse new ones."""
        self.stopped.set()
        with self._lock:
            for box in self._waiting:
                box.put(STOPPED)

    def _within(self, deadline: float, endpoint: Endpoint, talk: Callable[[OpenAI], R | Trouble]) -> R | Trouble:
        box: queue.SimpleQueue[R | Trouble | Exception] = queue.SimpleQueue()
        client = _client(endpoint, deadline)
        with self._lock:
            self._waiting.add(box)
        result: R | Trouble | Exception
        try:
            if self.stopped.is_set():
                return STOPPED
            threading.Thread(target=_work, args=(client, endpoint, talk, box), daemon=True).start()
            result = box.get(timeout=deadline)
        except queue.Empty:
            result = Trouble("overdue", f"the answer was not there after {deadline:g} s")
        finally:
            with self._lock:
                self._waiting.discard(box)
            with contextlib.suppress(Exception):
                client.close()  # the thread's next read fails
        if isinstance(result, Exception):
            raise result
        return result


STOPPED = Trouble("stopped", "the search's controller stops")


def _client(endpoint: Endpoint, deadline: float) -> OpenAI:
    import openai

    limit = openai.Timeout(deadline, connect=min(CONNECT_SECONDS, deadline))
    # A proxy of the site knows nothing of a server on this machine.
    http = openai.DefaultHttpxClient(trust_env=not endpoint.local, timeout=limit, verify=_trusted())
    return openai.OpenAI(
        api_key=endpoint.key.get_secret_value(), base_url=endpoint.url, timeout=limit, max_retries=0, http_client=http
    )


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Return the certificates to trust, those of the environment among them; reading them takes 50 ms, so once."""
    import httpx2

    return httpx2.create_ssl_context()


def _work(
    client: OpenAI,
    endpoint: Endpoint,
    talk: Callable[[OpenAI], R | Trouble],
    box: queue.SimpleQueue[R | Trouble | Exception],
) -> None:
    result: R | Trouble | Exception
    try:
        result = _hidden(_guarded(client, talk), endpoint)
    except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits for it has to know
        result = error
    box.put(result)


def _guarded(client: OpenAI, talk: Callable[[OpenAI], R | Trouble]) -> R | Trouble:
    """Return what a talk brought; an exception of the libraries becomes trouble, without the request that it holds."""
    import httpx2
    import openai

    try:
        return talk(client)
    except openai.APIStatusError as error:
        return _judged(error.status_code, error.body, error.response)
    except NotAReply as error:
        fate: Fate = "refused" if 400 <= error.status < 429 else "later"
        return Trouble(fate, error.words, error.status, usage=error.usage)
    except (openai.APITimeoutError, httpx2.TimeoutException):
        return Trouble("overdue", "the server fell silent")
    except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, OSError, UnicodeError) as error:
        cause = error.__cause__ or error
        return Trouble("later", f"no connection, or it was cut: {str(cause) or type(cause).__name__}")


def _exchange(client: OpenAI, api: str, request: Mapping[str, Any]) -> Reply | Trouble:
    route = client.responses if api == "responses" else client.chat.completions
    with route.with_streaming_response.create(**request) as response:
        reply = read(response.headers.get("content-type", ""), response.iter_bytes())
    return reply if reply.finish else Trouble("later", "the answer was cut on its way", usage=reply.usage)


def _models(client: OpenAI) -> list[dict[str, Any]]:
    with client.models.with_streaming_response.list() as response:
        body = read_json(response.iter_bytes())
    found = body.get("data") if isinstance(body, dict) else None
    return [model for model in found if isinstance(model, dict)] if isinstance(found, list) else []


def _judged(status: int, body: object, response: Any) -> Trouble:
    words = words_of(body) if body else _page(response)
    words = f"HTTP {status}: {words or 'no words'}"
    if status in (401, 403):
        return Trouble("denied", words, status)
    if status == 429 and any(word in str(body) for word in _NO_MONEY):
        return Trouble("empty", words, status)
    if status in _PASSING or status >= 500:
        return Trouble("later", words, status, retry_after(response.headers))
    return Trouble("refused", words, status)


def _page(response: Any) -> str:
    try:
        return clean(response.text)[:200]
    except (RuntimeError, ValueError, LookupError):  # not read, or in no known encoding
        return ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to be left alone: a number, or a date."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * unit
        except ValueError:
            continue
        return seconds if 0 <= seconds < float("inf") else None
    try:
        then = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=datetime.UTC)
    return max(0.0, (then - datetime.datetime.now(datetime.UTC)).total_seconds())


def _hidden(result: R | Trouble, endpoint: Endpoint) -> R | Trouble:
    """Take the key out of what the server said."""
    if isinstance(result, Trouble):
        return result._replace(words=endpoint.hide(result.words))
    if isinstance(result, Reply):
        return cast("R", Reply._make(endpoint.hide(item) if isinstance(item, str) else item for item in result))
    return result
