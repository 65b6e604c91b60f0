"""What a person is asked at the gates of ``launch --approve``, and what that took, in words."""

from __future__ import annotations

from collections.abc import Sequence

from hpc_trex.models import GateView, PersonTime


def waits_words(view: GateView) -> str:
    """Return what waits and how to answer."""
    return f"{view.gate} of node {view.node}: hpc-trex approve {view.node}"


def waiting_text(view: GateView) -> str:
    """Return what waits, with the text that is to be judged."""
    parent = "" if view.parent is None else f" (from node {view.parent})"
    judged = _lines(view.text)
    answers = f"  hpc-trex approve {view.node}, or hpc-trex reject {view.node}; --note TEXT reaches the Researcher"
    return "\n".join([f"waits for you: {view.gate} of node {view.node}{parent}", *judged, answers])


def decided_text(view: GateView) -> str:
    """Return a question that was answered: who said what, and when."""
    said = "approved" if view.approved else "rejected"
    by = f" by {view.user}" if view.user else ""
    note = f": {view.note}" if view.note else ""
    return "\n".join([f"{view.gate} {said}{by}, {view.decided_at}{note}", *_lines(view.text)])


def _lines(text: str) -> list[str]:
    """Return the lines of a text that a language model may have written: nothing in it steers the terminal."""
    clean = "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
    return [f"  {line}" for line in clean.split("\n")]


def gates_text(views: Sequence[GateView]) -> str:
    """Return all questions about one round, oldest first."""
    return "\n".join(waiting_text(view) if view.approved is None else decided_text(view) for view in views)


def person_words(person: PersonTime) -> str:
    """Return how long gates waited for a person; empty where nobody has decided anything."""
    if not person.decisions:
        return ""
    minutes = person.seconds / 60
    spent = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
    return f"a person: {spent} over {person.decisions} decision{'s' if person.decisions > 1 else ''}"
