"""Noise, final choice and sealed test (DESIGN section 6).

The noise floor is measured as soon as a round beats the baseline, by repeating its best trial with other seeds. At
the end the best rounds are repeated until each has been seen with the same number of seeds; the choice is by dev
mean; then, and only then, one job opens the sealed test.
"""

from __future__ import annotations

import socket
import statistics

from hpc_trex.controller.best import best_trial
from hpc_trex.controller.context import Work
from hpc_trex.controller.remember import remember_search
from hpc_trex.controller.review import check_claims, settle_reviewed
from hpc_trex.files import user_name
from hpc_trex.models import FailureClass, JobKind, NodeState, NodeView, SearchState, TrialState, TrialView
from hpc_trex.tree.events import Chosen, NodeRescored, NoiseMeasured, TestScored, TrialAdded
from hpc_trex.tree.openings import TestOpened

#: Gains are believed beyond this many standard deviations of the difference of two means.
SIGMAS = 2.0


def rescore(work: Work) -> None:
    """Bring the scores of repeated rounds, and the noise floor, up to the repeats that have come in and that stand."""
    check_claims(work)
    settle_reviewed(work)
    groups: list[list[float]] = []
    higher = work.card.metric.higher_is_better
    for node in work.store.replicated_nodes():
        view = work.store.node(node)
        best = best_trial(view, higher=higher)
        if best is not None and view.state is NodeState.DONE and best != (view.best_trial, view.score):
            work.record(NodeRescored(node=node, score=best[1], best_trial=best[0]))
        for trial in view.trials:
            scores = seed_scores(view, trial)
            if len(scores) > 1:
                groups.append(scores)
    if groups:
        _measure_noise(work, groups)


def _measure_noise(work: Work, groups: list[list[float]]) -> None:
    """Pool the variance within the groups: sum of squares about each group's mean over sum of (n - 1)."""
    squares = sum(statistics.variance(scores) * (len(scores) - 1) for scores in groups)
    freedom = sum(len(scores) - 1 for scores in groups)
    sd = (squares / freedom) ** 0.5
    if work.store.noise() != (sd, len(groups)):
        work.record(NoiseMeasured(sd=sd, groups=len(groups)))
        work.say(f"noise between seeds: standard deviation {sd:.4f} over {len(groups)} repeated trials")


def seed_scores(view: NodeView, trial: TrialView) -> list[float]:
    """Return the scores of a planned trial over its seeds; empty for repeats, tests and trials without a score."""
    if trial.replicate_of is not None or trial.kind is JobKind.TEST or trial.score is None:
        return []
    repeats = [other.score for other in view.trials if other.replicate_of == trial.trial and other.score is not None]
    return [trial.score, *repeats]


def measure_noise_floor(work: Work) -> None:
    """Plan the repeats of the first round that beats the baseline; of another one where that is struck since."""
    repeats = work.config.noise.floor_repeats
    if not repeats or work.store.state()[0] is not SearchState.RUNNING:
        return
    if any(work.store.node(node).state is NodeState.DONE for node in work.store.replicated_nodes()):
        return
    best = work.view.best()
    if best is not None and best.id != 0 and best.best_trial is not None:
        add_repeats(work, best, best.best_trial, 1 + repeats)


def add_repeats(work: Work, view: NodeView, trial: int, seeds: int) -> bool:
    """Plan repeats of a trial until it has ``seeds`` seeds; return whether any was planned."""
    plan = next(item for item in view.trials if item.trial == trial)
    have = 1 + sum(1 for item in view.trials if item.replicate_of == trial)
    number = max(item.trial for item in view.trials)
    for extra in range(have, seeds):
        number += 1
        work.record(
            TrialAdded(
                node=view.id,
                trial=number,
                kind=JobKind.TRAIN,
                plan=plan.plan,
                seed=plan.seed + extra,
                identity=plan.identity,
                replicate_of=trial,
            )
        )
    if have < seeds:
        work.say(f"node {view.id} trial {trial}: repeated with {seeds - have} further seeds")
    return have < seeds


