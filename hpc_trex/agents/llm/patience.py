"""When to try again, and when to leave an endpoint alone: pauses that grow, and a breaker."""

from __future__ import annotations

import math
import random
import threading
import time
from typing import NamedTuple

from hpc_trex.agents.llm.errors import LlmUnavailable
from hpc_trex.agents.llm.transport import Trouble


class Pace(NamedTuple):
    """How patient the client is; tests are quicker."""

    tries: int = 4
    """Requests for one turn while the server fails for the moment."""
    overdue_tries: int = 2
    """The same where it did not end by the deadline: each may have been paid."""
    first_pause: float = 1.0
    longest_pause: float = 30.0
    longest_retry_after: float = 60.0
    """A server that asks for more patience than this ends the call, and the search pauses."""
    breaker_failures: int = 3
    """After so many calls in a row that found the endpoint away, it is left alone ..."""
    breaker_seconds: float = 60.0
    """... for so long."""

    def pause(self, trouble: Trouble, number: int) -> float | None:
        """Return how long to wait after the ``number``-th request that failed (1, 2, ...); None: give up."""
        limit = {"later": self.tries, "overdue": min(self.tries, self.overdue_tries)}.get(trouble.fate, 0)
        if number >= limit:
            return None
        if trouble.retry_after is not None:
            return trouble.retry_after if trouble.retry_after <= self.longest_retry_after else None
        longest = min(self.longest_pause, self.first_pause * math.pow(2, number - 1))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients, hides nothing


class Breaker:
    """Counts the calls in a row that found the endpoint away; after some, it is asked again only now and then."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_until = 0.0
        self._words = ""

    def check(self) -> None:
        """Let a call through, or raise LlmUnavailable. After the pause one call goes first, alone."""
        with self._lock:
            if self._failures < self._pace.breaker_failures:
                return
            left = self._closed_until - time.monotonic()
            if left > 0:
                raise LlmUnavailable(
                    f"the language model was away {self._failures} times in a row, last: {self._words}",
                    hint="it is asked again by itself; hpc-trex doctor --llm-base-url URL --llm-model NAME looks at it",
                    retry_after=left,
                )
            self._closed_until = time.monotonic() + self._pace.breaker_seconds

    def away(self, words: str, retry_after: float | None) -> None:
        """Note a call that found the endpoint away."""
        with self._lock:
            self._failures += 1
            self._words = words
            self._closed_until = time.monotonic() + max(self._pace.breaker_seconds, retry_after or 0.0)

    def there(self) -> None:
        """Note a call that the endpoint answered, with whatever."""
        with self._lock:
            self._failures = 0
