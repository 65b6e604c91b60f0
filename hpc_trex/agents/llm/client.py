"""The one door to a language model: recorded answers first, then caps, the breaker, and a request."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError

from hpc_trex.agents.llm.endpoint import Endpoint, each_text, endpoint_of
from hpc_trex.agents.llm.errors import LlmBadAnswer, LlmBudgetReached, LlmUnavailable
from hpc_trex.agents.llm.inquiry import Inquiry, Means
from hpc_trex.agents.llm.keys import read_key
from hpc_trex.agents.llm.ladder import Form, schema_name
from hpc_trex.agents.llm.ledger import Ledger
from hpc_trex.agents.llm.patience import Breaker, Pace
from hpc_trex.agents.llm.transport import STOPPED, Sender
from hpc_trex.agents.llm.wire import clean
from hpc_trex.errors import TrexError, UsageProblem
from hpc_trex.models import LlmCall, LlmSettings, LlmUsage
from hpc_trex.models.base import digest

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


class LlmClient:
    """Asks one endpoint on behalf of all agents of a search. Safe for several threads; a call blocks its own.

    ``key`` None: servers on this machine are asked without one; for others ``ask`` raises CredentialsMissing.
    Raises UsageProblem for a cap on money without the prices that it needs.
    """

    def __init__(self, settings: LlmSettings, ledger: Ledger, *, key: str | None, pace: Pace | None = None) -> None:
        if settings.money_cap is not None and (settings.price_in is None or settings.price_out is None):
            raise UsageProblem(
                "a cap on money needs the price of tokens in and out", hint="set price_in and price_out, or tokens_cap"
            )
        self.settings = settings
        self.ledger = ledger
        self._key = SecretStr(key or "")
        self._pace = pace or Pace()
        self._sender = Sender()
        self._lock = threading.Lock()
        self._forms: dict[tuple[str, ...], Form] = {}
        self._breakers: dict[str, Breaker] = {}
        self._under_way: dict[str, tuple[threading.Lock, int]] = {}

    def ask(self, question: Question, answer: type[M], *, settings: LlmSettings | None = None) -> Answer[M]:
        """Return a validated answer; every outcome is recorded with its usage.

        ``settings``: another model or endpoint for this question; the caps stay those of the client. An endpoint
        of another ``key_variable`` or ``key_file`` is given the key from there.
        Raises LlmUnavailable (8), CredentialsMissing (4), LlmBudgetReached (7), LlmBadAnswer (the caller falls back).
        """
        question = question._replace(messages=each_text(question.messages, clean))
        with self._alone(question.call):
            known = self.ledger.find(question.call)
            if known is not None:
                return Answer(self._replayed(known, answer), known.usage, recorded=True)
            self._check_caps()
            chosen = settings or self.settings
            endpoint = endpoint_of(chosen, self._key_of(chosen))
            if self._sender.stopped.is_set():
                raise LlmUnavailable(STOPPED.words, hint="hpc-trex resume")
            breaker = self._breaker(endpoint)
            breaker.check()
            return self._make(question, answer, chosen, endpoint, breaker)

    def close(self) -> None:
        """End pauses and requests under way: they raise LlmUnavailable. For a controller that stops."""
        self._sender.close()

    def _make(
        self, question: Question, answer: type[M], settings: LlmSettings, endpoint: Endpoint, breaker: Breaker
    ) -> Answer[M]:
        place = (settings.api, endpoint.url, settings.model)

        def remember(form: Form) -> None:
            with self._lock:
                self._forms[place] = form

        means = Means(endpoint, settings, self._sender, self._pace, self._forms.get(place, Form()), remember)
        inquiry = Inquiry(means, question.messages, answer)
        result = inquiry.run()
        self.ledger.record(_record(question, answer, settings, endpoint, inquiry, result))
        if isinstance(result, LlmUnavailable):
            breaker.away(result.message, result.retry_after)
        else:
            breaker.there()
        if isinstance(result, TrexError):
            raise result
        return Answer(result, inquiry.usage, recorded=False)

    def _replayed(self, known: LlmCall, answer: type[M]) -> M:
        try:
            return answer.model_validate_json(json.dumps(known.value))
        except ValidationError as error:
            message = (
                f"the recorded answer {known.call} does not fit this version of hpc-trex: {error.error_count()} fields"
            )
        raise LlmBadAnswer(message, hint=f"remove {self.ledger.path(known.call)} to have it asked again")

    def _check_caps(self) -> None:
        """Raise LlmBudgetReached where the search's calls have used up what they may. Calls under way are let end."""
        tokens, money = self.settings.tokens_cap, self.settings.money_cap
        if tokens is None and money is None:
            return
        spent = self.ledger.spent()
        used = spent.tokens_in + spent.tokens_out + spent.tokens_guessed
        hint = "hpc-trex status shows what was used; recorded answers are kept"
        if tokens is not None and used >= tokens:
            raise LlmBudgetReached(f"the calls of this search used {used:,} of {tokens:,} tokens", hint=hint)
        if money is not None and spent.money >= money:
            raise LlmBudgetReached(f"the calls of this search cost {spent.money:.2f} of {money:.2f}", hint=hint)

    def _key_of(self, settings: LlmSettings) -> str:
        own = self.settings
        places = [(one.key_variable, one.key_file, one.served is not None) for one in (settings, own)]
        if places[0] == places[1]:
            return self._key.get_secret_value()
        return read_key(settings) or ""

    def _breaker(self, endpoint: Endpoint) -> Breaker:
        with self._lock:
            return self._breakers.setdefault(endpoint.url, Breaker(self._pace))

    @contextlib.contextmanager
    def _alone(self, call: str) -> Iterator[None]:
        """Hold off a second thread that asks the same call: it finds the answer recorded, and nothing is paid twice."""
        with self._lock:
            lock, users = self._under_way.get(call, (threading.Lock(), 0))
            self._under_way[call] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                users = self._under_way[call][1] - 1
                self._under_way[call] = (lock, users)
                if not users:
                    del self._under_way[call]


def _record(
    question: Question,
    answer: type[M],
    settings: LlmSettings,
    endpoint: Endpoint,
    inquiry: Inquiry[M],
    result: M | TrexError,
) -> LlmCall:
    """Return the record of a call, without the key even where somebody wrote it into a text."""
    error = result.message if isinstance(result, TrexError) else ""
    value = None if isinstance(result, TrexError) else result.model_dump(mode="json")
    return LlmCall(
        call=question.call,
        role=question.role,
        node=question.node,
        model=settings.model,
        base_url=endpoint.plain_url,
        messages=each_text(question.messages, endpoint.hide),
        schema_name=schema_name(answer),
        rung=inquiry.form.rung,
        replies=tuple(endpoint.hide(text) for text in inquiry.replies),
        value=value,
        error=endpoint.hide(error),
        usage=inquiry.usage,
        digest=digest(list(question.messages)),
    )
