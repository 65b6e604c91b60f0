"""What each move has gained so far, read from pairs of trials that differ by that move and by nothing else.

A child's score minus its parent's mixes several changes, and for a child of the root it contains the whole worth of
training. So gains are taken from pairs: within a round (same data, one training move between two trials), and between
a round and an earlier one (same training, one data move between the recipes). The move is applied again to find the
partner, hence no bookkeeping can go stale.
"""

from __future__ import annotations

from typing import NamedTuple

from hpc_trex.agents.apply import Draft, apply_move
from hpc_trex.agents.moves import Move, Playbook
from hpc_trex.agents.tree_facts import Facts, data_key, draft_key, drafts, origin
from hpc_trex.models import FATES, NodeState, NodeView, TrialState, TrialView

#: Label of the trial that leaves the training as the parent's.
AS_PARENT = "as parent"


class Gain(NamedTuple):
    """One observation of a move. ``gain``: signed so that more is better; of a failed trial, minus the unit."""

    move: str
    node: int
    gain: float
    failed: bool = False


class Belief(NamedTuple):
    """What is thought of a move: Normal with this mean and standard deviation, in points of the score."""

    mean: float
    sd: float
    observed: float | None
    """Mean of the observed gains, None before the first."""
    seen: int


def move_names(tag: str) -> list[str]:
    """Return the moves that a round's ``move`` (``probe:clean+wrong-answers``) or a trial's label names, in order."""
    return [name for name in tag.rpartition(":")[2].split("+") if name]


def mutation_size(depth: int) -> float:
    """Return the size of a change of a node at this depth: 1 down to depth 2, then 0.9 a level, 0.4 at least."""
    return max(0.4, 0.9 ** max(0, depth - 2))


def gains(facts: Facts, book: Playbook) -> list[Gain]:
    """Return all observations in the order of design."""
    found: list[Gain] = []
    for node in facts.nodes.values():
        if node.plan is not None and node.parent is not None:
            found += _data_gains(facts, book, node)
            found += _train_gains(facts, book, node)
    return found


def _data_gains(facts: Facts, book: Playbook, node: NodeView) -> list[Gain]:
    """Return the gain of the last data move that the round names, given those named before it."""
    assert node.plan is not None
    assert node.parent is not None
    named = [book.moves[n] for n in move_names(node.plan.move) if n in book.moves and book.moves[n].kind == "data"]
    if not named:
        return []
    parent = facts.nodes[origin(node) or 0]
    before = facts.default if parent.plan is None else facts.default._replace(data=parent.plan.data)
    size = mutation_size(facts.nodes[node.parent].depth)
    for move in named[:-1]:
        before = apply_move(move, before, facts.sources, size=size) or before
    after = apply_move(named[-1], before, facts.sources, size=size)
    if after is None or data_key(after.data) != data_key(node.plan.data):
        return []  # the round did more than it names, e.g. a crossover
    name = named[-1].name
    if node.state is NodeState.FAILED and _charged(node):
        return [Gain(name, node.id, -facts.unit, failed=True)]
    pairs = []
    for trial, draft in drafts(node):
        partner = facts.scores.get(draft_key(draft._replace(data=before.data)))
        if trial.replicate_of is None and trial.state is TrialState.DONE and partner is not None:
            pairs.append(facts.sign * (facts.scores[draft_key(draft)] - partner))
    return [Gain(name, node.id, sum(pairs) / len(pairs))] if pairs else []


def _train_gains(facts: Facts, book: Playbook, node: NodeView) -> list[Gain]:
    """Return the gain of each trial that is labelled with one training move."""
    assert node.plan is not None
    assert node.parent is not None
    parent = facts.nodes[origin(node) or 0]
    size = mutation_size(facts.nodes[node.parent].depth)
    partners = [draft for _, draft in drafts(node)]
    partners += [draft._replace(data=node.plan.data) for _, draft in drafts(parent)]
    partners.append(facts.default._replace(data=node.plan.data))
    found = []
    for trial, draft in drafts(node):
        names = move_names(trial.plan.label if trial.plan else "")
        if trial.replicate_of is not None or len(names) != 1 or names[0] not in book.moves:
            continue
        move = book.moves[names[0]]
        partner = _partner_score(facts, move, draft, partners, size)
        if partner is None:
            continue
        if trial.state is TrialState.FAILED and _charged(trial):
            found.append(Gain(move.name, node.id, -facts.unit, failed=True))
        elif trial.state is TrialState.DONE and draft_key(draft) in facts.scores:
            found.append(Gain(move.name, node.id, facts.sign * (facts.scores[draft_key(draft)] - partner)))
    return found


def _partner_score(facts: Facts, move: Move, draft: Draft, partners: list[Draft], size: float) -> float | None:
    """Return the score of the first partner that becomes this trial by the move."""
    key = draft_key(draft)
    for partner in partners:
        score = facts.scores.get(draft_key(partner))
        if score is None:
            continue
        changed = apply_move(move, partner, facts.sources, size=size)
        if changed is not None and draft_key(changed) == key:
            return score
    return None


def _charged(view: NodeView | TrialView) -> bool:
    return view.failure is not None and FATES[view.failure].charged


def belief(move: Move, observed: list[Gain], facts: Facts) -> Belief:
    """Return the posterior of a move's gain: Normal prior of its TOML entry, Normal observations.

    A gain is the difference of two scores, so its variance is ``2 * noise**2``; a quarter of the prior's variance is
    added because a gain at one place of the tree is not the gain at another. The opposite move's observations count
    half, mirrored.
    """
    prior_var = (move.prior.sd * facts.unit) ** 2
    seen_var = 2 * facts.noise**2 + prior_var / 4
    precision, total = 1 / prior_var, move.prior.gain * facts.unit / prior_var
    own = [gain.gain for gain in observed if gain.move == move.name]
    mirrored = [-gain.gain for gain in observed if gain.move == move.opposite and not gain.failed]
    for value, weight in [(value, 1.0) for value in own] + [(value, 0.5) for value in mirrored]:
        precision += weight / seen_var
        total += weight * value / seen_var
    return Belief(total / precision, precision**-0.5, sum(own) / len(own) if own else None, len(own))


def beats_noise(gain: float, count: int, noise: float, *, errors: float) -> bool:
    """Tell whether a mean gain over ``count`` pairs is above ``errors`` standard errors of a difference of two scores."""
    return count > 0 and gain > errors * noise * (2 / count) ** 0.5
