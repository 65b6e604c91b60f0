"""What an agent needs of a language model that the search serves itself. The controller implements it."""

from __future__ import annotations

from typing import Protocol

from hpc_trex.models import LlmSettings


class Served(Protocol):
    """The server's job as those see it who ask its model. None of the calls waits."""

    def settings(self) -> LlmSettings | None:
        """Return where and how to ask; None while the server starts: it was submitted by this very call, or before.

        Raises ``LlmUnavailable`` with the end of its log when it cannot be started, ``LlmBudgetReached`` when its job
        does not fit under the caps any more.
        """
        ...

    def lost(self) -> bool:
        """Tell, after a request that came to nothing, whether the server is gone: then the question is asked again."""
        ...
