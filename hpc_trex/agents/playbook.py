"""The Researcher that needs no LLM: probes, then the winners together, then a bandit over moves; repairs at any time.

Every proposal is a change of its parent's best trial (of the default plan where the parent is the root), prints its
rule as its hypothesis, and is the same for the same tree and seed. docs/researchers.md tells the order and why.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from hpc_trex.agents.at_once import AtOnce
from hpc_trex.agents.bandit import CROSSOVER, crossover, ideas, sampled
from hpc_trex.agents.combine import combine, combined
from hpc_trex.agents.diagnosis import diagnose
from hpc_trex.agents.evidence import gains, mutation_size
from hpc_trex.agents.ideas import Idea, contrasts, to_plan
from hpc_trex.agents.lessons import insights
from hpc_trex.agents.moves import Move, Playbook, load_playbook
from hpc_trex.agents.probes import next_probe
from hpc_trex.agents.protocol import Diagnosis, NothingToPropose, Sample, TreeView
from hpc_trex.agents.repair import remedies, repairs
from hpc_trex.agents.reviewer import review
from hpc_trex.agents.tree_facts import Facts, FactsReader, base_draft, draft_key, start_node
from hpc_trex.models import Insight, RoundPlan
from hpc_trex.models.cases import CaseReport


class PlaybookResearcher(AtOnce):
    """``playbook``: the default Researcher."""

    name = "playbook"

    def __init__(self, book: Playbook | None = None) -> None:
        self.book = load_playbook() if book is None else book
        self._reader = FactsReader()

    def propose(self, view: TreeView, parent: int, *, seed: int) -> RoundPlan:
        """Design one new child of ``parent``. Raises ``NothingToPropose`` when every rule is used up for it."""
        facts = self._reader.read(view)
        rng = random.Random(f"{seed}/{len(facts.nodes)}/{parent}")  # noqa: S311
        base = base_draft(facts, parent)
        for idea in self._ideas(facts, parent, rng):
            plan = to_plan(self._filled(facts, idea), base)
            if not view.is_known(plan) and not review(plan, view):
                return plan
        raise NothingToPropose(f"every move from node {parent} is known already")

    def diagnose(
        self, view: TreeView, node: int, samples: Iterable[Sample], cases: CaseReport | None = None
    ) -> Diagnosis:
        """Read a finished round: bad cases by group, comparison with the parent, lessons about the moves."""
        return diagnose(self._reader.read(view), node, samples, self.book, cases)

    def claims(self, view: TreeView) -> list[Insight]:
        """Return what is claimed of moves now and does not stand in the tree yet."""
        if "insights" in view.config.researcher.without:
            return []
        return insights(self._reader.read(view), self.book)

    def _ideas(self, facts: Facts, parent: int, rng: random.Random) -> Iterator[Idea]:
        """Yield ideas in the order of the rules; the first acceptable one becomes the round."""
        book = self.book
        without = facts.view.config.researcher.without
        # A move's gains are what its insight is made of: without insights each move is thought of as when it was shipped.
        observed = [] if "insights" in without else gains(facts, book)
        yield from repairs(facts, book, parent)
        probe = next_probe(facts, book, observed, parent)
        if probe is not None:
            yield probe
        ordered = sampled(facts, book, observed, rng)
        start = start_node(facts, parent)
        names = () if start == parent else (f"from-{start}",)
        base = base_draft(facts, start)
        together = combine(facts, book, observed, base, ordered)
        if together is not None:
            yield together._replace(moves=(*names, *together.moves))
        if "bad-cases" not in without:
            yield from remedies(facts, book, parent)
        both = combined(facts, book, observed, base)
        added = (*names, *(winner.move.name for winner in both.added))
        training = [move for move in ordered if move.kind == "train"]
        if rng.random() < CROSSOVER:
            crossed = crossover(facts, both.draft, parent, training, rng)
            if crossed is not None:
                yield crossed
        first = mutation_size(facts.nodes[parent].depth)
        for size in dict.fromkeys((first, 1.0, 0.5, 0.25)):
            yield from ideas(facts, book, both.draft, ordered, added, size=size)

    def _filled(self, facts: Facts, idea: Idea) -> Idea:
        """Return the idea with as many trials as a round has, by training moves in their order."""
        count = facts.view.config.researcher.trials
        missing = count - len(idea.trials)
        if missing <= 0:
            return idea._replace(trials=idea.trials[:count])
        order: list[Move] = sorted((m for m in self.book.moves.values() if m.kind == "train"), key=lambda m: m.order)
        there = {draft_key(draft) for _, draft in idea.trials}
        more = contrasts(facts, idea.trials[0][1], order, missing + len(there), size=1.0)
        more = [(label, draft) for label, draft in more if draft_key(draft) not in there]
        return idea._replace(trials=(*idea.trials, *more[:missing]))
