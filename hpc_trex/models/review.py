"""What the Reviewer found when it held a claim against the raw records, and what a person decided (docs/review.md)."""

from __future__ import annotations

from typing import Literal

from hpc_trex.models.base import OneLine, Record


class ClaimFinding(Record):
    """One finding about a trial's score."""

    check: Literal["weights", "data", "contamination", "evaluation", "score", "answers", "records", "reuse", "gain"]
    severity: Literal["strike", "note"]
    """``strike``: the score is no evidence; ``note``: a person should know."""
    text: OneLine
    """A sentence with figures."""
    record: OneLine = ""
    """The file that says so, relative to the search directory."""
    design: bool = False
    """Of a strike: the plan itself is to blame, so that the round is charged."""


class OpeningView(Record):
    """A job was let at the sealed test."""

    node: int
    trial: int
    attempt: int
    again: bool = False
    """A person asked for it, after the first result."""
    why: OneLine
    user: OneLine = ""
    host: OneLine = ""
    time: str = ""


class VerdictView(Record):
    """A person has struck a round, or restored it. The last word counts."""

    node: int
    struck: bool
    note: OneLine = ""
    user: OneLine = ""
    time: str = ""
