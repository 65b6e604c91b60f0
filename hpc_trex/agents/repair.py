"""Repair rules: a child that failed by its design is tried again with a change, and bad answers call for a remedy."""

from __future__ import annotations

from collections.abc import Iterator

from hpc_trex.agents.apply import Draft, apply_change
from hpc_trex.agents.ideas import Idea
from hpc_trex.agents.moves import Playbook, Repair
from hpc_trex.agents.tree_facts import Facts, Key, base_draft, best_trial, draft_key
from hpc_trex.models import NodeState, NodeView

#: Repairs of one rule from one parent: a second one may follow a first that failed the same way, no third.
MOST_OF_A_KIND = 2

#: Share of empty, cut or unreadable answers above which the format itself is the trouble.
BAD_FORMAT = 0.15

#: Share of training rows that were cut above which the sequence is too short.
CUT_ROWS = 0.05

#: The loss on held-out rows is "well above" that on training rows from this factor on.
OVER_FIT = 1.5


def repairs(facts: Facts, book: Playbook, parent: int) -> Iterator[Idea]:
    """Yield the rounds that mend a failed child of the parent, or the parent itself where it has failed."""
    failed = [node for node in _children(facts, parent) if node.state is NodeState.FAILED]
    if facts.nodes[parent].state is NodeState.FAILED:
        failed.append(facts.nodes[parent])
    for node in sorted(failed, key=lambda n: -n.id):
        failure = failure_of(node)
        for rule in book.repairs:
            if rule.when == failure and _used(facts, parent, rule) < MOST_OF_A_KIND:
                idea = _mended(facts, node, rule)
                if idea is not None:
                    yield idea


def remedies(facts: Facts, book: Playbook, parent: int) -> Iterator[Idea]:
    """Yield the rounds that answer a symptom of the parent's best trial, each rule once from a parent."""
    found = symptoms(facts.nodes[parent])
    base = base_draft(facts, parent)
    for rule in book.repairs:
        if rule.when in found and not _used(facts, parent, rule):
            draft = apply_change(rule, base, facts.sources)
            if draft is not None:
                hypothesis = f"{rule.hypothesis} Seen in node {parent}: {found[rule.when]}."
                yield Idea("repair", (rule.name,), ((rule.name, draft),), hypothesis, rule.expected)


def symptoms(node: NodeView) -> dict[str, str]:
    """Return the symptoms of a round's best trial with what was seen, e.g. ``{"bad-format": "31% of answers ..."}``."""
    trial = best_trial(node)
    if node.plan is None or trial is None or trial.result is None:
        return {}
    rates = trial.result.extra_scores
    found = {}
    bad = max((rates.get(name, 0.0), name) for name in ("empty", "truncated", "unparsable", "invalid_json"))
    if bad[0] >= BAD_FORMAT:
        found["bad-format"] = f"{bad[0]:.0%} of the answers are {bad[1].replace('_', ' ')}"
    if rates.get("train_truncated", 0.0) >= CUT_ROWS:
        found["cut-rows"] = f"{rates['train_truncated']:.0%} of the training rows are longer than the sequence"
    train, held = rates.get("train_loss"), rates.get("holdout_loss")
    if train is not None and held is not None and held > OVER_FIT * train + 0.05:
        found["over-fit"] = f"loss {held:.2f} on held-out rows, {train:.2f} on training rows"
    return found


def failure_of(node: NodeView) -> str:
    """Return the failure class of a round: its own, else that of its first failed trial, else an empty text."""
    if node.failure is not None:
        return node.failure.value
    return next((trial.failure.value for trial in node.trials if trial.failure is not None), "")


def _children(facts: Facts, parent: int) -> list[NodeView]:
    """Return the rounds that were tried from a parent, as they were just read."""
    return [facts.nodes[child] for child in facts.nodes[parent].children]


def _mended(facts: Facts, node: NodeView, rule: Repair) -> Idea | None:
    """Return the failed round with the rule applied to each of its trials, equal ones once."""
    assert node.plan is not None
    trials: list[tuple[str, Draft]] = []
    seen: set[Key] = set()
    for plan in node.plan.trials:
        draft = apply_change(rule, Draft(node.plan.data, plan.train, plan.mixture), facts.sources)
        if draft is not None and (not trials or draft.data == trials[0][1].data) and draft_key(draft) not in seen:
            seen.add(draft_key(draft))
            trials.append((f"trial {len(trials) + 1} mended", draft))
    if not trials:
        return None
    hypothesis = f"{rule.hypothesis} Node {node.id} failed with {failure_of(node)}."
    return Idea("repair", (rule.name,), tuple(trials), hypothesis, rule.expected)


def _used(facts: Facts, parent: int, rule: Repair) -> int:
    """Return how often the rule was used among the children of a parent."""
    return sum(1 for n in _children(facts, parent) if n.plan is not None and n.plan.move == f"repair:{rule.name}")
