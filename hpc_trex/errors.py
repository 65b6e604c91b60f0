"""The errors that a user can cause or mend, each with its documented exit code (docs/exit-codes.md).

Every error says what is wrong, where, and what to type next. Anything that is not a :class:`TrexError` is a bug and
keeps its traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # only for the annotation: the command line must not pay for pydantic here
    from hpc_trex.models.states import FailureClass


class TrexError(Exception):
    """A failure with a fate: one clear message, an optional hint, and an exit code.

    ``hint`` is the next thing to type or to look at; it is printed on a line of its own.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageProblem(TrexError):
    """The command line, a task card, a profile or another input file is wrong (exit code 2)."""

    exit_code = 2


class NotFound(TrexError):
    """The named search, node, task, model or profile does not exist (exit code 3)."""

    exit_code = 3


class CredentialsMissing(TrexError):
    """A key or token is needed and not there (exit code 4)."""

    exit_code = 4


class ClusterRefused(TrexError):
    """The scheduler refused a job for good: its own words are in the message (exit code 5)."""

    exit_code = 5


class LeaseHeld(TrexError):
    """Another controller works on this search (exit code 6)."""

    exit_code = 6


class BudgetReached(TrexError):
    """The search's cap is reached (exit code 7)."""

    exit_code = 7


class EnvironmentProblem(TrexError):
    """This machine cannot do it now: disk full, package missing, no network (exit code 8)."""

    exit_code = 8


class JobFailure(TrexError):
    """A job cannot go on, and its result will say why: the base of every error that is raised inside a job.

    The worker turns it into ``result.json`` with ``failure``, so that the search knows whether to try again.
    """

    def __init__(self, message: str, *, failure: FailureClass, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.failure = failure
