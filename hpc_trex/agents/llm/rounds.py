"""Rounds of the tree in words: one line each, or in full. Dev scores only; a test trial is passed over wherever it is met."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from hpc_trex.agents.apply import Draft
from hpc_trex.agents.defaults import default_draft
from hpc_trex.agents.ideas import changes
from hpc_trex.agents.llm.facts import train_json
from hpc_trex.agents.llm.fence import one_line
from hpc_trex.agents.protocol import TreeView
from hpc_trex.agents.tree_facts import drafts
from hpc_trex.models import DataRecipe, JobKind, NodeState, NodeView, RoundPlan, TrainConfig, TrialState, TrialView

#: Longest code of a step that is shown, in characters: a step that is to be kept must be copied, so it is seldom cut.
CODE_CHARS = 6000


def base_of(view: TreeView, node: NodeView) -> Draft:
    """Return what a child of the round is a change of: its best trial, else its first; the default plan of the root."""
    if node.plan is None:
        return default_draft(view)
    found = {trial.trial: draft for trial, draft in drafts(node)}
    first = node.plan.trials[0]
    best = found.get(node.best_trial) if node.best_trial is not None else None
    return best or Draft(node.plan.data, first.train, first.mixture)


def round_line(view: TreeView, node: NodeView) -> str:
    """Return a round in one line: where it stands, its score against its parent's, and what it changed."""
    origin = "baseline, nothing trained" if node.parent is None else f"from node {node.parent}"
    struck = ", struck from the tree: no evidence" if node.struck else ""
    line = f"node {node.id} ({origin}): {_outcome(view, node)}{struck}"
    if node.plan is None or node.parent is None:
        return line
    move = f"; move {one_line(node.plan.move, 80)}" if node.plan.move else ""
    return f"{line}{move}; {plan_changes(view, node.parent, node.plan, length=400)}"


def round_entry(view: TreeView, node: NodeView, *, length: int = 500) -> str:
    """Return a round in full: its line, its claim, its trials, its report. No text of it is longer than ``length``."""
    lines = [round_line(view, node)]
    if node.plan is not None:
        lines.append(f"  claimed: {one_line(node.plan.hypothesis, length)}")
    lines += [f"  {_trial(trial, node.best_trial)}" for trial in node.trials if trial.kind is JobKind.TRAIN]
    if node.message:
        lines.append(f"  message: {one_line(node.message, length)}")
    if node.report:
        lines.append(f"  report: {one_line(node.report, length)}")
    return "\n".join(lines)


def plan_changes(view: TreeView, parent: int, plan: RoundPlan, *, length: int = 2000) -> str:
    """Return what the trials of a plan change of the parent's best trial."""
    base = base_of(view, view.node(parent))
    base = base._replace(data=_named_code(base.data, 60))
    data = _named_code(plan.data, 60)
    found = dict.fromkeys(changes(base, Draft(data, trial.train, trial.mixture)) for trial in plan.trials)
    return one_line(f"changes: {' | '.join(found)}", length)


def plan_json(view: TreeView, node: NodeView) -> str:
    """Return recipe and training of a round's best trial as JSON, in the form that a plan has."""
    draft = base_of(view, node)
    return "\n".join([_data_json(draft.data), _trial_json(draft.train, draft.mixture)])


def plan_lines(plan: RoundPlan) -> list[str]:
    """Return the recipe and every trial of a plan as JSON."""
    trials = [
        f"trial {number} ({one_line(trial.label, 80)}): {_trial_json(trial.train, trial.mixture)}"
        for number, trial in enumerate(plan.trials, start=1)
    ]
    return [_data_json(plan.data), *trials]


def _data_json(data: DataRecipe) -> str:
    """The parameters that have their default are written too: the reader need not know it."""
    return f"data = {_named_code(data, CODE_CHARS).model_dump_json(exclude_none=True)}"


