"""The table of a benchmark: what base, reference and each method scored on the sealed test of each task, and G.

G = (s - base) / (reference - base) is the share of the way from the untrained model to the reference that a search made (TREX,
arXiv 2604.14116). It is unbounded, changes its sign where the reference is the worse one, and means nothing where
both differ by less than their intervals: then it is left out and said so. It is never averaged over tasks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import Literal

from hpc_trex.models import Record, Score, TaskCard, digest

Why = Literal["", "no base", "no reference", "reference not better", "within noise"]


class Measured(Record):
    """One search, or one evaluation of a model, as its folder tells it."""

    task: str
    model: str
    role: Literal["search", "baseline", "reference"] = "search"
    method: str = ""
    """Who designed the rounds; empty where nothing was trained."""
    budget: str = ""
    """What the search could spend, in words."""
    seed: int = 0
    done: bool = True
    base: Score | None = None
    """The untrained model on the sealed test."""
    test: Score | None = None
    """The chosen one on it."""
    difference: Score | None = None
    """Chosen minus base, paired."""
    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    money: float = 0.0
    where: str = ""


class Figure(Record):
    """A score with its 95 % interval; of several seeds the means of both (they share the rows, so that more of them make it no narrower)."""

    value: float
    low: float | None = None
    high: float | None = None
    seeds: int = 1
    sd: float | None = None
    """Between the seeds."""
    published: bool = False
    """Not measured here: other rows and prompts."""
    source: str = ""

    @property
    def half(self) -> float | None:
        """Half of the interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


class MethodRow(Record):
    """One method on one task."""

    method: str
    runs: int
    """Searches of it."""
    budgets: tuple[str, ...] = ()
    """What they could spend; several where that is not the same, so that their mean is of no one method."""
    score: Figure | None = None
    gain: Figure | None = None
    """Score minus base, positive where the search made the model better, whatever the metric's direction."""
    g: float | None = None
    why: Why = ""
    """Why there is no G although there is a score."""
    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    money: float = 0.0


class BenchRow(Record):
    """One task with one base model."""

    task: str
    model: str
    metric: str
    higher_is_better: bool
    rows: int = 0
    """Of the sealed test."""
    rules: str
    """Rows measured by other rows, prompts or metrics are rows of their own."""
    base: Figure | None = None
    reference: Figure | None = None
    other_references: tuple[str, ...] = ()
    """Further models that were evaluated to be one, and are not shown."""
    distance: float | None = None
    """Reference minus base, positive where the reference is better."""
    noise: float | None = None
    """The distance below which it says nothing: the root of the squared half intervals of both, added."""
    paper: Figure | None = None
    """The best published score of the paper's own agent."""
    methods: tuple[MethodRow, ...] = ()


def rules_of(card: TaskCard) -> str:
    """Return what tells measurements apart that cannot be compared: rows, prompt and metric, not what is trained on."""
    told = {name: getattr(card, name).model_dump(mode="json") for name in ("dev", "test", "prompt", "metric")}
    tables = [card.tables[one.table] for one in (card.dev, card.test) if one.table]
    tables += [card.tables[table.of] for table in tables if table.of]
    told["tables"] = [table.model_dump(mode="json") for table in tables]
    free = {"licence", "consent", "gated"}
    downloads = [card.downloads[table.from_] for table in tables if table.from_]
    told["downloads"] = [one.model_dump(mode="json", exclude=free) for one in downloads]
    return digest(told)[:16]


def bench_rows(found: Iterable[tuple[Measured, TaskCard]]) -> list[BenchRow]:
    """Return one row for each task and base model, in the order in which they come."""
    groups: dict[tuple[str, str], list[tuple[Measured, TaskCard]]] = {}
    for one, card in found:
        groups.setdefault((card.name, rules_of(card)), []).append((one, card))
    return [
        _row([one for one, _ in group], model, group[0][1], rules)
        for (_, rules), group in groups.items()
        for model in dict.fromkeys(one.model for one, _ in group if one.role != "reference")
    ]


