"""A lesson as one plain line, for a person and for the context of a language model."""

from __future__ import annotations

from collections.abc import Iterable

from hpc_trex.models.knowledge import Evidence, Lesson

WORDS = {"gain": "gained", "loss": "lost", "fails": "made the training fail", "unclear": "made no clear difference"}
#: Texts of other searches are data: one line, and no longer than this.
LONGEST = 240


def lesson_line(lesson: Lesson) -> str:
    """Return move, effect, how much evidence there is, and where it comes from."""
    count = f"{_count(lesson.searches, 'search', 'searches')}, {_count(lesson.rounds, 'round', 'rounds')}"
    if lesson.verdict == "told":
        return _one_line(f"{lesson.text} ({count}: {_places(lesson.evidence)})")
    if lesson.verdict == "depends":
        helped = [one for one in lesson.evidence if one.verdict == "gain"]
        hurt = [one for one in lesson.evidence if one.verdict in ("loss", "fails")]
        sides = [f"{word} on {_places(group)}" for word, group in (("gained", helped), ("lost", hurt)) if group] or [
            f"both within {_places(lesson.evidence)}"
        ]
        return _one_line(f"{lesson.move} depends: {', but '.join(sides)} ({count})")
    effect = "" if lesson.effect is None else f" {lesson.effect:+.3f}"
    noise = "" if lesson.in_noise is None else f" ({abs(lesson.in_noise):.1f} times the noise)"
    return _one_line(f"{lesson.move} {WORDS[lesson.verdict]}{effect}{noise} in {count}: {_places(lesson.evidence)}")


def _places(evidence: Iterable[Evidence]) -> str:
    """Return the tasks, models and sizes, each pair once."""
    named = dict.fromkeys(f"{one.task} with {one.model}" + _size(one.size) for one in evidence)
    shown = list(named)[:3]
    return "; ".join(shown) + (f"; {len(named) - 3} more" if len(named) > 3 else "")


def _size(size: str) -> str:
    return "" if size == "unknown" else f" [{size}]"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _one_line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST else flat[: LONGEST - 3] + "..."


def evidence_line(one: Evidence) -> str:
    """Return what one search says: where it ran, what it found, in which rounds."""
    effect = "" if one.effect is None else f" {one.effect:+.3f}"
    rounds = ", ".join(map(str, one.nodes)) or "none"
    alike = "" if one.likeness == 1 else f", counts {one.likeness:.2f}"
    return f"{one.search} ({one.date}): {one.verdict}{effect} on {one.task} with {one.model}{_size(one.size)}, rounds {rounds}{alike}"
