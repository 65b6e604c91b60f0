"""The events of the Reviewer after a run: what it found, what was struck, what a person decided (docs/review.md)."""

from __future__ import annotations

from typing import Literal

from hpc_trex.models import ClaimFinding, OneLine, Record


class ClaimChecked(Record):
    """The raw records behind a trial's score were looked at; the last look counts. A finding that strikes takes the score
    from the trial, unless a person has decided about the round.
    """

    type: Literal["claim_checked"] = "claim_checked"
    node: int
    trial: int
    findings: tuple[ClaimFinding, ...] = ()


class NodeStruck(Record):
    """A finished round is no evidence any more: a person says so (``user``), or no trial of it is left that is."""

    type: Literal["node_struck"] = "node_struck"
    node: int
    charged: bool = False
    message: OneLine = ""
    note: OneLine = ""
    user: OneLine = ""


class NodeRestored(Record):
    """A round, or what was struck of it, counts again: a person says so (``user``), and findings say no more; or what it
    was struck for does not hold any more.
    """

    type: Literal["node_restored"] = "node_restored"
    node: int
    score: float
    best_trial: int
    note: OneLine = ""
    user: OneLine = ""
