"""What is remembered of searches: the records of the knowledge base, and what of it a new search starts from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hpc_trex.models.base import Record

Verdict = Literal["gain", "loss", "unclear", "depends", "fails", "told"]


class Finding(Record):
    """What one search found about one move; or, ``told``, a lesson of another kind, in words only."""

    move: str
    """The move's name; of a lesson in words its kind."""
    verdict: Verdict
    effect: float | None = None
    """Mean gain in points of the score, signed so that more is better."""
    in_noise: float | None = None
    """The same in standard deviations of a score between seeds."""
    share: float | None = None
    """The same as a share of the range of scores in that search: the unit of the playbook's priors."""
    pairs: int = Field(default=0, ge=0)
    """Pairs of trials that the mean is taken over."""
    failed: int = Field(default=0, ge=0)
    """Trainings that failed by the move."""
    nodes: tuple[int, ...] = ()
    text: str = ""
    """The insight in the search's own words, where there is one."""


class Remembered(Record):
    """One search as the knowledge base holds it."""

    uid: str = Field(min_length=1)
    name: str
    directory: str
    ended: str
    """Time of the last event before it went in (UTC, ISO 8601)."""
    task: str
    task_digest: str
    metric: str
    tags: tuple[str, ...] = ()
    """The card's ``capabilities``."""
    model: str
    model_digest: str
    size: str
    """Size class of the base model, or ``unknown``."""
    profile: str
    researcher: str
    policy: str
    baseline: float | None = None
    best: float | None = None
    """Dev score of the chosen round, or of the best one."""
    test_gain: float | None = None
    """Chosen minus baseline on the sealed test."""
    noise: float | None = None
    findings: tuple[Finding, ...] = ()


class Target(Record):
    """The search that lessons are wanted for."""

    task: str
    task_digest: str = ""
    metric: str = ""
    tags: tuple[str, ...] = ()
    model: str = ""
    model_digest: str = ""
    size: str = "unknown"


class Evidence(Record):
    """What one search says for or against a lesson."""

    uid: str
    search: str
    task: str
    model: str
    size: str
    date: str
    verdict: Verdict
    effect: float | None
    in_noise: float | None
    share: float | None
    pairs: int
    nodes: tuple[int, ...]
    likeness: float
    """How much it is like the search that the lesson is for, 0 to 1."""


class Lesson(Record):
    """What is known of one move over all searches."""

    move: str
    verdict: Verdict
    effect: float | None = None
    in_noise: float | None = None
    share: float | None = None
    searches: int
    rounds: int
    """Rounds of all these searches that support it."""
    weight: float
    """Sum of the likenesses: searches, each counted as far as it is like this one."""
    text: str = ""
    """Of a lesson in words: the newest wording."""
    evidence: tuple[Evidence, ...]


class StartingKnowledge(Record):
    """``knowledge.json`` of a search: what it began with. Written once, at launch, so that a resumed search reads the same."""

    base: str
    """The knowledge base that the lessons came from, and that the search goes into when it ends."""
    written: str
    target: Target
    lessons: tuple[Lesson, ...] = ()
    problem: str = ""
    """Why the base could not be read."""
