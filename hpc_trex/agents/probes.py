"""The first rounds: single changes, one data move and one training move a round, each against its own reference.

A round's trials share their data, so a round tests at most one new data move. Its first trial leaves the training as
the parent's: compared with the same training on the parent's data, it tells the data move's gain. Every further trial
changes one training field: compared with the first trial, it tells that field's gain. So a round of two trials answers
two questions, and the default plan itself is the first round, because without it no question has an answer.
"""

from __future__ import annotations

from hpc_trex.agents.apply import Draft, apply_move
from hpc_trex.agents.evidence import AS_PARENT, Gain, beats_noise
from hpc_trex.agents.ideas import Idea, contrasts, texts, tried
from hpc_trex.agents.moves import Move, Playbook
from hpc_trex.agents.tree_facts import Facts, base_draft, data_key

#: Probes never take more rounds than this, however large the budget.
MOST_ROUNDS = 8


def quota(max_nodes: int) -> int:
    """Return how many rounds may be probes: 2 in 5 of the budget, at least 3 where that leaves one to combine."""
    return min(MOST_ROUNDS, max(1, min(3, max_nodes - 1), round(0.4 * max_nodes)))


def rounds_used(facts: Facts) -> int:
    """Return how many probe rounds were designed so far."""
    return sum(1 for node in facts.nodes.values() if node.plan is not None and node.plan.move.startswith("probe:"))


def next_probe(facts: Facts, book: Playbook, observed: list[Gain], parent: int) -> Idea | None:
    """Return the next probe from this parent, None when the quota is used up or nothing is left to probe."""
    config = facts.view.config
    if rounds_used(facts) >= quota(config.budget.max_nodes):
        return None
    base = base_draft(facts, parent)
    seen, count = tried(facts), config.researcher.trials
    fresh = [move for move in book.probes("train") if move.name not in seen]
    if "default" not in seen and data_key(base.data) == data_key(facts.default.data):
        return _default(facts, base, fresh, count)
    data = next((idea for move in book.probes("data") if (idea := _data(facts, book, observed, base, move))), None)
    if data is not None and not (count == 1 and _train_is_due(book, seen, fresh)):
        rest = contrasts(facts, data.trials[0][1], fresh or book.probes("train"), count - 1, size=1.0)
        return data._replace(trials=(*data.trials, *rest))
    trials = contrasts(facts, base, fresh, count, size=1.0)
    if not trials:
        return None
    names = tuple(label for label, _ in trials)
    hypothesis, expected = texts(facts, [book.moves[n] for n in names if n in book.moves], base)
    return Idea("probe", names, tuple(trials), hypothesis, expected)


def _default(facts: Facts, base: Draft, fresh: list[Move], count: int) -> Idea:
    rest = contrasts(facts, base, fresh, count - 1, size=1.0)
    return Idea(
        "probe",
        ("default",),
        (("default", base), *rest),
        "training on all sources as they are shows what the data are worth before anything is changed, and every later "
        "change is measured against it.",
        "A first gain over the base model.",
    )


def _data(facts: Facts, book: Playbook, observed: list[Gain], base: Draft, move: Move) -> Idea | None:
    """Return the round that adds one data probe, on top of the probes that it builds on; None if it adds nothing."""
    seen = tried(facts)
    if move.name in seen or _covered(book, move, seen):
        return None
    names: list[str] = []
    draft = base
    for name in move.on:
        below = None if harmful(facts, observed, name) else apply_move(book.moves[name], draft, facts.sources)
        if below is not None:
            draft = below
            names.append(name)
    changed = apply_move(move, draft, facts.sources)
    if changed is None:
        return None
    hypothesis, expected = texts(facts, [move], base)
    return Idea("probe", (*names, move.name), ((AS_PARENT, changed),), hypothesis, expected)


def _covered(book: Playbook, move: Move, seen: set[str]) -> bool:
    """Tell whether a data move is a part of one that was tried: it would answer half of an answered question."""
    others = [book.moves[name] for name in seen if name in book.moves]
    return any(all(op in other.data for op in move.data) for other in others)


def harmful(facts: Facts, observed: list[Gain], name: str) -> bool:
    """Tell whether a move was seen to lose more than the noise."""
    values = [gain.gain for gain in observed if gain.move == name]
    return bool(values) and beats_noise(-sum(values) / len(values), len(values), facts.noise, errors=1.0)


def _train_is_due(book: Playbook, seen: set[str], fresh: list[Move]) -> bool:
    """With one trial a round, data and training probes take turns."""
    done = [sum(1 for move in book.probes(kind) if move.name in seen) for kind in ("data", "train")]
    return bool(fresh) and done[0] > done[1]
