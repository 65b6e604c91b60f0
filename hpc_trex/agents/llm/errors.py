"""What a call to the language model can end with, beside an answer. A missing or refused key is ``CredentialsMissing``."""

from __future__ import annotations

from hpc_trex.errors import BudgetReached, EnvironmentProblem, TrexError


class LlmUnavailable(EnvironmentProblem):
    """The endpoint is away, or was so often that it is left alone for a while (exit code 8).

    The search pauses and charges no node. ``retry_after``: seconds until a call makes sense again, where that is known.
    """

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class LlmBudgetReached(BudgetReached):
    """The cap on tokens or money is reached: no new call is made (exit code 7). Recorded answers are still given."""


class LlmBadAnswer(TrexError):
    """The server refused the question, or no answer fitted, the repair turn included: the caller falls back (exit code 1)."""
