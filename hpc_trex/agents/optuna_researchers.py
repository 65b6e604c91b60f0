"""``tpe`` and ``random``: Optuna's ask and tell, fed from the tree at every proposal.

There is no second store: an in-memory study is built anew from the finished, failed and running trials each time.
Running trials are in the study as such, so that TPE's constant liar keeps parallel rounds apart. A proposal is a
change of the default plan, whichever parent the policy selected: these two know no tree.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hpc_trex.agents.apply import Draft
from hpc_trex.agents.at_once import AtOnce
from hpc_trex.agents.diagnosis import diagnose
from hpc_trex.agents.dimensions import Dimension, Point, dimensions, draft_of, point_of, rounded
from hpc_trex.agents.ideas import changes
from hpc_trex.agents.moves import Playbook, load_playbook
from hpc_trex.agents.protocol import Diagnosis, NothingToPropose, Sample, TreeView
from hpc_trex.agents.reviewer import review
from hpc_trex.agents.tree_facts import Facts, FactsReader, draft_key, drafts
from hpc_trex.errors import EnvironmentProblem
from hpc_trex.models import FATES, RoundPlan, TrialPlan, TrialState
from hpc_trex.models.cases import CaseReport

#: Points that are asked for before a round is given up, because every one was known or refused.
MOST_ASKS = 60

#: Random points that TPE begins with.
STARTUP = 4


def optuna() -> Any:
    """Return the optuna module, its log quiet. Raises :class:`EnvironmentProblem` when it is not installed."""
    try:
        import optuna as module
    except ImportError as error:
        raise EnvironmentProblem(
            "the Researchers tpe and random need the package optuna", hint="pip install 'hpc-trex[optuna]'"
        ) from error
    module.logging.set_verbosity(module.logging.ERROR)
    return module


class OptunaResearcher(AtOnce):
    """What the two share; they differ in the sampler."""

    name = ""
    looks_back = True
    """Whether the sampler's draw depends on earlier trials."""

    def __init__(self, book: Playbook | None = None) -> None:
        self.optuna = optuna()
        self.book = load_playbook() if book is None else book
        self._reader = FactsReader()

    def sampler(self, seed: int) -> Any:
        """Return a new sampler of this Researcher's kind."""
        raise NotImplementedError

    def propose(self, view: TreeView, parent: int, *, seed: int) -> RoundPlan:  # noqa: ARG002
        """Design one round of the search's number of trials on one data recipe; the parent has no part in it."""
        facts = self._reader.read(view)
        space = dimensions(facts, self.book)
        study = self._study(facts, space, seed * 1_000_003 + len(facts.nodes))
        for _ in range(MOST_ASKS):
            plan = self._round(facts, space, study)
            if plan is not None and not view.is_known(plan) and not review(plan, view):
                return plan
        raise NothingToPropose(f"{MOST_ASKS} points in a row were known or refused")

    def diagnose(
        self, view: TreeView, node: int, samples: Iterable[Sample], cases: CaseReport | None = None
    ) -> Diagnosis:
        """Read a finished round by the same rules as the playbook."""
        return diagnose(self._reader.read(view), node, samples, self.book, cases)

    def _round(self, facts: Facts, space: list[Dimension], study: Any) -> RoundPlan | None:
        """Ask for the first trial, then for the training of the others on its data. None if too few are new."""
        first: Point = self._ask(study, space, {})
        data = {dimension.name: first[dimension.name] for dimension in space if dimension.data}
        points = [first] + [self._ask(study, space, data) for _ in range(facts.view.config.researcher.trials - 1)]
        found: list[Draft] = []
        for point in points:
            draft = draft_of(point, facts, self.book)
            draft = draft._replace(train=rounded(draft.train, self.book))
            key = draft_key(draft)
            if key not in facts.known and key not in [draft_key(other) for other in found]:
                found.append(draft)
        if not found:
            return None
        trials = [
            TrialPlan(train=draft.train, label=f"{self.name} {number}") for number, draft in enumerate(found, start=1)
        ]
        return RoundPlan(
            hypothesis=f"{self.name}: {changes(facts.default, found[0])}."[:4000],
            expected_effect="None is foretold: the sampler states no reason.",
            move=self.name,
            data=found[0].data,
            trials=tuple(trials),
        )

    def _ask(self, study: Any, space: list[Dimension], fixed: Point) -> Point:
        """Return one point with some parameters fixed. It stays in the study as running, for the constant liar."""
        asked = study.ask(self._distributions(space))
        point: Point = {**asked.params, **fixed}
        if fixed:  # replace it by what will really run
            study.tell(asked.number, state=self.optuna.trial.TrialState.FAIL)
            self._add(study, space, point, self.optuna.trial.TrialState.RUNNING, None)
        return point

    def _study(self, facts: Facts, space: list[Dimension], seed: int) -> Any:
        """Return an in-memory study that holds every trial of the tree, where the sampler looks at them."""
        states = self.optuna.trial.TrialState
        study = self.optuna.create_study(
            direction="maximize" if facts.sign > 0 else "minimize", sampler=self.sampler(seed % 2**32)
        )
        if not self.looks_back:
            return study
        scored = list(facts.scores.values())
        worst = (min(scored) if facts.sign > 0 else max(scored)) if scored else 0.0
        for node in facts.nodes.values():
            for trial, draft in drafts(node):
                if trial.replicate_of is not None:
                    continue
                point = point_of(draft, space)
                if trial.state is TrialState.DONE and draft_key(draft) in facts.scores:
                    self._add(study, space, point, states.COMPLETE, facts.scores[draft_key(draft)])
                elif trial.state in (TrialState.PLANNED, TrialState.ACTIVE):
                    self._add(study, space, point, states.RUNNING, None)
                elif trial.failure is not None and FATES[trial.failure].charged:
                    self._add(study, space, point, states.COMPLETE, worst - facts.sign * facts.unit / 2)
        return study

    def _add(self, study: Any, space: list[Dimension], point: Point, state: Any, value: float | None) -> None:
        frozen = self.optuna.trial.create_trial(
            state=state, params=point, distributions=self._distributions(space), value=value
        )
        study.add_trial(frozen)

    def _distributions(self, space: list[Dimension]) -> dict[str, Any]:
        kinds = self.optuna.distributions
        found: dict[str, Any] = {}
        for d in space:
            if d.choices:
                found[d.name] = kinds.CategoricalDistribution(d.choices)
            elif d.integer:
                found[d.name] = kinds.IntDistribution(int(d.low or 1), int(d.high or 1), log=d.log)
            else:
                found[d.name] = kinds.FloatDistribution(d.low or 0.0, d.high or 0.0, log=d.log)
        return found


class TpeResearcher(OptunaResearcher):
    """``tpe``: multivariate tree-structured Parzen estimator with constant liar."""

    name = "tpe"

    def sampler(self, seed: int) -> Any:
        """Return the TPE sampler; its options are marked experimental by older Optuna versions, hence the filter."""
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self.optuna.exceptions.ExperimentalWarning)
            return self.optuna.samplers.TPESampler(
                seed=seed, multivariate=True, constant_liar=True, n_startup_trials=STARTUP
            )


class RandomResearcher(OptunaResearcher):
    """``random``: every point alike; what any other Researcher must beat."""

    name = "random"
    looks_back = False

    def sampler(self, seed: int) -> Any:
        """Return the random sampler."""
        return self.optuna.samplers.RandomSampler(seed=seed)
