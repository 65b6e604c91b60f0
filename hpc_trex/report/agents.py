"""What the agents did, in words: repairs of a round, and what each agent's questions used."""

from __future__ import annotations

from collections.abc import Sequence

from hpc_trex.models.llm import AgentSpent
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


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
