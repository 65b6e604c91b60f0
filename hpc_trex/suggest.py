"""What a user may have meant: the one place that guesses at a mistyped word."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], *, most: int = 1) -> list[str]:
    """Return the known words most like the given one, best first; none where none is near."""
    from difflib import get_close_matches

    return get_close_matches(word, list(known), n=most, cutoff=0.55)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean NAME?`` for the nearest known words, or nothing."""
    near = nearest(word, known, most=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""
