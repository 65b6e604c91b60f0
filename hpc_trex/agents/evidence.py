"""What each move has gained so far, read from pairs of trials that differ by that move and by nothing else.

A child's score minus its parent's mixes several changes, and for a child of the root it contains the whole worth of
training. So gains are taken from pairs: within a round (same data, one training move between two trials), and between
a round and an earlier one (same training, one data move between the recipes). The move is applied again to find the
partner, hence no bookkeeping can go stale.
"""

from __future__ import annotations

from typing import NamedTuple

from hpc_trex.agents.apply import apply_move
from hpc_trex.agents.moves import Move, Playbook
from hpc_trex.agents.tree_facts import Facts, Pair, Pairs, data_key, draft_key, drafts, origin
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
        pairs = facts.pairs.get(node.id)
        if pairs is None or pairs.trials != len(node.trials):
            pairs = facts.pairs[node.id] = _pairs(facts, book, node)
        if pairs.data or pairs.train:
            found += [*_data_gain(facts, node, pairs.data), *_train_gains(facts, node, pairs.train)]
    return found


def _pairs(facts: Facts, book: Playbook, node: NodeView) -> Pairs:
    """Return the pairs of a round. They depend on plans alone, which never change; only trials are added to them."""
    if node.plan is None or node.parent is None:
        return Pairs(len(node.trials), [], [])
    return Pairs(len(node.trials), _data_pairs(facts, book, node), _train_pairs(facts, book, node))


def _data_pairs(facts: Facts, book: Playbook, node: NodeView) -> list[Pair]:
    """Return each trial with its like before the last data move that the round names, given those named before it."""
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
    return [
        Pair(named[-1].name, trial.trial, draft_key(draft), (draft_key(draft._replace(data=before.data)),))
        for trial, draft in drafts(node)
        if trial.replicate_of is None
    ]


def _data_gain(facts: Facts, node: NodeView, pairs: list[Pair]) -> list[Gain]:
    """Return the gain of the round's data move: the mean over its trials that can be compared."""
    if not pairs:
        return []
    name = pairs[0].move
    if node.state is NodeState.FAILED and _charged(node):
        return [Gain(name, node.id, -facts.unit, failed=True)]
    done = {trial.trial for trial in node.trials if trial.state is TrialState.DONE}
    values = [
        facts.sign * (facts.scores[pair.key] - facts.scores[pair.partners[0]])
        for pair in pairs
        if pair.trial in done and pair.key in facts.scores and pair.partners[0] in facts.scores
    ]
    return [Gain(name, node.id, sum(values) / len(values))] if values else []


def _train_pairs(facts: Facts, book: Playbook, node: NodeView) -> list[Pair]:
    """Return each trial that is labelled with one training move, with those that become it by that move."""
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
        move, key = book.moves[names[0]], draft_key(draft)
        fitting = [
            draft_key(partner)
            for partner in partners
            if (changed := apply_move(move, partner, facts.sources, size=size)) is not None
            and draft_key(changed) == key
        ]
        if fitting:
            found.append(Pair(move.name, trial.trial, key, tuple(dict.fromkeys(fitting))))
    return found


def _train_gains(facts: Facts, node: NodeView, pairs: list[Pair]) -> list[Gain]:
    """Return the gain of each trial over the first of its partners that has a score."""
    trials = {trial.trial: trial for trial in node.trials}
    found = []
    for pair in pairs:
        trial = trials[pair.trial]
        partner = next((facts.scores[key] for key in pair.partners if key in facts.scores), None)
        if partner is None:
            continue
        if trial.state is TrialState.FAILED and _charged(trial):
            found.append(Gain(pair.move, node.id, -facts.unit, failed=True))
        elif trial.state is TrialState.DONE and pair.key in facts.scores:
            found.append(Gain(pair.move, node.id, facts.sign * (facts.scores[pair.key] - partner)))
    return found


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
