"""One line of the doctor: what was looked at, the verdict, what was found, and what to do about it."""

from __future__ import annotations

from enum import StrEnum

from hpc_trex.models import Record


class Verdict(StrEnum):
    """``warning``: it works, with a price that is named. ``failure``: a search here would fail or lose something."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


class Check(Record):
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""
    """What to do; empty where nothing has to be done."""


def ok(name: str, found: str, remedy: str = "") -> Check:
    """Return a check that passed; ``remedy`` is then advice."""
    return Check(name=name, verdict=Verdict.OK, found=found, remedy=remedy)


def warning(name: str, found: str, remedy: str) -> Check:
    """Return a check that found something to know about."""
    return Check(name=name, verdict=Verdict.WARNING, found=found, remedy=remedy)


def failure(name: str, found: str, remedy: str) -> Check:
    """Return a check that found something to mend first."""
    return Check(name=name, verdict=Verdict.FAILURE, found=found, remedy=remedy)


def worst(checks: list[Check]) -> Verdict:
    """Return the worst verdict of all."""
    order = [Verdict.OK, Verdict.WARNING, Verdict.FAILURE]
    return max((check.verdict for check in checks), key=order.index, default=Verdict.OK)
