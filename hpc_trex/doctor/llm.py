"""What an endpoint of a language model can do: reached, key, forms of answers, context. Asked a few small questions."""

from __future__ import annotations

import time
from typing import Any, Literal

from pydantic import Field

from hpc_trex.agents.llm.endpoint import Endpoint, endpoint_of
from hpc_trex.agents.llm.inquiry import Inquiry, Means
from hpc_trex.agents.llm.keys import read_key
from hpc_trex.agents.llm.ladder import RUNGS, Form
from hpc_trex.agents.llm.patience import Pace
from hpc_trex.agents.llm.transport import Sender, Trouble
from hpc_trex.doctor.check import Check, failure, ok, warning
from hpc_trex.errors import CredentialsMissing, TrexError
from hpc_trex.models import LlmSettings
from hpc_trex.models.base import Record
from hpc_trex.models.llm import AGENTS

ENDPOINT, KEY, MODEL, ANSWERS, CONTEXT = "LLM endpoint", "LLM key", "LLM model", "LLM answers", "LLM context"
SECONDS = 60.0
LIST_SECONDS = 10.0
#: One more request where the first fails for the moment: a doctor says what is, and does not wait for better days.
PACE = Pace(tries=2, overdue_tries=1, first_pause=0.5, longest_retry_after=2.0)
#: Where servers say how long a context they take.
_LENGTHS = ("max_model_len", "context_length", "max_context_length", "context_window", "n_ctx")


class Choice(Record):
    """A small answer whose fields no model would guess: it fits only where the schema was known."""

    grounds: str
    pebble: int = Field(ge=1, le=5)
    hue: Literal["red", "blue"]


QUESTION = [
    {"role": "system", "content": "You answer in the form that is asked for."},
    {"role": "user", "content": "Choose one of five pebbles and one of two hues, and say in a few words why."},
]


def check_agents(settings: LlmSettings, *, seconds: float = SECONDS) -> list[Check]:
    """Return the lines on every endpoint that the agents of some settings ask, each once; those of an agent bear its name."""
    checks = check_llm(settings, seconds=seconds)
    asked = [settings]
    for role in AGENTS:
        own = settings.of(role)
        plain = own.model_copy(update=dict.fromkeys(AGENTS))
        if plain not in [one.model_copy(update=dict.fromkeys(AGENTS)) for one in asked]:
            asked.append(own)
            lines = check_llm(own, seconds=seconds)
            checks += [check.model_copy(update={"name": check.name.replace("LLM", role)}) for check in lines]
    return checks


def check_llm(settings: LlmSettings, *, seconds: float = SECONDS) -> list[Check]:
    """Return the lines on an endpoint and a model; the first that fails is the last."""
    sender = Sender()
    try:
        endpoint = endpoint_of(settings, read_key(settings))
    except TrexError as error:
        name = KEY if isinstance(error, CredentialsMissing) else ENDPOINT
        return [failure(name, error.message, error.hint)]
    begun = time.monotonic()
    listed = sender.models(endpoint, min(seconds, LIST_SECONDS))
    if isinstance(listed, Trouble) and not listed.status:
        return [
            failure(ENDPOINT, f"{endpoint.plain_url}: {listed.words}", "start the server, or correct --llm-base-url")
        ]
    checks = [ok(ENDPOINT, f"{endpoint.plain_url} answers in {time.monotonic() - begun:.2f} s")]
    models = [] if isinstance(listed, Trouble) else listed
    short = settings.model_copy(update={"deadline_seconds": seconds})
    return checks + _asked(short, endpoint, sender, models)


def _asked(settings: LlmSettings, endpoint: Endpoint, sender: Sender, models: list[dict[str, Any]]) -> list[Check]:
    means = Means(endpoint, settings, sender, PACE, Form(), lambda _: None)
    first = Inquiry(means, QUESTION, Choice)
    result = first.run()
    if isinstance(result, CredentialsMissing):
        return [failure(KEY, result.message, f"correct {settings.key_variable}")]
    if isinstance(result, TrexError) and not first.replies:
        return [*_model(settings, models), failure(ANSWERS, result.message, _remedy(models, settings))]
    unsaid = endpoint.local and read_key(settings) is None
    checks = [ok(KEY, "none is needed on this machine" if unsaid else "accepted"), *_model(settings, models)]
    return [*checks, _answers(means, first, result), _context(settings, models)]


def _model(settings: LlmSettings, models: list[dict[str, Any]]) -> list[Check]:
    names = [str(model.get("id")) for model in models]
    if not names or settings.model in names:
        return []
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return [warning(MODEL, f"{settings.model} is not in the server's list", f"it lists: {shown}")]


def _remedy(models: list[dict[str, Any]], settings: LlmSettings) -> str:
    known = settings.model in [model.get("id") for model in models]
    return (
        "see the server's own words, and its log" if known else "correct --llm-model; does --llm-base-url end in /v1?"
    )


def _answers(means: Means, first: Inquiry[Choice], result: Choice | TrexError) -> Check:
    """Return which forms of answers work; the best one is used."""
    found = {first.form.rung: _verdict(first, result)}
    for rung in RUNGS:
        if rung not in found and RUNGS.index(rung) > RUNGS.index(first.form.rung):
            inquiry = Inquiry(means._replace(form=first.form._replace(rung=rung)), QUESTION, Choice)
            outcome = inquiry.run()
            found[rung] = _verdict(inquiry, outcome) if inquiry.form.rung == rung else "no"
    said = {rung: found.get(rung, "no") for rung in RUNGS}
    words = ", ".join(f"{'tools' if rung == 'tool' else rung}: {verdict}" for rung, verdict in said.items())
    if all(verdict == "no" for verdict in said.values()):
        return failure(ANSWERS, words, "this model gives no JSON that fits: choose a larger one")
    if said["json_schema"] == "yes":
        return ok(ANSWERS, words)
    return warning(ANSWERS, words, "answers may need a second turn; a server that enforces JSON schemas is safer")


def _verdict(inquiry: Inquiry[Choice], result: Choice | TrexError) -> str:
    if isinstance(result, TrexError):
        return "no"
    return "yes" if len(inquiry.replies) == 1 else "in a second turn"


def _context(settings: LlmSettings, models: list[dict[str, Any]]) -> Check:
    wanted = settings.context_tokens + settings.max_tokens
    model = next((model for model in models if model.get("id") == settings.model), {})
    length = next((model[name] for name in _LENGTHS if isinstance(model.get(name), int)), None)
    if length is None:
        return ok(CONTEXT, f"the server does not tell; {wanted:,} tokens are needed")
    found = f"{length:,} tokens; {wanted:,} are needed (context {settings.context_tokens:,}, answer {settings.max_tokens:,})"
    if length >= wanted:
        return ok(CONTEXT, found)
    return warning(CONTEXT, found, "give the server a longer context, or the search a smaller context_tokens")
