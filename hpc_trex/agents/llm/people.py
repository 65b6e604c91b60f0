"""What persons said at the gates, as a language model is told it, and which of its answers they meant."""

from __future__ import annotations

from hpc_trex.agents.protocol import TreeView
from hpc_trex.models import GateView, RoundPlan

#: Of all notes, the newest so many are told; and so much of a text that was judged.
MOST_NOTES = 10
QUOTED = 500


def notes_of(view: TreeView) -> list[str]:
    """Return what persons said so far, oldest first: every note, and what they rejected without one."""
    said = [gate for gate in view.gates() if gate.approved is not None and (gate.note or not gate.approved)]
    return [_words(gate) for gate in said[-MOST_NOTES:]]


def _words(gate: GateView) -> str:
    subject = {"requirements": "the brief", "strategy": "a direction", "data": "a plan"}[gate.gate]
    where = "" if gate.gate == "requirements" else f" for node {gate.node}"
    verdict = "approved" if gate.approved else "rejected"
    quoted = "" if gate.approved else f" (it was: {gate.text[:QUOTED]})"
    return f"A person {verdict} {subject}{where}" + (f": {gate.note}" if gate.note else "") + quoted


def briefs_rejected(view: TreeView) -> int:
    """Return how many briefs a person has rejected."""
    return sum(1 for gate in view.gates() if gate.gate == "requirements" and gate.approved is False)


def directions(view: TreeView, node: int) -> list[GateView]:
    """Return the questions about directions of a round, without those about a plan that stood for one."""
    return [gate for gate in view.gates() if gate.node == node and gate.gate == "strategy" and gate.plan is None]


def refusal(view: TreeView, node: int, plan: RoundPlan) -> str:
    """Return why a person has rejected this plan of a round; empty where nobody has."""
    for gate in view.gates():
        if gate.node == node and gate.gate == "data" and gate.approved is False and gate.plan == plan:
            return f"A person has rejected this plan: {gate.note or 'no reason was given'}"
    return ""