def _row(group: Sequence[Measured], model: str, card: TaskCard, rules: str) -> BenchRow:
    own = [one for one in group if one.model == model and one.role != "reference"]
    sign = 1 if card.metric.higher_is_better else -1
    base, reference = _base(own, card), _reference(group, card)
    distance = None if base is None or reference is None else sign * (reference.value - base.value)
    others = dict.fromkeys(one.model for one in group if one.role == "reference" and one.base is not None)
    names = dict.fromkeys(one.method for one in own if one.role == "search")
    tests = [score for one in own for score in (one.base, one.test) if score is not None]
    row = BenchRow(
        task=card.name,
        model=model,
        metric=card.metric.shown,
        higher_is_better=card.metric.higher_is_better,
        rows=max((score.n for score in tests), default=0),
        rules=rules,
        base=base,
        reference=reference,
        other_references=tuple(others)[1:],
        distance=distance,
        noise=_noise(base, reference),
        paper=_published(card, "trex", best=sign),
    )
    methods = [
        _method(name, [one for one in own if one.role == "search" and one.method == name], row) for name in names
    ]
    return row.model_copy(update={"methods": tuple(methods)})


def _method(name: str, runs: Sequence[Measured], row: BenchRow) -> MethodRow:
    sign = 1 if row.higher_is_better else -1
    ended = [one for one in runs if one.done]
    score = _mean([one.test for one in ended if one.test is not None])
    gains = [one.difference for one in ended if one.difference is not None]
    why = "" if score is None else _why(row)
    g = None
    if score is not None and not why and row.base is not None and row.distance:
        g = sign * (score.value - row.base.value) / row.distance
    return MethodRow(
        method=name,
        runs=len(runs),
        budgets=tuple(dict.fromkeys(one.budget for one in runs if one.budget)),
        score=score,
        gain=_mean(gains if sign == 1 else [_turned(one) for one in gains]),
        g=g,
        why=why,
        gpu_hours=sum(one.gpu_hours for one in runs),
        cpu_hours=sum(one.cpu_hours for one in runs),
        money=sum(one.money for one in runs),
    )


def _why(row: BenchRow) -> Why:
    if row.base is None or row.base.published:
        return "no base"
    if row.reference is None or row.distance is None:
        return "no reference"
    if row.noise is not None and abs(row.distance) <= row.noise:
        return "within noise"
    return "reference not better" if row.distance <= 0 else ""


def _noise(base: Figure | None, reference: Figure | None) -> float | None:
    """A published reference comes without an interval: it is taken to be as wide as the base's, on as many rows."""
    if base is None or reference is None or base.half is None:
        return None
    return math.hypot(base.half, base.half if reference.half is None else reference.half)


def _base(own: Sequence[Measured], card: TaskCard) -> Figure | None:
    alone = [one.base for one in own if one.role == "baseline" and one.base is not None]
    return _mean(alone or [one.base for one in own if one.base is not None]) or _published(card, "base")


def _reference(group: Sequence[Measured], card: TaskCard) -> Figure | None:
    """Return the reference model's score as measured here, else as published. Of several the first is taken."""
    measured = [one for one in group if one.role == "reference" and one.base is not None]
    if not measured:
        return _published(card, "reference")
    first = measured[0].model
    figure = _mean([one.base for one in measured if one.model == first and one.base is not None])
    return None if figure is None else figure.model_copy(update={"source": first})


def _published(card: TaskCard, role: str, best: int = 0) -> Figure | None:
    known = [one for one in card.references if one.role == role]
    if not known:
        return None
    one = max(known, key=lambda reference: best * reference.score) if best else known[0]
    name = one.model or one.name
    return Figure(value=one.score, published=True, source=f"{name}: {one.source}" if one.source else name)


def _mean(scores: Sequence[Score]) -> Figure | None:
    if not scores:
        return None
    values = [one.value for one in scores]
    return Figure(
        value=fmean(values),
        low=fmean(one.low for one in scores),
        high=fmean(one.high for one in scores),
        seeds=len(scores),
        sd=stdev(values) if len(values) > 1 else None,
    )


def _turned(score: Score) -> Score:
    return score.model_copy(update={"value": -score.value, "low": -score.high, "high": -score.low})
