"""What a person wants to know of a task before launching it: suite, sizes, what one item weighs, whether it is fetched."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

from hpc_trex.errors import EnvironmentProblem, TrexError
from hpc_trex.ftbench.built import Built, find_built
from hpc_trex.ftbench.cards import LoadedCard, list_cards, load_card
from hpc_trex.ftbench.mini import SUITE as MINI
from hpc_trex.models import Source, TaskCard
from hpc_trex.site import shipped

#: The tasks of FT-Bench, in the order of its paper.
TEN = (
    "aci-bench",
    "tomg-bench",
    "omebench",
    "hoc",
    "cs-bench",
    "openfindata",
    "sst-2",
    "econlogicqa",
    "gta",
    "lawbench",
)
State = Literal["ready", "fetched", "not fetched", "not readable"]


class Overview(NamedTuple):
    """One task as ``ftbench list`` and ``ftbench show`` tell it."""

    loaded: LoadedCard
    suite: str
    """``ftbench``, ``ftbench-mini``, or ``own``: a card of the user."""
    built: Built | None
    closed: EnvironmentProblem | None = None
    """Why a build that is there cannot be read."""

    @property
    def card(self) -> TaskCard:
        return self.loaded.card

    @property
    def state(self) -> State:
        """Whether a launch would find the rows."""
        if not self.card.tables:
            return "ready"
        return "fetched" if self.built else "not readable" if self.closed else "not fetched"

    def rows(self) -> dict[str, int | None]:
        """Return the rows of the training sources together, of dev and of test; None where that is not known."""
        dropped = self.built.item.dropped if self.built else {}
        counts = {name: self._count(source) for name, source in self.card.sources.items()}
        counts |= {"dev": self._count(self.card.dev), "test": self._count(self.card.test)}
        left = {name: None if count is None else count - dropped.get(name, 0) for name, count in counts.items()}
        train = [left[name] for name in self.card.sources]
        known = [count for count in train if count is not None]
        return {"train": sum(known) if len(known) == len(train) else None, "dev": left["dev"], "test": left["test"]}

    def _count(self, source: Source) -> int | None:
        if source.generator is not None:
            return source.rows
        if source.table is None or self.built is None:
            return None
        rows = self.built.item.tables[source.table].rows
        return rows if source.rows is None else min(rows, source.rows)


def overview(loaded: LoadedCard) -> Overview:
    """Return what there is to tell of a card."""
    card = loaded.card
    ours = loaded.origin.is_relative_to(shipped() / "ftbench")
    suite = (
        "own" if not ours else "ftbench" if card.name in TEN else "ftbench-mini" if card.name in MINI else "built-in"
    )
    try:
        return Overview(loaded, suite, find_built(card) if card.tables else None)
    except EnvironmentProblem as problem:
        return Overview(loaded, suite, None, problem)


def overviews(tasks: Iterable[str] | None = None) -> tuple[list[Overview], list[TrexError]]:
    """Return the ``tasks`` in their order, else all built-in cards and those of the site's own folder: FT-Bench first,
    then the small ones, then others. And what is wrong with the cards that cannot be used.
    """
    found, wrong = [], []
    for task in list_cards() if tasks is None else tasks:
        try:
            found.append(overview(load_card(task)))
        except TrexError as problem:
            wrong.append(problem)
    order = {"ftbench": 0, "ftbench-mini": 1, "built-in": 2, "own": 3}
    return found if tasks is not None else sorted(found, key=lambda one: (order[one.suite], one.card.name)), wrong


def points(rows: int) -> float:
    """Return how much one row of ``rows`` moves a mean over them, in points of a hundred."""
    return 100 / rows


def half_width(rows: int) -> float:
    """Return half of the 95 % interval, in points, of a share near one half of ``rows`` independent rows: the widest.

    Normal approximation of the binomial, 1.96 * sqrt(p * (1 - p) / n) with p = 0.5.
    """
    return 100 * 1.96 * math.sqrt(0.25 / rows)