def finish(work: Work) -> None:
    """Take the next step to the end: repeats of the finalists, the choice, the sealed test."""
    state, _ = work.store.state()
    if state is not SearchState.FINISHING or work.store.node_ids(NodeState.PENDING):
        return
    if work.store.trials(TrialState.PLANNED, TrialState.ACTIVE):
        return
    chosen = work.store.chosen()
    if chosen is None:
        _choose(work)
        return
    _close_test(work, chosen)


def _choose(work: Work) -> None:
    finalists = _finalists(work)
    planned = [
        add_repeats(work, view, view.best_trial, work.config.noise.final_seeds)
        for view in finalists
        if view.best_trial is not None and view.id != 0
    ]
    if any(planned):
        return
    if not finalists:
        work.change_state(SearchState.FAILED, "no round, not even the baseline, has a score")
        return
    view = finalists[0]
    assert view.best_trial is not None
    assert view.score is not None
    trial = next(item for item in view.trials if item.trial == view.best_trial)
    seeds = len(seed_scores(view, trial)) or 1
    work.record(Chosen(node=view.id, trial=view.best_trial, dev=view.score, seeds=seeds))
    work.say(f"chosen: node {view.id} trial {view.best_trial}, dev {view.score:.3f} over {seeds} seed(s)")


def _finalists(work: Work) -> list[NodeView]:
    """Return the best rounds by dev mean, best first; the baseline stands in when nothing beats it.

    Of rounds whose best trial is the same experiment only the one that ran it counts: the others have no repeats.
    """
    higher = work.card.metric.higher_is_better
    first: dict[str, NodeView] = {}
    for view in sorted(work.view.nodes(), key=lambda view: (_took_over(view), view.id)):
        if view.state is NodeState.DONE and view.score is not None:
            best = next((trial for trial in view.trials if trial.trial == view.best_trial), None)
            first.setdefault((best.identity if best else "") or f"node {view.id}", view)
    done = list(first.values())
    done.sort(key=lambda view: ((-1 if higher else 1) * (view.score or 0.0), view.id))
    return done[: work.config.noise.final_candidates]


def _took_over(view: NodeView) -> bool:
    """Tell whether the round's best trial has the result of an earlier, equal one."""
    return any(trial.trial == view.best_trial and trial.reused_from is not None for trial in view.trials)


def _close_test(work: Work, chosen: Chosen) -> None:
    """Open the test for the one job, or record its outcome and end the search."""
    tests = [trial for trial in work.store.node(chosen.node).trials if trial.kind is JobKind.TEST]
    if not tests:
        open_test(work, chosen, "the final evaluation")
        return
    last, scored = tests[-1], work.store.test_score()
    if last.state is TrialState.DONE and last.result is not None:
        if scored is None or scored.scores != last.result.scores:
            work.record(TestScored(node=chosen.node, trial=chosen.trial, scores=last.result.scores))
        remember_search(work)
        work.change_state(SearchState.DONE, work.store.state()[1])
        return
    failure = last.failure or FailureClass.LOST
    why = f"{failure.value} {last.message}"
    if scored is not None:
        work.change_state(SearchState.DONE, f"the sealed test could not be run again, its first result stands: {why}")
    else:
        work.change_state(SearchState.FAILED, f"the sealed test could not be run: {why}")


def open_test(work: Work, chosen: Chosen, why: str, *, again: bool = False, user: str = "") -> None:
    """Plan the job that is let at the sealed test for the chosen round, with a record of who opens it and why."""
    work.record(
        TestOpened(
            node=chosen.node,
            trial=max(trial.trial for trial in work.store.node(chosen.node).trials) + 1,
            again=again,
            why=why,
            user=user or user_name(),
            host=socket.gethostname(),
            seed=work.config.seed,
        )
    )
