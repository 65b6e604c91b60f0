"""The options ``--llm-*``: a language model, its server and key, and others of them for single agents.

``[llm]``, ``[llm.reviewer]`` and ``[llm.executor]`` of a configuration file say the same (docs/configuration.md).
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

AGENTS = ("reviewer", "executor")
PRICE = click.FloatRange(min=0)
COUNT = click.IntRange(min=1)
FILE = click.Path(dir_okay=False)
#: Fields of an endpoint: how its option is typed, and what it says of the main one.
ENDPOINT: dict[str, tuple[Any, str]] = {
    "model": (None, "Model of --researcher llm, as its server names it."),
    "base_url": (None, "A server that speaks Chat Completions; default: the openai package's own."),
    "api": (click.Choice(["chat", "responses"]), "Which API of it.  [default: chat]"),
    "key_variable": (None, "Environment variable with the key.  [default: OPENAI_API_KEY]"),
    "key_file": (FILE, "File with the key, where the variable is not set."),
    "price_in": (PRICE, "Money per million tokens of a question."),
    "price_out": (PRICE, "Money per million tokens of an answer."),
}
OF_AN_AGENT = {
    "model": "Another model for {agent}.",
    "base_url": "Another server for {agent}.",
    "api": "Which API of it.",
    "key_variable": "Variable with its key; default on another server: OPENAI_API_KEY_{AGENT}.",
    "key_file": "File with its key.",
    "price_in": "Its price of a question.",
    "price_out": "Its price of an answer.",
}
WHO = {"reviewer": "the second opinion on plans", "executor": "repairs"}


def _name(agent: str, field: str) -> str:
    return "_".join(word for word in ("llm", agent, field) if word)


def endpoint_options(*fields: str) -> Callable[[F], F]:
    """Give a command these fields of the main endpoint, and of each agent's, as options."""

    def give(function: F) -> F:
        for agent in reversed(("", *AGENTS)):
            for field in reversed(fields):
                kind, words = ENDPOINT[field]
                if agent:
                    words = OF_AN_AGENT[field].format(agent=WHO[agent], AGENT=agent.upper())
                function = click.option(f"--{_name(agent, field).replace('_', '-')}", type=kind, help=words)(function)
        return function

    return give


def one_endpoint_options(function: F) -> F:
    """Give a command the main endpoint and the caps, for what asks by itself and not for an agent."""
    caps = (
        click.option("--llm-tokens", type=COUNT, help="Cap on tokens in and out."),
        click.option("--llm-money", type=click.FloatRange(min=0, min_open=True), help="Cap on money; needs prices."),
    )
    for option in reversed(caps):
        function = option(function)
    for field in reversed(ENDPOINT):
        kind, words = ENDPOINT[field]
        words = "Language model for the steps that ask one." if field == "model" else words
        function = click.option(f"--llm-{field.replace('_', '-')}", type=kind, help=words)(function)
    return function


def llm_options(function: F) -> F:
    """Give a command all options of a language model that its agents ask."""
    more = (
        click.option("--llm-context-tokens", type=click.IntRange(min=1000), help="Longest question.  [default: 24000]"),
        click.option("--llm-max-tokens", type=click.IntRange(min=64), help="Longest answer.  [default: 8192]"),
        click.option("--llm-tokens", type=COUNT, help="Cap on tokens in and out, of all agents."),
        click.option(
            "--llm-rows",
            type=click.IntRange(min=0),
            help="Rows that recipes may have it write and judge, of the whole search.  [default: 0]",
        ),
        click.option("--llm-money", type=click.FloatRange(min=0, min_open=True), help="Cap on money; needs prices."),
        click.option(
            "--llm-research/--no-llm-research", default=None, help="Look up literature and data.  [default: yes]"
        ),
        click.option("--llm-review/--no-llm-review", default=None, help="Second opinion on each plan.  [default: yes]"),
        click.option("--llm-repair/--no-llm-repair", default=None, help="Repairs of failed jobs.  [default: yes]"),
    )
    for option in reversed(more):
        function = option(function)
    return endpoint_options(*ENDPOINT)(function)


#: Option and field of LlmSettings, where they differ.
_FIELDS = {"tokens": "tokens_cap", "money": "money_cap", "rows": "rows_cap"}


def given_llm(options: MutableMapping[str, Any]) -> dict[str, Any]:
    """Take the options of a language model out of ``options``; return the fields of LlmSettings that were given."""
    found: dict[str, Any] = {}
    for name in [name for name in options if name.startswith("llm_") and name != "llm_serve"]:
        value, field = options.pop(name), name.removeprefix("llm_")
        agent = next((one for one in AGENTS if field.startswith(f"{one}_")), "")
        if value is not None:
            place = found.setdefault(agent, {}) if agent else found
            place[_FIELDS.get(field, field).removeprefix(f"{agent}_" if agent else "")] = value
    return found
