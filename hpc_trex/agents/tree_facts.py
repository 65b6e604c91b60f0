"""What the playbook reads out of the tree: drafts of nodes, scores of equal trials, the noise and the scale of scores."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from statistics import fmean
from typing import NamedTuple

from hpc_trex.agents.apply import Draft, Sources
from hpc_trex.agents.defaults import default_draft, sources_of
from hpc_trex.agents.protocol import TreeView
from hpc_trex.models import DataRecipe, NodeView, TrainConfig, TrialState, TrialView

Key = tuple[str, str, str]

#: How a round's move names the node that it builds upon, where that is not its parent.
FROM = re.compile(r"[:+]from-(\d+)")

#: Fields that change how a training runs and not what comes out of it.
NO_EFFECT = {"micro_batch_size", "attention", "gradient_checkpointing", "packing", "loss", "compiled", "parallel"}


def data_key(data: DataRecipe) -> str:
    """Return a text that is equal for equal recipes, seed left out."""
    return data.resolved().model_dump_json(exclude={"seed"})


def train_key(train: TrainConfig) -> str:
    """Return a text that is equal for trainings with the same outcome."""
    return train.resolved().model_dump_json(exclude=NO_EFFECT)


def draft_key(draft: Draft) -> Key:
    """Return the key of a trial: recipe, training, mixture."""
    mixture = "" if draft.mixture is None else repr(sorted(draft.mixture.items()))
    return data_key(draft.data), train_key(draft.train), mixture


class Pair(NamedTuple):
    """A trial that one move told apart from others: it may have gained by the move what it scored more than they."""

    move: str
    trial: int
    key: Key
    partners: tuple[Key, ...]
    """The others, the one to be preferred first."""


class Pairs(NamedTuple):
    """The pairs of a round, found when it had so many trials."""

    trials: int
    data: list[Pair]
    train: list[Pair]


class Facts(NamedTuple):
    """One reading of the tree; everything the rules need, so that each proposal walks the tree once."""

    view: TreeView
    nodes: dict[int, NodeView]
    sources: Sources
    default: Draft
    scores: Mapping[Key, float]
    """Mean score over seeds and repeats of each trial that has one."""
    known: Set[Key]
    """Every trial that was designed so far, whatever became of it."""
    sign: int
    """1 when a higher score is better, else -1."""
    noise: float
    """Standard deviation of a score between seeds, measured or read from the confidence intervals; above 0."""
    unit: float
    """The range of scores in this search so far: the scale of the moves' priors."""
    pairs: dict[int, Pairs]
    """Found so far by :func:`hpc_trex.agents.evidence.gains`, by round."""


class FactsReader:
    """Reads a tree again and again, and of it only the rounds that changed since the last time.

    What it returns shares its memory: it is good until the next reading.
    """

    def __init__(self) -> None:
        self._view: TreeView | None = None
        self._nodes: dict[int, NodeView] = {}
        self._trials: dict[int, list[tuple[Key, float | None]]] = {}
        self._widths: dict[int, float] = {}
        self._found: dict[Key, dict[int, list[float]]] = {}
        """By trial and round: the scores, the trial's own and its repeats'."""
        self._scores: dict[Key, float] = {}
        self._known: Counter[Key] = Counter()
        self._pairs: dict[int, Pairs] = {}

    def read(self, view: TreeView) -> Facts:
        """Read the tree as it is now."""
        if view is not self._view:
            self.__init__()  # type: ignore[misc] # another tree: nothing that is known holds
            self._view = view
        nodes = view.nodes()
        for node in nodes:
            kept = self._nodes.get(node.id)
            if kept is not node:
                if kept is None or kept.plan is not node.plan or kept.trials is not node.trials:
                    self._take(node)
                self._nodes[node.id] = node
                self._measure(node)
        noise = noise_floor(view, self._widths.values())
        values = [node.score for node in nodes if node.score is not None]
        spread = max(values) - min(values) if values else 0.0
        return Facts(
            view=view,
            nodes=self._nodes,
            sources=sources_of(view),
            default=default_draft(view),
            scores=self._scores,
            known=self._known.keys(),
            sign=1 if view.task.metric.higher_is_better else -1,
            noise=noise,
            unit=max(spread, 4 * noise),
            pairs=self._pairs,
        )

    def _take(self, node: NodeView) -> None:
        """Put the trials of a round in the place of what was known of it."""
        before = self._trials.get(node.id, [])
        now = [
            (draft_key(draft), trial.score if trial.state is TrialState.DONE else None) for trial, draft in drafts(node)
        ]
        self._trials[node.id] = now
        self._known.update(key for key, _ in now)
        for key, _ in before:
            self._known[key] -= 1
            if not self._known[key]:
                del self._known[key]
        for key in dict.fromkeys(key for key, _ in [*before, *now]):
            scores = [score for other, score in now if other == key and score is not None]
            self._score(key, node.id, scores)

    def _score(self, key: Key, node: int, scores: list[float]) -> None:
        found = self._found.setdefault(key, {})
        found.pop(node, None)
        if scores:
            found[node] = scores
        if found:
            # in order of rounds, not of arrival: a controller that starts anew must get the same mean to the last digit
            self._scores[key] = fmean(score for number in sorted(found) for score in found[number])
        else:
            self._scores.pop(key, None)
            del self._found[key]

    def _measure(self, node: NodeView) -> None:
        """Note the width of the confidence interval of a round's best trial."""
        trial = best_trial(node)
        main = trial.result.scores.get("main") if trial and trial.result else None
        self._widths.pop(node.id, None)
        if main is not None and main.high > main.low:
            self._widths[node.id] = main.high - main.low


