"""How the columns of a training source become those that a task card's templates ask for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hpc_trex.models.base import Record


class Shape(Record):
    """What the rows of a source look like. The card's templates are filled afterwards, from the columns made here."""

    kind: Literal["columns", "instruction", "messages"] = "columns"
    """``instruction``: instruction, input and output (or response) become prompt and answer. ``messages``: a list of
    messages with role and content (or from and value) does; the answer is what the assistant says.
    """
    columns: dict[str, str] = {}
    """New column by name: a Jinja2 template over the row's columns, e.g. ``question = "{{ query }}"``."""
    messages: str = Field(default="", max_length=200)
    """The column with the messages; ``messages`` or ``conversations`` where it is left out."""
    turns: Literal["last", "all"] = "last"
    """Of several answers in one conversation: only the last makes a row, or each, with what was said before it."""

    @model_validator(mode="after")
    def _fits(self) -> Shape:
        if self.kind != "messages" and (self.messages or self.turns != "last"):
            raise ValueError('messages and turns are of kind = "messages"')
        if self.kind == "columns" and not self.columns:
            raise ValueError('kind = "columns" needs columns')
        return self
