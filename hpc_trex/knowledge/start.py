"""What a new search starts from: the lessons of the base that fit it, read once at launch."""

from __future__ import annotations

import datetime
from pathlib import Path

from hpc_trex.errors import TrexError
from hpc_trex.knowledge.base import read_base
from hpc_trex.knowledge.merge import merge
from hpc_trex.models.knowledge import StartingKnowledge, Target

#: Lessons that a search takes along; they come in the order of their use.
MOST = 100


def start_from(base: Path, target: Target) -> StartingKnowledge:
    """Return the lessons that fit. A base that cannot be read never stops a launch: ``problem`` says why there are none."""
    written = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    try:
        lessons = merge(read_base(base), target)
    except TrexError as error:
        return StartingKnowledge(base=str(base), written=written, target=target, problem=error.message)
    return StartingKnowledge(base=str(base), written=written, target=target, lessons=tuple(lessons[:MOST]))


def start_lines(known: StartingKnowledge) -> list[str]:
    """Return what a launch says of it; nothing where there is nothing to start from."""
    if known.problem:
        return [f"knowledge  none: {known.problem}"]
    if not known.lessons:
        return []
    searches = len({one.uid for lesson in known.lessons for one in lesson.evidence})
    return [f"knowledge  {len(known.lessons)} lesson(s) of {searches} earlier search(es), from {known.base}"]
