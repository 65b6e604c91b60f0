"""Who opened the sealed test, when and why, in words."""

from __future__ import annotations

from collections.abc import Sequence

from hpc_trex.models.review import OpeningView


def times_opened(openings: Sequence[OpeningView]) -> int:
    """Return how often the test was opened; further jobs after one that gave no result are the same opening."""
    return sum(1 for one in openings if one.attempt == 1)


def openings_text(openings: Sequence[OpeningView]) -> str:
    """Return every opening in a line of its own, oldest first; empty where nothing is on record."""
    if not openings:
        return ""
    return "\n".join(["sealed test opened", *(f"  {_line(one)}" for one in openings)])


def again_words(openings: Sequence[OpeningView]) -> str:
    """Return a sentence for a result that is not of the first opening; empty for one that is."""
    times = times_opened(openings)
    if times < 2:
        return ""
    last = [one for one in openings if one.again][-1:]
    why = f", last by {last[0].user or 'somebody'}: {last[0].why}" if last else ""
    return f"The sealed test was opened {times} times{why}."


def _line(one: OpeningView) -> str:
    by = f" by {one.user}" if one.user else ""
    where = f" on {one.host}" if one.host else ""
    return f"{one.time}{by}{where}, trial {one.trial}: {'again, ' if one.again else ''}{one.why}"
