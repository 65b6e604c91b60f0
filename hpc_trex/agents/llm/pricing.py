"""Tokens and money of a call: what servers say, added up. What they do not say stays None."""

from __future__ import annotations

from typing import Any

from hpc_trex.models import LlmSettings, LlmUsage


def told(usage: object) -> LlmUsage:
    """Return the tokens in a server's ``usage`` (Chat Completions or Responses); None for whatever is not a count."""
    found: dict[str, Any] = usage if isinstance(usage, dict) else {}
    details = found.get("prompt_tokens_details") or found.get("input_tokens_details")
    return LlmUsage(
        tokens_in=_count(found.get("prompt_tokens", found.get("input_tokens"))),
        tokens_out=_count(found.get("completion_tokens", found.get("output_tokens"))),
        tokens_cached=_count(details.get("cached_tokens")) if isinstance(details, dict) else None,
    )


def added(one: LlmUsage, other: LlmUsage) -> LlmUsage:
    """Return the sum of two usages; a number is None only where neither has it."""
    return LlmUsage(
        tokens_in=_sum(one.tokens_in, other.tokens_in),
        tokens_out=_sum(one.tokens_out, other.tokens_out),
        tokens_cached=_sum(one.tokens_cached, other.tokens_cached),
        money=one.money if other.money is None else other.money + (one.money or 0.0),
        seconds=one.seconds + other.seconds,
        requests=one.requests + other.requests,
    )


def priced(usage: LlmUsage, settings: LlmSettings) -> LlmUsage:
    """Return the usage with its money, where tokens and both prices are known."""
    numbers = (usage.tokens_in, usage.tokens_out, settings.price_in, settings.price_out)
    if None in numbers:
        return usage
    money = (
        (usage.tokens_in or 0) * (settings.price_in or 0) + (usage.tokens_out or 0) * (settings.price_out or 0)
    ) / 1e6
    return usage.model_copy(update={"money": money})


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else other + (one or 0)
