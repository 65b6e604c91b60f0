"""What a search knows of its language model: frozen settings without any key, and the record of each call."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from hpc_trex.models.base import Record
from hpc_trex.models.serve import ServedLlm


class LlmSettings(Record):
    """The endpoint of a search's agents (``[llm]`` in ``search.toml``). A key is never in it: it comes from the environment."""

    model: str = Field(min_length=1)
    reviewer_model: str | None = None
    """Another model of the same server for the Reviewer's second opinion; default: ``model``."""
    base_url: str | None = None
    """Any server that speaks Chat Completions; None: the openai package's own default."""
    api: Literal["chat", "responses"] = "chat"
    """``responses`` only by choice: servers that lack the route answer with other errors than 404."""
    key_variable: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; servers on loopback may need none."""
    key_file: str | None = None
    """File that holds the key, of mode 0600: for controllers that run as a job, which are given no key in their environment."""
    served: ServedLlm | None = None
    """The search serves the model itself: address and key are those of its own server."""
    max_tokens: int = Field(default=8192, ge=64)
    """Longest answer. Always sent: constrained decoding may loop on white space."""
    context_tokens: int = Field(default=24_000, ge=1000)
    """Budget of a request's context, the same for every model, so that they can be compared."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    review: bool = True
    """A second opinion of the model on every plan that the rules accept."""
    research: bool = True
    """Ask literature and data sources once, after the brief, with queries that the model writes."""
    deadline_seconds: float = Field(default=300.0, gt=0)
    """Of one request from its first byte to its last, whatever the server trickles."""
    tokens_cap: int | None = Field(default=None, ge=1)
    """Tokens in and out of all calls of the search; reached, no new call is made."""
    money_cap: float | None = Field(default=None, gt=0)
    price_in: float | None = Field(default=None, ge=0)
    """Money per million tokens of a request, in whatever currency ``money_cap`` is in; None: not known."""
    price_out: float | None = Field(default=None, ge=0)


class LlmUsage(Record):
    """What one call used. None: the server did not say."""

    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    money: float | None = None
    """None where tokens or prices are not known."""
    seconds: float = 0.0
    requests: int = 0
    """HTTP requests, retries and repair turns included."""


class LlmCall(Record):
    """One recorded call (``llm/CALL.json`` in the search): enough to replay it without the server. Holds no key."""

    call: str
    """Its identity in the search, e.g. ``node-0007/plan-1``: who asks it again is given this answer."""
    role: str
    """``researcher``, ``reviewer``, ``executor``."""
    node: int
    model: str
    base_url: str | None = None
    messages: tuple[dict[str, Any], ...]
    """The request as it was sent first."""
    schema_name: str
    rung: str = ""
    """How the answer's form was asked for: ``json_schema``, ``json_object``, ``tool``, ``text``."""
    replies: tuple[str, ...] = ()
    """The raw texts, refused ones of repair turns included, the last one accepted."""
    value: dict[str, Any] | None = None
    """The validated answer; None of a call that came to none."""
    error: str = ""
    usage: LlmUsage = LlmUsage()
    digest: str = ""
    """SHA-256 of the canonical JSON of ``messages``: tells whether an answer was given to the same question."""
