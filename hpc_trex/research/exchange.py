"""One HTTP request with an outer deadline that holds whatever the other side does: slow name servers, trickled headers."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from hpc_trex import version

#: Seconds beyond the connect timeout until a name server counts as silent: it has no timeout of its own.
_GRACE = 0.3
#: Longest pause that a host's Retry-After is believed to mean.
LONGEST_PAUSE = 24 * 3600.0


class Answer(NamedTuple):
    """What came back. ``status`` 0: nothing did, and ``problem`` says why."""

    status: int = 0
    body: str = ""
    retry_after: float | None = None
    """Seconds that the host asks to wait."""
    problem: str = ""
    too_large: bool = False


def exchange(url: str, headers: Mapping[str, str], *, connect: float, end: float, most: int) -> Answer:
    """GET ``url``; return by ``end`` (monotonic) at the latest, and after ``connect`` seconds without a connection.

    Proxies of the environment are used; redirects are not followed. At most ``most`` bytes are read. The request runs
    in a thread of its own, because neither a name lookup nor a server that sends a byte now and then obeys a timeout.
    """
    box: queue.SimpleQueue[Answer | Exception] = queue.SimpleQueue()
    connected = threading.Event()

    def work() -> None:
        try:
            box.put(_request(url, headers, connect, end, most, connected))
        except Exception as error:  # noqa: BLE001 - raised again below, in the thread that asked
            box.put(error)
        finally:
            connected.set()

    threading.Thread(target=work, daemon=True, name="research").start()
    left = end - time.monotonic()
    if not connected.wait(min(connect + _GRACE, max(0.0, left))):
        return Answer(problem=f"no connection in {connect:g} s")
    try:
        outcome = box.get(timeout=max(0.0, end - time.monotonic()) + _GRACE)
    except queue.Empty:
        return Answer(problem="no whole answer in time")
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _request(
    url: str, headers: Mapping[str, str], connect: float, end: float, most: int, connected: threading.Event
) -> Answer:
    import httpx2

    def trace(event: str, _info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            connected.set()

    # Bytes are counted as they come: a compressed answer would grow after the count.
    sent = {"User-Agent": f"hpc-trex/{version()}", "Accept-Encoding": "identity", **headers}
    limits = httpx2.Timeout(max(0.1, end - time.monotonic()), connect=connect)
    try:
        with (
            httpx2.Client(timeout=limits, follow_redirects=False) as client,
            client.stream("GET", url, headers=sent, extensions={"trace": trace}) as response,
        ):
            pause = _retry_after(response.headers.get("Retry-After"))
            if response.status_code != 200:
                return Answer(response.status_code, retry_after=pause)
            raw = bytearray()
            for chunk in response.iter_raw():
                raw += chunk
                if len(raw) > most:
                    return Answer(200, problem=f"its answer is larger than {most:,} bytes", too_large=True)
                if time.monotonic() > end:
                    return Answer(problem="no whole answer in time")
            return Answer(200, raw.decode("utf-8", errors="replace"))
    except httpx2.ConnectTimeout:
        return Answer(problem=f"no connection in {connect:g} s")
    except httpx2.TimeoutException:
        return Answer(problem="no whole answer in time")
    except (httpx2.ConnectError, httpx2.ProxyError) as error:
        return Answer(problem=f"cannot be reached ({_reason(error)})")
    except httpx2.RemoteProtocolError:
        return Answer(problem="its answer broke off or is no HTTP")
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
        return Answer(problem="cannot be asked: its address is none of http or https")
    except (ImportError, ValueError):
        return Answer(problem="cannot be asked: the proxy that the environment names cannot be used")
    except (httpx2.HTTPError, OSError) as error:
        return Answer(problem=f"cannot be asked ({type(error).__name__})")


def _reason(error: BaseException) -> str:
    """Return the system's words below a connection error. They hold no address, so no key that stands in one."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return below.strerror
        below = below.__cause__ or below.__context__
    return type(error).__name__


def _retry_after(value: str | None) -> float | None:
    """Return the seconds of a ``Retry-After``: a number, or a date."""
    if value is None:
        return None
    if value.isdecimal():
        return min(LONGEST_PAUSE, float(value))  # too many digits are "inf"
    try:
        return min(LONGEST_PAUSE, max(0.0, parsedate_to_datetime(value).timestamp() - time.time()))
    except (ValueError, TypeError, OverflowError):
        return None
