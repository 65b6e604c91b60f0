"""A trial as a search has recorded it: what ``export`` hands on and ``reproduce`` runs again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.files import read_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models import JobResult, NodeView, SearchConfig, StatusView, TaskCard, TrialPlan, TrialView
from hpc_trex.tree.store import Store


class Recorded(NamedTuple):
    """One trial that has succeeded, with what it came from."""

    paths: SearchPaths
    config: SearchConfig
    status: StatusView
    card: TaskCard
    node: NodeView
    trial: TrialView
    plan: TrialPlan
    result: JobResult
    manifest: dict[str, Any]
    """Of the prepared set; empty where that is gone."""


def recorded(paths: SearchPaths, number: int | None) -> Recorded:
    """Return the best trial of a node; of the chosen node (or the best so far) where none is named.

    Raises :class:`NotFound` for a node without a finished training, :class:`UsageProblem` for the baseline.
    """
    with Store.read(paths) as store:
        status, config = store.status(), store.config
        shown = status.chosen or status.best
        if number is None and shown is None:
            raise NotFound(f"{config.name} has no scored round yet", hint=f"hpc-trex status {config.name}")
        wanted = number if number is not None else shown.node if shown else 0
        node = store.node(wanted)
    if node.plan is None:
        raise UsageProblem("node 0 is the baseline: nothing was trained there", hint="name a round: hpc-trex tree")
    which = shown.trial if number is None and shown else node.best_trial
    trial = next((one for one in node.trials if one.trial == which), None)
    if trial is None or trial.plan is None or trial.result is None or trial.result.state != "succeeded":
        raise NotFound(f"node {node.id} has no training that succeeded", hint=f"hpc-trex show {node.id} {config.name}")
    card = read_record(paths.card, TaskCard)
    if card is None:
        raise NotFound(f"{paths.card} is missing or broken", hint="the search directory is not whole")
    owner = node.id if node.data_from is None else node.data_from
    return Recorded(paths, config, status, card, node, trial, trial.plan, trial.result, _manifest(paths.data(owner)))


def _manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a prepared set; nothing where ``gc`` has taken it."""
    try:
        return dict(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
