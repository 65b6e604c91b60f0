"""The bodies of ``--json``: records as plain data, with the keys that DESIGN section 9 promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpc_trex.models import AttemptView, BestView, ModelRef, NodeView, StatusView, TrialView


def status_json(status: StatusView) -> dict[str, Any]:
    """Return ``status``: search, state, counts, baseline and best with their intervals, cost, running jobs."""
    body = status.model_dump(mode="json")
    for name in ("baseline", "best", "chosen"):
        body[name] = _scored(getattr(status, name))
    return body


def tree_json(status: StatusView, nodes: Sequence[NodeView]) -> dict[str, Any]:
    """Return ``tree``: one entry a round, trials in short."""
    waits = status.waits_for.model_dump(mode="json") if status.waits_for is not None else None
    rounds = [_tree_node(node) for node in nodes]
    return {"search": status.search, "state": status.state.value, "nodes": rounds, "waits_for": waits}


def node_json(node: NodeView, attempts: Sequence[AttemptView], difference: Sequence[str]) -> dict[str, Any]:
    """Return ``show``: the round with plan, recipe, difference from its parent, trials and attempts."""
    body = node.model_dump(mode="json")
    body["recipe"] = body["plan"]["data"] if body["plan"] else None
    body["difference"] = list(difference)
    body["attempts"] = [attempt.model_dump(mode="json") for attempt in attempts]
    return body


def best_json(status: StatusView, model: ModelRef | None) -> dict[str, Any]:
    """Return ``best``: baseline and best (the chosen one, once chosen) with the path of its model."""
    shown = status.chosen or status.best
    best = _scored(shown)
    if best is not None:
        best["model"] = model.model_dump(mode="json") if model is not None else None
    difference = status.test_difference
    return {
        "search": status.search,
        "state": status.state.value,
        "chosen": status.chosen is not None,
        "baseline": _scored(status.baseline),
        "best": best,
        "test_difference": difference.model_dump(mode="json") if difference is not None else None,
        "noise_sd": status.noise_sd,
    }


def best_model(node: NodeView, trial: int) -> ModelRef | None:
    """Return the model that a trial left on disk; None while there is none (and for the baseline)."""
    for view in node.trials:
        if view.trial == trial and view.result is not None:
            return view.result.model
    return None


def _scored(view: BestView | None) -> dict[str, Any] | None:
    """Return a scored round with its confidence interval as one pair."""
    if view is None:
        return None
    body = view.model_dump(mode="json")
    known = view.dev_low is not None and view.dev_high is not None
    body["interval"] = [view.dev_low, view.dev_high] if known else None
    return body


def _tree_node(node: NodeView) -> dict[str, Any]:
    wanted = {
        "id",
        "parent",
        "depth",
        "state",
        "move",
        "score",
        "reward",
        "visits",
        "pending",
        "best_trial",
        "failure",
        "struck",
    }
    body = node.model_dump(mode="json", include=wanted)
    body["hypothesis"] = node.plan.hypothesis if node.plan else ""
    body["trials"] = [_tree_trial(trial) for trial in node.trials]
    return body


def _tree_trial(trial: TrialView) -> dict[str, Any]:
    body = trial.model_dump(
        mode="json", include={"trial", "kind", "state", "score", "seed", "replicate_of", "failure", "struck"}
    )
    body["label"] = trial.plan.label if trial.plan else ""
    return body
