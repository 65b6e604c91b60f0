"""One call under way: requests by the ladder, retries, validation, and one repair turn."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from hpc_trex.agents.llm import ladder
from hpc_trex.agents.llm.endpoint import Endpoint, each_text
from hpc_trex.agents.llm.errors import LlmBadAnswer, LlmUnavailable
from hpc_trex.agents.llm.extract import objects
from hpc_trex.agents.llm.ladder import TOOL, Form
from hpc_trex.agents.llm.patience import Pace
from hpc_trex.agents.llm.pricing import added, priced
from hpc_trex.agents.llm.transport import Sender, Trouble
from hpc_trex.agents.llm.wire import Reply
from hpc_trex.errors import CredentialsMissing, TrexError
from hpc_trex.models import LlmSettings, LlmUsage

M = TypeVar("M", bound=BaseModel)
LOOK = "hpc-trex doctor --llm-base-url URL --llm-model NAME tells what the endpoint can do"
#: Of a refused answer, what the repair turn shows again.
MOST_SHOWN = 20_000
MOST_ERRORS = 10


class Means(NamedTuple):
    """What an inquiry works with; ``form`` and ``remember`` are the client's memory of this endpoint and model."""

    endpoint: Endpoint
    settings: LlmSettings
    sender: Sender
    pace: Pace
    form: Form
    remember: Callable[[Form], None]


class Inquiry(Generic[M]):
    """Asks until there is a value or an error; what it used and was told stays readable whatever comes."""

    def __init__(self, means: Means, messages: Sequence[dict[str, Any]], answer: type[M]) -> None:
        self.means = means
        self.messages = list(messages)
        self.answer = answer
        self.form = means.form
        self.replies: list[str] = []
        self.usage = LlmUsage()

    def run(self) -> M | TrexError:
        """Return the value, or the error to raise."""
        begun = time.monotonic()
        try:
            return self._turns()
        finally:
            self.usage = priced(self.usage, self.means.settings)
            self.usage = self.usage.model_copy(update={"seconds": round(time.monotonic() - begun, 3)})

    def _turns(self) -> M | TrexError:
        problem = ""
        for _ in range(2):
            reply = self._reply()
            if isinstance(reply, Trouble):
                return self._error(reply)
            self.replies.append(_said(reply))
            value = self._value(reply)
            if not isinstance(value, str):
                return value
            problem = value
            self._ask_for_repair(reply, problem)
        return LlmBadAnswer(f"the model's answer does not fit, after one repair turn: {problem}", hint=LOOK)

    def _reply(self) -> Reply | Trouble:
        """Return the reply to one turn, down the ladder as far as the server wants."""
        while True:
            result = self._patiently(ladder.request(self.form, self.means.settings, self.messages, self.answer))
            if isinstance(result, Reply):
                self.means.remember(self.form)
                return result
            simpler = ladder.without(self.form, result.words) if _about_the_form(result) else None
            if simpler is None:
                return result
            self.form = simpler

    def _patiently(self, request: dict[str, Any]) -> Reply | Trouble:
        number = 0
        while True:
            number += 1
            means = self.means
            result = means.sender.send(means.endpoint, means.settings.api, request, means.settings.deadline_seconds)
            self.usage = added(self.usage, result.usage.model_copy(update={"requests": 1}))
            if isinstance(result, Reply) or (_about_the_form(result) and ladder.without(self.form, result.words)):
                return result
            pause = means.pace.pause(result, number)
            if pause is None or means.sender.stopped.wait(pause):
                return result

    def _value(self, reply: Reply) -> M | str:
        """Return the value, or what is wrong with the reply in words that a model understands."""
        if reply.tool is not None and reply.tool != TOOL:
            return f"the function {reply.tool[:100]!r} does not exist; the only one is {TOOL!r}"
        problem = ""
        for text in (reply.arguments, reply.text, "" if reply.text or reply.arguments else reply.thought):
            for found in objects(text):
                plain = each_text(found, self.means.endpoint.hide)  # JSON's escapes hide a key from the first look
                try:
                    return self.answer.model_validate_json(json.dumps(plain))
                except ValidationError as error:
                    problem = problem or told(error)
        if reply.finish == "length":
            return f"it was cut after {self.means.settings.max_tokens} tokens: be much shorter"
        if reply.refusal:
            return f"the model refused: {reply.refusal[:500]}"
        if not problem and self.form.rung == "json_schema":  # the server did not enforce it: put it into the prompt
            self.form = ladder.lower(self.form) or self.form
            self.means.remember(self.form)
        return problem or "there is no JSON object in it"

    def _ask_for_repair(self, reply: Reply, problem: str) -> None:
        shown = _said(reply)[: 500 if reply.finish == "length" else MOST_SHOWN] or "(nothing)"
        wish = f"This answer cannot be used: {problem}.\nGive the whole answer again, corrected."
        if self.form.rung in ("json_schema", "tool"):  # elsewhere the schema is in the prompt already
            wish += f"\n{ladder.instruction(self.answer)}"
        self.messages += [{"role": "assistant", "content": shown}, {"role": "user", "content": wish}]

    def _error(self, trouble: Trouble) -> TrexError:
        where = f"{self.means.settings.model} at {self.means.endpoint.plain_url}"
        name = self.means.settings.key_variable
        if trouble.fate == "denied":
            return CredentialsMissing(
                f"{where} refuses the key: {trouble.words}", hint=f"correct {name}, then: hpc-trex resume"
            )
        if trouble.fate == "refused":
            return LlmBadAnswer(f"{where} refuses the request: {trouble.words}", hint=LOOK)
        hints = {
            "empty": "the account has no money left: top it up, then: hpc-trex resume",
            "stopped": "hpc-trex resume",
        }
        hint = hints.get(
            trouble.fate, "see whether the server works (hpc-trex doctor --llm-base-url URL --llm-model NAME)"
        )
        return LlmUnavailable(f"{where}: {trouble.words}", hint=hint, retry_after=trouble.retry_after)


def told(error: ValidationError) -> str:
    """Return a validation error as lines of ``field: what is wrong``, without the whole of what was given."""
    lines = []
    for item in error.errors(include_url=False, include_context=False)[:MOST_ERRORS]:
        given = repr(item["input"])
        place = ".".join(str(part) for part in item["loc"]) or "the object"
        lines.append(f"{place}: {item['msg']} (given: {given if len(given) <= 80 else given[:77] + '...'})")
    more = error.error_count() - len(lines)
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")


def _about_the_form(trouble: Trouble) -> bool:
    """Tell whether trouble may come from how the form was asked for; some servers fail with 500 over it."""
    return trouble.fate == "refused" or trouble.status in (500, 501)


def _said(reply: Reply) -> str:
    return reply.arguments or reply.text or reply.refusal or reply.thought
