"""What a search knows of its language model: frozen settings without any key, and the record of each call."""

from __future__ import annotations

from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from hpc_trex.models.base import Record
from hpc_trex.models.serve import ServedLlm

#: Who asks. What is not said for the last two is that of the whole search.
RESEARCHER, REVIEWER, EXECUTOR = "researcher", "reviewer", "executor"
#: The agents that may have an endpoint of their own.
AGENTS = (REVIEWER, EXECUTOR)
Api = Literal["chat", "responses"]


class AgentEndpoint(Record):
    """Another model, or another server, for one agent (``[llm.reviewer]``, ``[llm.executor]``). None: as ``[llm]`` says."""

    model: str | None = Field(default=None, min_length=1)
    base_url: str | None = None
    api: Api | None = None
    key_variable: str | None = None
    """Of a server elsewhere than ``[llm]``'s: default ``OPENAI_API_KEY_REVIEWER``, ``OPENAI_API_KEY_EXECUTOR``."""
    key_file: str | None = None
    max_tokens: int | None = Field(default=None, ge=64)
    temperature: float | None = Field(default=None, ge=0, le=2)
    price_in: float | None = Field(default=None, ge=0)
    price_out: float | None = Field(default=None, ge=0)


class LlmSettings(Record):
    """The endpoint of a search's agents (``[llm]`` in ``search.toml``). A key is never in it: it comes from the environment."""

    model: str = Field(min_length=1)
    reviewer: AgentEndpoint | None = None
    """Who gives the second opinion; default: the same."""
    executor: AgentEndpoint | None = None
    """Who is asked for repairs; default: the same."""
    base_url: str | None = None
    """Any server that speaks Chat Completions; None: the openai package's own default."""
    api: Api = "chat"
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
    repair: bool = True
    """Ask for repairs of failed data steps and settings that no rule mends."""
    deadline_seconds: float = Field(default=300.0, gt=0)
    """Of one request from its first byte to its last, whatever the server trickles."""
    tokens_cap: int | None = Field(default=None, ge=1)
    """Tokens in and out of all calls of the search; reached, no new call is made."""
    rows_cap: int = Field(default=0, ge=0)
    """Rows that the recipes of the search may ask the model about, all together; 0: its recipes ask nobody."""
    money_cap: float | None = Field(default=None, gt=0)
    price_in: float | None = Field(default=None, ge=0)
    """Money per million tokens of a request, in whatever currency ``money_cap`` is in; None: not known."""
    price_out: float | None = Field(default=None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_version(cls, values: Any) -> Any:
        """``reviewer_model`` of earlier searches is the model of ``[llm.reviewer]``."""
        if not isinstance(values, dict) or "reviewer_model" not in values:
            return values
        rest = {name: value for name, value in values.items() if name != "reviewer_model"}
        model = values["reviewer_model"]
        if model is not None and rest.get("reviewer") is not None:
            raise ValueError("reviewer_model is the old spelling of reviewer.model: give one of them")
        return rest if model is None else rest | {"reviewer": {"model": model}}

    def of(self, role: str) -> Self:
        """Return the settings by which an agent asks; the caps stay those of the search.

        The key of ``[llm]`` is for its own server: an agent with another one has a key of its own, or none.
        """
        own = getattr(self, role) if role in AGENTS else None
        if own is None:
            return self
        given = own.model_dump(exclude_none=True)
        if own.base_url is not None and (self.served is not None or _origin(own.base_url) != _origin(self.base_url)):
            given = {"key_variable": f"OPENAI_API_KEY_{role.upper()}", "key_file": None, "served": None} | given
        elif own.key_variable is not None and own.key_file is None:
            given["key_file"] = None
        return self.model_copy(update=given)


def _origin(url: str | None) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port of a URL: what a key is for."""
    if url is None:
        return None
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or ""), parts.port


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


class AgentSpent(Record):
    """What the questions of one agent to one model used, as far as servers told it."""

    role: str
    model: str
    calls: int
    failed: int
    """Of these, that came to no answer."""
    tokens_in: int
    tokens_out: int
    money: float | None = None
    """None where no price is known."""


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
