"""After probing and combining: Thompson sampling over the moves, smaller steps the deeper the node, a little crossover."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from hpc_trex.agents.apply import Draft, apply_move, get_field, with_field
from hpc_trex.agents.evidence import AS_PARENT, Gain, belief
from hpc_trex.agents.ideas import Idea, changes, contrasts, texts
from hpc_trex.agents.moves import Move, Playbook
from hpc_trex.agents.prior import taught
from hpc_trex.agents.tree_facts import Facts, base_draft, draft_key

#: How often a round takes over a part of another good node instead of a move.
CROSSOVER = 0.15


def sampled(facts: Facts, book: Playbook, observed: list[Gain], rng: random.Random) -> list[Move]:
    """Return the moves ordered by one draw from what is thought of each: the best guess first, with chances for all.

    What is thought begins with the lessons of earlier searches, where this one was launched with any.
    """
    alone = "insights" in facts.view.config.researcher.without
    draws, prior = [], book if alone else taught(book, facts.view)
    for name in sorted(book.moves):
        thought = belief(prior.moves[name], observed, facts)
        draws.append((rng.gauss(thought.mean, thought.sd), name))
    return [book.moves[name] for _, name in sorted(draws, key=lambda pair: (-pair[0], pair[1]))]


def ideas(
    facts: Facts, book: Playbook, anchor: Draft, ordered: list[Move], added: tuple[str, ...], *, size: float
) -> Iterator[Idea]:
    """Yield rounds in the order of the drawn moves.

    A data move makes a round whose first trial keeps the training and whose others add the best training moves. A
    training move makes a round on the same data, with the best training moves one in each trial. Last come the
    data moves in pairs, for a search that has used up all single ones.
    """
    count = facts.view.config.researcher.trials
    training = [move for move in ordered if move.kind == "train"]
    train_done = False
    for move in ordered:
        if move.kind == "data":
            yield from _data_idea(facts, anchor, [move], training, added, size)
        elif not train_done:
            train_done = True
            trials = contrasts(facts, anchor, training, count, size=size)
            if trials:
                yield _train_idea(facts, book, anchor, trials, added)
    data = [move for move in ordered if move.kind == "data"]
    for first, second in itertools.pairwise(data):
        yield from _data_idea(facts, anchor, [first, second], training, added, size)


def _data_idea(
    facts: Facts, anchor: Draft, moves: list[Move], training: list[Move], added: tuple[str, ...], size: float
) -> Iterator[Idea]:
    draft: Draft | None = anchor
    for move in moves:
        draft = apply_move(move, draft, facts.sources, size=size) if draft is not None else None
    if draft is None:
        return
    rest = contrasts(facts, draft, training, facts.view.config.researcher.trials - 1, size=size)
    hypothesis, expected = texts(facts, moves, anchor)
    names = (*added, *(move.name for move in moves))
    yield Idea("bandit", names, ((AS_PARENT, draft), *rest), hypothesis, expected)


def _train_idea(
    facts: Facts, book: Playbook, anchor: Draft, trials: list[tuple[str, Draft]], added: tuple[str, ...]
) -> Idea:
    names = [label for label, _ in trials if label in book.moves]
    hypothesis, expected = texts(facts, [book.moves[name] for name in names], anchor)
    return Idea("bandit", (*added, *names), tuple(trials), hypothesis, expected)


def crossover(facts: Facts, anchor: Draft, parent: int, training: list[Move], rng: random.Random) -> Idea | None:
    """Return a round that takes one changed training field or one data step over from another good node.

    Good: among the upper half of the finished rounds, and not on the way from the root to the parent.
    """
    path = {node.id for node in facts.view.path(parent)}
    scored = [n for n in facts.nodes.values() if n.plan is not None and n.score is not None and n.id not in path]
    scored.sort(key=lambda node: (-facts.sign * (node.score or 0.0), node.id))
    if not scored:
        return None
    donor_node = rng.choice(scored[: (len(scored) + 1) // 2])
    donor = base_draft(facts, donor_node.id)
    options: list[Draft] = []
    fields = (
        "learning_rate",
        "epochs",
        "method",
        "lora.rank",
        "batch_size",
        "schedule",
        "weight_decay",
        "warmup_ratio",
    )
    for name in fields:
        value = get_field(donor.train, name)
        if value not in (get_field(facts.default.train, name), get_field(anchor.train, name)):
            options.append(anchor._replace(train=with_field(anchor.train, name, value)))
    if donor.data != anchor.data:
        options.append(anchor._replace(data=donor.data, mixture=None))
    options = [draft for draft in options if draft_key(draft) not in facts.known]
    if not options:
        return None
    draft = rng.choice(options)
    rest = contrasts(facts, draft, training, facts.view.config.researcher.trials - 1, size=1.0)
    return Idea(
        "cross",
        (f"node-{donor_node.id}",),
        ((f"from node {donor_node.id}", draft), *rest),
        f"a part of the good node {donor_node.id} also helps here: {changes(anchor, draft)}.",
        "A gain if the two parts do not depend on what stands around them.",
    )
