"""``hpc-trex status``: a search in one record, from a number of queries that does not grow with the tree."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from hpc_trex.models import BestView, Score, StatusView, TrialState, TrialView
from hpc_trex.tree.gates import open_gate, person_time
from hpc_trex.tree.openings import openings
from hpc_trex.tree.spending import spent

if TYPE_CHECKING:
    from hpc_trex.tree.reads import TreeReads


def status(tree: TreeReads) -> StatusView:
    """Return the state of a search: what runs, the best round against the baseline, the sealed test, the cost."""
    config = tree.config
    state, message = tree.state()
    nodes, trials = tree.counts()
    noise = tree.noise()
    test = tree.test_score()
    scores = test.scores if test else {}
    choice, top = tree.chosen(), tree.best_node()
    baseline = _best(tree, 0, None, scores.get("base"))
    chosen = None if choice is None else _best(tree, choice.node, baseline, scores.get("chosen"), choice.trial)
    best = None if top is None else _best(tree, top, baseline, None)
    if best and chosen and (best.node, best.trial) == (chosen.node, chosen.trial):
        best = chosen  # the one whose sealed test was opened
    return StatusView(
        search=config.name,
        directory=str(tree.root),
        task=config.task,
        model=config.model,
        state=state,
        message=message,
        nodes=nodes,
        trials=trials,
        baseline=baseline,
        best=best,
        chosen=chosen,
        test_difference=scores.get("difference"),
        test_openings=tuple(openings(tree)),
        noise_sd=noise[0] if noise else None,
        cost=tree.cost(),
        spent=spent(tree),
        gpu_hours_cap=config.budget.gpu_hours,
        cpu_hours_cap=config.budget.cpu_hours,
        max_nodes=config.budget.max_nodes,
        waits_for=open_gate(tree),
        person=person_time(tree),
        running=tuple(tree.live_attempts()),
        insights=tuple(tree.insights()),
    )


def last_note(tree: TreeReads, start: str) -> str:
    """Return the newest note that begins with ``start``; empty where there is none."""
    query = "SELECT text FROM notes WHERE substr(text, 1, ?) = ? ORDER BY id DESC LIMIT 1"
    row = tree.db.conn.execute(query, [len(start), start]).fetchone()
    return str(row[0]) if row else ""


def _best(
    tree: TreeReads, node: int, baseline: BestView | None, test: Score | None, trial: int | None = None
) -> BestView | None:
    """Return a finished round's score with its interval; None when there is none.

    The interval is the mean of the bootstrap intervals of the trial and its repeats: seeds share the dev rows, so that
    more seeds do not make it narrower.
    """
    if tree.next_node() <= node:
        return None
    view = tree.node(node)
    trial = trial or view.best_trial
    if view.score is None or trial is None:
        return None
    group = [one for one in view.trials if trial in (one.trial, one.replicate_of) and _is_scored(one)]
    # the choice may fall on another trial of the round than the one whose score the round has
    dev = (
        view.score
        if trial == view.best_trial or not group
        else fmean(one.score for one in group if one.score is not None)
    )
    intervals = [one.result.scores["main"] for one in group if one.result and "main" in one.result.scores]
    sign = 1 if tree.higher_is_better else -1
    return BestView(
        node=node,
        trial=trial,
        dev=dev,
        dev_seeds=max(1, len(group)),
        dev_low=fmean(score.low for score in intervals) if intervals else None,
        dev_high=fmean(score.high for score in intervals) if intervals else None,
        test=test,
        gain=None if baseline is None else sign * (dev - baseline.dev),
    )


def _is_scored(trial: TrialView) -> bool:
    return trial.state == TrialState.DONE and trial.score is not None
