"""What earlier searches taught, for the Researchers of this one: lines for a language model, priors for the bandit.

Both come from ``knowledge.json`` alone, which is written at launch and never again. So a search that is resumed, by
whatever program state around it, proposes the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from hpc_trex.agents.findings import target_of
from hpc_trex.agents.moves import Move, Playbook, Prior
from hpc_trex.knowledge.start import start_from
from hpc_trex.knowledge.words import lesson_line
from hpc_trex.layout import SearchPaths, knowledge
from hpc_trex.models import SearchConfig, TaskCard
from hpc_trex.models.knowledge import Lesson, StartingKnowledge
from hpc_trex.tree.known import starting_knowledge

#: Lines of a Researcher's context; what is most use and most alike comes first.
MOST_LINES = 20
#: Earlier searches count at most so many times as the shipped prior: they ran on other data.
MOST_WEIGHT = 3.0


@runtime_checkable
class Taught(Protocol):
    """A tree whose search began with lessons."""

    @property
    def prior_lessons(self) -> tuple[Lesson, ...]: ...


def begin_with(
    config: SearchConfig, card: TaskCard, *, base_digest: str, wanted: bool, replay: SearchPaths | None
) -> StartingKnowledge | None:
    """Return what a new search starts from; None where it is to have nothing to do with a knowledge base, be it that it is
    to do without insights.

    A replay starts from what the earlier search started from: else it would ask other questions.
    """
    if replay is not None:
        return starting_knowledge(replay)
    base = knowledge() if wanted and "insights" not in config.researcher.without else None
    return start_from(base, target_of(config, card, task_digest="", base_digest=base_digest)) if base else None


def prior_lessons(paths: SearchPaths) -> list[str]:
    """Return what earlier searches taught, one plain line a lesson; empty for a search that starts from nothing."""
    known = starting_knowledge(paths)
    return lesson_lines(known.lessons) if known else []


def prior_lines(view: object) -> list[str]:
    """Return the same for whoever has the tree only."""
    return lesson_lines(view.prior_lessons) if isinstance(view, Taught) else []


def lesson_lines(lessons: Sequence[Lesson]) -> list[str]:
    """Return the lessons as lines, no more than a context bears."""
    return [lesson_line(lesson) for lesson in lessons[:MOST_LINES]]


def taught(book: Playbook, view: object) -> Playbook:
    """Return the playbook with the priors that the lessons of this search give its moves."""
    lessons = {one.move: one for one in view.prior_lessons if one.verdict != "told"} if isinstance(view, Taught) else {}
    if not lessons:
        return book
    return book._replace(moves={name: _sharpened(move, lessons.get(name)) for name, move in book.moves.items()})


def _sharpened(move: Move, lesson: Lesson | None) -> Move:
    """Return a move with its prior after the lesson: Normal, each search that is quite alike counting as much as the prior.

    With weight w the mean moves by w / (1 + w) of the way to the lesson's, and the variance shrinks by 1 + w. Nothing is
    taken from a lesson without a mean: one that depends, or a move that only failed.
    """
    if lesson is None or lesson.share is None:
        return move
    weight = min(lesson.weight, MOST_WEIGHT)
    gain = (move.prior.gain + weight * lesson.share) / (1 + weight)
    return move.model_copy(update={"prior": Prior(gain=gain, sd=move.prior.sd / (1 + weight) ** 0.5)})