def _named_code(data: DataRecipe, length: int) -> DataRecipe:
    """Return the recipe with code of more than ``length`` characters cut, and named by its hash so that two can be told apart."""
    steps = []
    for step in data.steps:
        code = getattr(step, "code", None)
        if isinstance(code, str) and len(code) > length:
            name = hashlib.sha256(code.encode()).hexdigest()[:8]
            cut = f"{code[: max(0, length - 40)]} [cut: {len(code)} characters, {name}]"
            steps.append(step.model_copy(update={"code": cut}))
        else:
            steps.append(step)
    return data.model_copy(update={"steps": tuple(steps)})


def _trial_json(train: TrainConfig, mixture: dict[str, float] | None) -> str:
    mixed = "" if mixture is None else f", mixture = {json.dumps(mixture, ensure_ascii=False)}"
    return f"train = {train_json(train)}{mixed}"


def standing(view: TreeView) -> str:
    """Return where the search stands: noise, baseline and best, what is left of the budget."""
    nodes, noise, best = view.nodes(), view.noise_sd, view.best()
    lines = []
    if noise is None:
        lines.append("Noise between seeds: not measured yet; trust no small gain.")
    else:
        lines.append(
            f"Noise between seeds: sd {noise:.4f}; a difference of two scores below {2 * 2**0.5 * noise:.4f} is no result."
        )
    lines += [f"Baseline: {_outcome(view, node)}." for node in nodes[:1]]
    if best is not None and best.score is not None:
        lines.append(f"Best: node {best.id} with {best.score:.4f}.")
    budget, used = view.config.budget, sum(1 for node in nodes if node.parent is not None)
    lines.append(f"Rounds: {used} of {budget.max_nodes} designed, this one not counted.")
    for name, cap, spent in (
        ("GPU-hours", budget.gpu_hours, sum(node.cost_gpu_hours for node in nodes)),
        ("CPU-hours", budget.cpu_hours, sum(node.cost_cpu_hours for node in nodes)),
    ):
        if cap is not None:
            lines.append(f"{name}: {spent:.2f} of {cap:g} used.")
    return "\n".join(lines)


def rates(node: NodeView) -> str:
    """Return the further scores and rates of a round's best trial, e.g. how many answers were cut."""
    trial = next((one for one in node.trials if one.trial == node.best_trial), None)
    if trial is None or trial.result is None or trial.kind is JobKind.TEST:
        return ""
    return ", ".join(f"{one_line(name, 60)} {value:.4g}" for name, value in sorted(trial.result.extra_scores.items()))


def pending(nodes: Sequence[NodeView]) -> list[NodeView]:
    """Return the rounds whose results are not in."""
    return [node for node in nodes if node.state is NodeState.PENDING]


def _outcome(view: TreeView, node: NodeView) -> str:
    if node.score is None:
        failure = node.failure.value if node.failure is not None else ""
        return "under way" if node.state is NodeState.PENDING else f"{node.state.value} {failure}".strip()
    text = f"score {node.score:.4f}"
    above = view.node(node.parent) if node.parent is not None else None
    if above is None or above.score is None:
        return text
    gain = node.score - above.score
    good = gain if view.task.metric.higher_is_better else -gain
    return f"{text} ({gain:+.4f} against its parent, {'better' if good > 0 else 'worse' if good < 0 else 'equal'})"


def _trial(trial: TrialView, best: int | None) -> str:
    name = f"trial {trial.trial}{', the best' if trial.trial == best else ''}"
    if trial.replicate_of is not None:
        name += f" (trial {trial.replicate_of} with seed {trial.seed})"
    elif trial.plan is not None and trial.plan.label:
        name += f" ({one_line(trial.plan.label, 80)})"
    if trial.state is TrialState.FAILED:
        failure = trial.failure.value if trial.failure is not None else "for an unknown reason"
        return f"{name}: failed {failure}. {one_line(trial.message, 200)}".rstrip(" .") + "."
    if trial.score is None:
        return f"{name}: {trial.state.value}."
    main = trial.result.scores.get("main") if trial.result is not None else None
    interval = f" ({main.low:.3f} to {main.high:.3f})" if main is not None else ""
    return f"{name}: {trial.score:.4f}{interval}."
