"""``knowledge.json``: what a search started from. Written at launch, read by whoever goes on with the search."""

from __future__ import annotations

from pydantic import ValidationError

from hpc_trex.errors import EnvironmentProblem
from hpc_trex.layout import SearchPaths
from hpc_trex.models.knowledge import StartingKnowledge


def starting_knowledge(paths: SearchPaths) -> StartingKnowledge | None:
    """Return what the search started from; None for one that has nothing to do with a knowledge base.

    Raises :class:`EnvironmentProblem` for a damaged file: without it the search would quietly propose something else.
    """
    try:
        return StartingKnowledge.model_validate_json(paths.knowledge.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise EnvironmentProblem(
            f"{paths.knowledge} is damaged: {error.errors()[0]['msg']}",
            hint="restore the file from a backup; without it (moved away) the search goes on from nothing",
        ) from error
