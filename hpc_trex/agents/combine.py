"""Put together what has won: every move whose gain beat the noise, and that the parent does not have yet."""

from __future__ import annotations

from typing import NamedTuple

from hpc_trex.agents.apply import Draft, apply_move, get_field
from hpc_trex.agents.evidence import Gain, beats_noise
from hpc_trex.agents.ideas import Idea, contrasts
from hpc_trex.agents.moves import Move, Playbook
from hpc_trex.agents.probes import harmful
from hpc_trex.agents.tree_facts import Facts

#: Standard errors that a gain must have to be built upon. One, not two: a wrong guess costs a little and is found out
#: later, a winner that is left out costs the whole search. Claims (insights, reports) need two.
TO_BUILD_ON = 1.0


class Winner(NamedTuple):
    """A move that has won, and by how much on average."""

    move: Move
    gain: float


class Combined(NamedTuple):
    """A draft with all winners that it lacked, and which they were."""

    draft: Draft
    added: list[Winner]


def winners(facts: Facts, book: Playbook, observed: list[Gain]) -> list[Winner]:
    """Return the moves whose mean gain beats the noise, the strongest first; of those that exclude each other, one."""
    values: dict[str, list[float]] = {}
    for gain in observed:
        values.setdefault(gain.move, []).append(gain.gain)
    means = [
        Winner(book.moves[name], sum(found) / len(found))
        for name, found in values.items()
        if name in book.moves and beats_noise(sum(found) / len(found), len(found), facts.noise, errors=TO_BUILD_ON)
    ]
    chosen: list[Winner] = []
    for winner in sorted(means, key=lambda w: (-w.gain, w.move.name)):
        if not any(winner.move.excludes(other.move) for other in chosen):
            chosen.append(winner)
    return chosen


def combined(facts: Facts, book: Playbook, observed: list[Gain], base: Draft) -> Combined:
    """Return the base with all winners added that it lacks: data moves in the playbook's order, then training moves."""
    won = winners(facts, book, observed)
    draft, added = base, []
    names = {winner.move.name for winner in won}
    data = [winner for winner in won if winner.move.kind == "data"]
    for winner in sorted(data, key=lambda w: (w.move.order, w.move.name)):
        for below in winner.move.on:
            if below not in names and not harmful(facts, observed, below):
                draft = apply_move(book.moves[below], draft, facts.sources) or draft
        changed = apply_move(winner.move, draft, facts.sources)
        if changed is not None:
            draft = changed
            added.append(winner)
    for winner in won:
        if winner.move.kind == "train" and _untouched(facts, base, winner.move):
            changed = apply_move(winner.move, draft, facts.sources)
            if changed is not None:
                draft = changed
                added.append(winner)
    return Combined(draft, added)


def combine(facts: Facts, book: Playbook, observed: list[Gain], base: Draft, further: list[Move]) -> Idea | None:
    """Return the round that adds all missing winners; None when the base has them all.

    Its second trial is a hedge where two or more training winners meet, since what wins alone can fail together: the
    strongest one only. Every other trial goes one step further, by the moves in ``further``.
    """
    both = combined(facts, book, observed, base)
    if not both.added:
        return None
    count = facts.view.config.researcher.trials
    trials = [("all winners", both.draft)]
    training = [winner.move for winner in both.added if winner.move.kind == "train"]
    if len(training) > 1 and count > 1:
        hedge = apply_move(training[0], both.draft._replace(train=base.train, mixture=base.mixture), facts.sources)
        if hedge is not None:
            trials.append((training[0].name, hedge))
    trials += contrasts(facts, both.draft, further, count - len(trials), size=1.0)
    listed = ", ".join(f"{winner.move.name} ({winner.gain:+.3f})" for winner in both.added)
    hypothesis = f"what gained alone gains together. Moves that beat the noise of {facts.noise:.3f}: {listed}."
    expected = f"At most the sum of the single gains, {sum(winner.gain for winner in both.added):+.3f}; likely less."
    return Idea("combine", tuple(winner.move.name for winner in both.added), tuple(trials), hypothesis, expected)


def _untouched(facts: Facts, base: Draft, move: Move) -> bool:
    """Tell whether the fields that the move changes still have their default in the base."""
    mixed = "mixture" in move.touches and base.mixture is not None
    fields = move.touches - {"mixture"}
    return not mixed and all(get_field(base.train, n) == get_field(facts.default.train, n) for n in fields)
