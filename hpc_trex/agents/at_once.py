"""What every Researcher without a language model has in common: it answers at once and calls nobody."""

from __future__ import annotations

import time
from collections.abc import Container
from pathlib import Path

from hpc_trex.agents.mending import Failed, GivesUp, Repaired
from hpc_trex.agents.protocol import NothingToPropose, TreeView
from hpc_trex.models import LlmCall
from hpc_trex.models.asking import AnsweredRows


class AtOnce:
    """The part of :class:`hpc_trex.agents.protocol.Researcher` that is about waiting and paying."""

    thinking = False
    asking = False
    listens = False

    def begun(self, view: TreeView) -> int | None:  # noqa: ARG002
        """Nothing is ever under way between two ticks."""
        return None

    def wait(self, seconds: float) -> None:
        """Nothing will come sooner."""
        time.sleep(seconds)

    def close(self) -> None:
        """Nothing is under way."""

    def repair(self, view: TreeView, failed: Failed) -> Repaired | GivesUp:  # noqa: ARG002
        """What no rule mends, nobody mends."""
        raise NothingToPropose

    def ask_rows(self, node: int, attempt: int, file: Path) -> AnsweredRows:  # noqa: ARG002
        """There is nobody to ask."""
        raise NothingToPropose

    def new_calls(self, known: Container[str]) -> list[LlmCall]:  # noqa: ARG002
        """Nobody is called."""
        return []
