"""The score of a round: that of its best planned trial, as a mean over its seeds."""

from __future__ import annotations

from hpc_trex.models import JobKind, NodeView


def best_trial(view: NodeView, *, higher: bool, claimed: bool = False) -> tuple[int, float] | None:
    """Return (trial, mean score over its seeds) of the round's best planned trial; None when none has a score.

    What is struck has none; with ``claimed`` it has: what the round would score if all of it were restored.
    """
    scores = {one.trial: one.claimed if claimed and one.struck else one.score for one in view.trials}
    means = {}
    for trial in view.trials:
        own = scores[trial.trial]
        if trial.replicate_of is None and trial.kind is not JobKind.TEST and own is not None:
            repeats = [scores[other.trial] for other in view.trials if other.replicate_of == trial.trial]
            seeds = [own, *(score for score in repeats if score is not None)]
            means[trial.trial] = sum(seeds) / len(seeds)
    if not means:
        return None
    best = (max if higher else min)(means, key=lambda number: (means[number], -number if higher else number))
    return best, means[best]
