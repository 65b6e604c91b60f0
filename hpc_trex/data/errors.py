"""The failure of a data recipe: always the recipe's or the data's fault, so of class DATA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpc_trex.errors import JobFailure
from hpc_trex.models.states import FailureClass

if TYPE_CHECKING:
    from hpc_trex.models.asking import RowQuestion


class DataProblem(JobFailure):
    """A data recipe cannot be run, or leaves no rows (failure class DATA). The message names the step."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, failure=FailureClass.DATA, hint=hint)


class NeedsAnswers(JobFailure):
    """A step wants to know what a language model says of rows, and nobody has asked it yet (failure class ASKS)."""

    def __init__(self, op: str, questions: tuple[RowQuestion, ...]) -> None:
        super().__init__(f"{op} asks the language model about {len(questions)} rows", failure=FailureClass.ASKS)
        self.op = op
        self.questions = questions
