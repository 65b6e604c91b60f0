"""When a search ends well, what it found goes into the knowledge base that it started from. It never stops a search."""

from __future__ import annotations

from pathlib import Path

from hpc_trex.agents.findings import remembered
from hpc_trex.controller.context import Work
from hpc_trex.errors import TrexError
from hpc_trex.knowledge.base import remember
from hpc_trex.tree.known import starting_knowledge


def remember_search(work: Work) -> None:
    """Put the search into its base, if it was launched with one. Done again after a crash it changes nothing.

    A base that is locked, damaged or read-only is told of, with the command that adds the search later.
    """
    try:
        known = starting_knowledge(work.paths)
        if known is None:
            return
        remember(Path(known.base), [remembered(work.store, work.view)])
    except TrexError as error:
        work.say(f"{error.message}; later: hpc-trex insights --import {work.paths.root}")
    else:
        work.say(f"what this search found is in the knowledge base {known.base}")
