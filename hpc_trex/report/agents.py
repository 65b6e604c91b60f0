"""What the agents did, in words: repairs of a round, and what each agent's questions used."""

from __future__ import annotations

from collections.abc import Sequence

from hpc_trex.models.llm import AgentSpent, LlmCall
from hpc_trex.models.repair import RepairView


def repairs_text(done: Sequence[RepairView]) -> str:
    """Return the repairs of a round, one line each. Nothing of a model's words can steer the terminal."""
    return "\n".join(["repairs", *(f"  {_plain(_repair(one))}" for one in done)])


def _repair(one: RepairView) -> str:
    what = f"trial {one.trial}" if one.trial else "data"
    after = f" after attempt {one.attempt}" if one.attempt else ""
    words = f"{what}{after}  {one.failure.value}  {one.outcome} by {one.by}"
    return "  ".join(part for part in (words, one.changes, f"({one.reason})" if one.reason else "") if part)


def agents_text(spent: Sequence[AgentSpent]) -> str:
    """Return what the questions of each agent used: a line for each of its models."""
    lines = [f"{'agent':<12} {'model':<24} {'calls':>6} {'failed':>6} {'tokens in':>11} {'out':>9} {'money':>10}"]
    for one in spent:
        money = "-" if one.money is None else f"{one.money:.4f}"
        figures = f"{one.calls:>6} {one.failed:>6} {one.tokens_in:>11,} {one.tokens_out:>9,} {money:>10}"
        lines.append(f"{_plain(one.role):<12} {_plain(one.model):<24} {figures}")
    return "\n".join(lines)


def spent_words(one: AgentSpent) -> str:
    """Return what one agent's questions to one model used, in words."""
    words = [f"{one.calls} call{'' if one.calls == 1 else 's'}", f"{one.tokens_in:,} + {one.tokens_out:,} tokens"]
    words += [f"{one.failed} failed"] if one.failed else []
    return ", ".join(words + ([f"{one.money:.4f} of money"] if one.money is not None else []))


def spent_of(calls: Sequence[LlmCall]) -> list[AgentSpent]:
    """Return what recorded calls used, by agent and model: the sums of a round, which ``spent_by_agent`` has of a search."""
    found = []
    for role, model in sorted({(call.role, call.model) for call in calls}):
        own = [call for call in calls if (call.role, call.model) == (role, model)]
        money = [call.usage.money for call in own if call.usage.money is not None]
        found.append(
            AgentSpent(
                role=role,
                model=model,
                calls=len(own),
                failed=sum(call.value is None for call in own),
                tokens_in=sum(call.usage.tokens_in or 0 for call in own),
                tokens_out=sum(call.usage.tokens_out or 0 for call in own),
                money=sum(money) if money else None,
            )
        )
    return found


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