def read_tree(view: TreeView) -> Facts:
    """Read the tree once."""
    return FactsReader().read(view)


def drafts(node: NodeView) -> Iterator[tuple[TrialView, Draft]]:
    """Yield every trial of a round, repeats too, with its draft."""
    if node.plan is None:
        return
    plans = {trial.trial: trial.plan for trial in node.trials}
    for trial in node.trials:
        plan = trial.plan or (plans.get(trial.replicate_of) if trial.replicate_of is not None else None)
        if plan is not None:
            yield trial, Draft(node.plan.data, plan.train, plan.mixture)


def base_draft(facts: Facts, parent: int) -> Draft:
    """Return what a child of ``parent`` is a change of: its best trial, else its first; the default plan of the root."""
    node = facts.nodes[parent]
    if node.plan is None:
        return facts.default
    found = {trial.trial: draft for trial, draft in drafts(node)}
    best = found.get(node.best_trial) if node.best_trial is not None else None
    first = node.plan.trials[0]
    return best or Draft(node.plan.data, first.train, first.mixture)


def best_trial(node: NodeView) -> TrialView | None:
    """Return the view of a round's best trial, None while there is none."""
    return next((trial for trial in node.trials if trial.trial == node.best_trial), None)


def noise_floor(view: TreeView, widths: Iterable[float]) -> float:
    """Return the standard deviation of a score between seeds, never 0.

    Measured by repeats where there are any; a value from two or three seeds can be too small by chance, so it is not
    taken below a third of the sampling error. Before that, the sampling error of the scores stands in: half the 95 %
    confidence interval divided by 1.96, the median over the rounds. Without any interval: 0.01. ``widths`` are those
    of the rounds' intervals.
    """
    ordered = sorted(widths)
    sampling = ordered[len(ordered) // 2] / (2 * 1.96) if ordered else 0.0
    if view.noise_sd is not None:
        return max(view.noise_sd, sampling / 3, 1e-6)
    return sampling or 0.01


def origin(node: NodeView) -> int | None:
    """Return the node that a round is a change of: the one its move names (``bandit:from-6+lr-up``), else its parent."""
    named = FROM.search(node.plan.move) if node.plan is not None else None
    return int(named.group(1)) if named else node.parent


def start_node(facts: Facts, parent: int) -> int:
    """Return the node to build upon: the parent, or the best node where the parent is clearly behind it.

    Clearly: by more than two standard errors of a difference. A policy selects such a parent to look elsewhere; with
    few rounds it is better to look from the best place that is known.
    """
    best = facts.view.best()
    if best is None or best.score is None or best.plan is None:
        return parent
    score = facts.nodes[parent].score
    behind = score is None or facts.sign * (best.score - score) > 2 * 2**0.5 * facts.noise
    return best.id if behind else parent
