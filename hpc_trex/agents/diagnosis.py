"""The rule-based reading of a finished round, shared by all Researchers without an LLM: a report, and insights.

What is claimed of moves: :mod:`.lessons`; why rows are wrong: :mod:`.attribution`; how they moved: :mod:`.movement`.
"""

from __future__ import annotations

from collections.abc import Iterable

from hpc_trex.agents.bad_cases import FORM_FLAGS
from hpc_trex.agents.case_lines import case_lines
from hpc_trex.agents.evidence import Gain, gains
from hpc_trex.agents.lessons import insights, verdict
from hpc_trex.agents.movement import case_report, outcomes
from hpc_trex.agents.moves import Playbook
from hpc_trex.agents.protocol import Diagnosis, Sample
from hpc_trex.agents.repair import failure_of, symptoms
from hpc_trex.agents.tree_facts import Facts, best_trial
from hpc_trex.models import NodeView, TrialState
from hpc_trex.models.cases import CaseReport

#: Rates of the answers' form, as the evaluation names them.
RATES = FORM_FLAGS


def diagnose(
    facts: Facts, node: int, samples: Iterable[Sample], book: Playbook, cases: CaseReport | None = None
) -> Diagnosis:
    """Read one finished round. ``samples`` are the dev rows of its best trial, none for a failed one, ``cases`` the bad
    ones of them by group and against the parent's; without it they are grouped here, and compared with nothing.

    What the search is to do without is neither read nor claimed.
    """
    this, without = facts.nodes[node], facts.view.config.researcher.without
    observed = gains(facts, book)
    lines = [*_result_lines(facts, this), *_trial_lines(this), *_move_lines(facts, observed, node)]
    if "bad-cases" not in without:
        task, rows = facts.view.task, list(samples)
        if cases is None and rows:
            cases = case_report(task, node, this.best_trial or 0, outcomes(rows, task), "")
        lines += [*case_lines(cases, rows, task.metric.labels), *_rate_lines(facts, this)]
    claims = [] if "insights" in without else insights(facts, book)
    return Diagnosis("\n".join(lines), claims)


def _result_lines(facts: Facts, node: NodeView) -> list[str]:
    """Score against the parent, judged by the noise."""
    if node.score is None:
        why = failure_of(node) or node.state.value
        return [f"Node {node.id} has no score: {why}. {node.message}".strip()]
    trial = best_trial(node)
    main = trial.result.scores.get("main") if trial and trial.result else None
    interval = f" (confidence interval {main.low:.3f} to {main.high:.3f})" if main else ""
    lines = [f"Score {node.score:.3f}{interval}, best of {len(node.trials)} trials."]
    parent = facts.nodes[node.parent] if node.parent is not None else None
    if parent is not None and parent.score is not None:
        gain = facts.sign * (node.score - parent.score)
        lines.append(f"Against its parent, node {parent.id}: {gain:+.3f}, {verdict(gain, 1, facts.noise)}.")
    return lines


def _trial_lines(node: NodeView) -> list[str]:
    """One line a trial that differs from the best, failures with their class."""
    if len(node.trials) < 2:
        return []
    lines = []
    for trial in node.trials:
        name = trial.plan.label if trial.plan and trial.plan.label else f"seed {trial.seed}"
        if trial.state is TrialState.FAILED:
            lines.append(f"Trial {trial.trial} ({name}) failed: {trial.failure or 'unknown'}. {trial.message}".strip())
        elif trial.score is not None:
            lines.append(f"Trial {trial.trial} ({name}): {trial.score:.3f}.")
    return lines


def _move_lines(facts: Facts, observed: list[Gain], node: int) -> list[str]:
    """What the round tells of single moves."""
    return [
        f"Move {gain.move}: failed."
        if gain.failed
        else f"Move {gain.move}: {gain.gain:+.3f}, {verdict(gain.gain, 1, facts.noise)}."
        for gain in observed
        if gain.node == node
    ]


def _rate_lines(facts: Facts, node: NodeView) -> list[str]:
    """How the form of the answers moved against the parent's, and what the losses say."""
    trial = best_trial(node)
    if trial is None or trial.result is None:
        return []
    now = trial.result.extra_scores
    parent = best_trial(facts.nodes[node.parent]) if node.parent is not None else None
    before = parent.result.extra_scores if parent is not None and parent.result is not None else {}
    lines = []
    for rate in RATES:
        if max(now.get(rate, 0.0), before.get(rate, 0.0)) > 0:
            earlier = f", {before[rate]:.0%} in the parent" if rate in before else ""
            lines.append(f"Answers {rate.replace('_', ' ')}: {now.get(rate, 0.0):.0%}{earlier}.")
    if "train_loss" in now and "holdout_loss" in now:
        lines.append(f"Loss: {now['train_loss']:.3f} on training rows, {now['holdout_loss']:.3f} on held-out rows.")
    return lines + [f"Symptom {name}: {seen}." for name, seen in sorted(symptoms(node).items())]
