"""What the Reviewer is given of a trial's raw records, and how it words a finding. No file is read here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from hpc_trex.agents.leaks import Leaks
from hpc_trex.models import (
    AttemptView,
    ClaimFinding,
    DataRecipe,
    JobResult,
    JobSpec,
    ModelRef,
    NodeView,
    TrialView,
)
from hpc_trex.samples import EvaluatedRow

Check = Literal["weights", "data", "contamination", "evaluation", "score", "answers", "records"]


class _Facts(BaseModel):
    """As much of a manifest as is held against other records; what is of another shape is refused, what is more is ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class StepFacts(_Facts):
    """One step of a manifest."""

    op: str
    rows_in: int
    rows_out: int
    step: int | None = None
    parameters: dict[str, Any] | None = None


class SourceFacts(_Facts):
    """One source of a manifest."""

    sha256: str = ""


class Manifest(_Facts):
    """A prepared set's ``manifest.json``."""

    rows: int
    recipe: dict[str, Any]
    recipe_digest: str
    rows_by_source: dict[str, int] | None = None
    sha256: str = ""
    format: str = "plain"
    steps: tuple[StepFacts, ...] = ()
    sources: dict[str, SourceFacts] = {}
    files: dict[str, str] = {}


class DataFacts(NamedTuple):
    """What was found of a round's prepared set."""

    folder: Path
    manifest: Manifest | None = None
    asked: DataRecipe | None = None
    """What its job was asked for: the plan's recipe, or what a repair made of it."""
    sources: Mapping[str, str] = {}
    """SHA-256 of the search's source files now, by name; empty of one that could not be read."""
    changed: tuple[str, ...] = ()
    """Files of the set that are not as the manifest says."""
    unread: tuple[str, ...] = ()
    """What of the set was not looked at, and why."""
    leaks: Leaks | str = ""
    """A text: why the rows were not looked through."""


class Records(NamedTuple):
    """The raw records behind one trial's score. None: there is no such file (any more)."""

    root: Path
    """The search directory."""
    node: NodeView
    trial: TrialView
    attempt: AttemptView
    """The job whose result counts."""
    spec: JobSpec | None
    result: JobResult | None
    base: ModelRef | None
    """The search's base model."""
    baseline: JobResult | None
    """The baseline's result; None for the baseline itself."""
    rules: str
    """``eval_digest`` of the frozen card and settings."""
    dev: Mapping[str, tuple[str, str]]
    """Prompt and reference of each dev row, by its id."""
    dev_path: Path
    samples: tuple[EvaluatedRow, ...] | None
    digests: Mapping[str, str]
    """SHA-256 of what lies there now: ``rows``, ``samples``, ``model``."""
    unread: Mapping[str, str]
    """What the disk did not give (``samples``, ``model``, ``rows``), with its reason: not looked at is no contradiction."""
    scored: tuple[float, tuple[int, ...]] | None
    """The metric over the answers, judged again, and the rows that were judged otherwise; None: not judged again."""
    data: DataFacts | None


def strike(check: Check, text: str, record: str, *, design: bool = False) -> ClaimFinding:
    """Return a finding for which the score is no evidence."""
    return ClaimFinding(check=check, severity="strike", text=text, record=record, design=design)


def note(check: Check, text: str, record: str) -> ClaimFinding:
    """Return a finding that a person should know."""
    return ClaimFinding(check=check, severity="note", text=text, record=record)


def own_file(records: Records, name: str) -> str:
    """Return the place of a file of the trial's job, within the search."""
    return f"{records.attempt.directory}/{name}"


def inside(records: Records, path: Path) -> str:
    """Return the place of a file within the search."""
    return str(path.relative_to(records.root)) if path.is_relative_to(records.root) else str(path)


def short(digest: str) -> str:
    """Return as much of a digest as a person compares."""
    return digest[:12] or "none"
