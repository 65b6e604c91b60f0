"""From rows of the database to the records of :mod:`hpc_trex.models`, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpc_trex.models import (
    AttemptView,
    ClaimFinding,
    Insight,
    JobResult,
    NodeState,
    NodeView,
    RoundPlan,
    TrialPlan,
    TrialView,
)
from hpc_trex.tree.standing import Scale

if TYPE_CHECKING:
    from sqlite_utils import Database

Row = Mapping[str, Any]


def attempt_view(row: Row) -> AttemptView:
    """Return one job."""
    return AttemptView.model_validate({name: row[name] for name in AttemptView.model_fields if name in row})


def trial_view(row: Row) -> TrialView:
    """Return one trial with its result; what it scored is no score where it is struck."""
    struck = bool(row["struck"])
    findings = None if row["findings"] is None else json.loads(row["findings"])
    return TrialView(
        node=row["node"],
        trial=row["trial"],
        state=row["state"],
        kind=row["kind"],
        plan=TrialPlan.model_validate_json(row["plan"]) if row["plan"] else None,
        seed=row["seed"],
        identity=row["identity"],
        replicate_of=row["replicate_of"],
        reused_from=None if row["reused_node"] is None else (row["reused_node"], row["reused_trial"]),
        score=None if struck else row["score"],
        result=JobResult.model_validate_json(row["result"]) if row["result"] else None,
        failure=row["failure"],
        message=row["message"],
        micro_batch_size=row["micro_batch_size"],
        how=json.loads(row["how"]),
        repaired_from=row["repaired_from"],
        findings=None if findings is None else tuple(ClaimFinding.model_validate(one) for one in findings),
        struck=struck,
        claimed=row["score"] if struck else None,
    )


def node_view(row: Row, scale: Scale | None, children: Sequence[int], trials: Sequence[TrialView]) -> NodeView:
    """Return one round. ``scale`` is None while the search has no score."""
    score = row["score"]
    reward = 0.0 if row["charged"] else None if score is None or scale is None else scale.reward(score)
    return NodeView(
        id=row["id"],
        parent=row["parent"],
        depth=row["depth"],
        state=row["state"],
        plan=RoundPlan.model_validate_json(row["plan"]) if row["plan"] else None,
        move=row["move"],
        score=score,
        best_trial=row["best_trial"],
        reward=reward,
        visits=row["scored"] + row["failures"],
        pending=row["pending"],
        children=tuple(children),
        data_from=row["data_from"],
        failure=row["failure"],
        message=row["message"],
        report=row["report"],
        trials=tuple(trials),
        cost_gpu_hours=row["gpu_seconds"] / 3600,
        cost_cpu_hours=row["cpu_seconds"] / 3600,
        struck=row["state"] == NodeState.STRUCK,
    )


def insight(row: Row) -> Insight:
    """Return one lesson."""
    return Insight(
        text=row["text"],
        nodes=tuple(json.loads(row["nodes"])),
        kind=row["kind"],
        direction=row["direction"],
        effect=row["effect"],
        errors=row["errors"],
        pairs=row["pairs"],
    )


def result_json(result: JobResult | None) -> str | None:
    """Return a result as the database keeps it: without its curve, which stays in the job's file."""
    return None if result is None else result.model_dump_json(exclude={"curve"})


def change_one(db: Database, sql: str, parameters: Sequence[object], refusal: str) -> None:
    """Run an update that must touch exactly one row. Raises ``ValueError`` with the refusal where it does not."""
    if db.execute(sql, list(parameters)).rowcount != 1:
        raise ValueError(refusal)
