"""The one door to a language model: recorded answers first, then caps, the breaker, a request, and one repair turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from hpc_trex.agents.llm.ledger import Ledger
from hpc_trex.models import LlmSettings, LlmUsage

M = TypeVar("M", bound=BaseModel)


class Question(NamedTuple):
    """What is asked, by whom, for which node."""

    call: str
    """Its identity in the search, e.g. ``node-0007/plan-1``: asked again, it is given the recorded answer."""
    role: str
    node: int
    messages: Sequence[dict[str, Any]]
    """Chat messages; the form of the answer is added by the client, never here."""


class Answer(NamedTuple, Generic[M]):
    """A validated answer."""

    value: M
    usage: LlmUsage
    """Of the call when it was made; nothing of it is paid again where ``recorded`` is true."""
    recorded: bool
    """It came from the ledger: no request was made."""


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


class LlmClient:
    """Asks one endpoint on behalf of all agents of a search. Safe for several threads; a call blocks its own.

    ``key`` None: servers on this machine are asked without one; for others ``ask`` raises CredentialsMissing.
    """

    def __init__(self, settings: LlmSettings, ledger: Ledger, *, key: str | None, pace: Pace | None = None) -> None:
        self.settings = settings
        self.ledger = ledger

    def ask(self, question: Question, answer: type[M], *, settings: LlmSettings | None = None) -> Answer[M]:
        """Return a validated answer; every outcome is recorded with its usage.

        ``settings``: another model or endpoint for this question; the caps stay those of the client.
        Raises LlmUnavailable (8), CredentialsMissing (4), LlmBudgetReached (7), LlmBadAnswer (the caller falls back).
        """
        raise NotImplementedError

    def close(self) -> None:
        """End pauses and requests under way: they raise LlmUnavailable. For a controller that stops."""
        raise NotImplementedError
