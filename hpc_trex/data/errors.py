"""The failure of a data recipe: always the recipe's or the data's fault, so of class DATA."""

from __future__ import annotations

from hpc_trex.errors import JobFailure
from hpc_trex.models.states import FailureClass


class DataProblem(JobFailure):
    """A data recipe cannot be run, or leaves no rows (failure class DATA). The message names the step."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, failure=FailureClass.DATA, hint=hint)
