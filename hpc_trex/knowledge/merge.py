"""From what single searches found to what is known of a move: a pure function, the same whatever the order.

A move helped if a search found a clear gain and none a clear loss; clear gains here and clear losses there make
``depends``, and then no mean is claimed. The mean is taken over *all* searches that measured the move, also those where
it was within the noise: leaving these out would make every effect look larger than it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from math import fsum

from hpc_trex.models.knowledge import Evidence, Finding, Lesson, Remembered, Target, Verdict

#: Likeness of two tasks, the first that holds: the same; a capability in common; the same metric; nothing.
SAME_TASK, SAME_KIND, SAME_METRIC, OTHER_TASK = 1.0, 0.6, 0.4, 0.2
#: Likeness of two base models: the same; the same size class; another one.
SAME_MODEL, SAME_SIZE, OTHER_MODEL = 1.0, 0.6, 0.3
#: A search that is less alike than this says nothing: neither the task nor the model is of the same kind. Where only the
#: task or only the model was named, that has to be of the same kind.
FITS = 0.2

#: What is most use first.
ORDER: dict[Verdict, int] = {"gain": 0, "depends": 1, "loss": 2, "fails": 3, "told": 4, "unclear": 5}
AGAINST = ("loss", "fails")


def likeness(search: Remembered, target: Target | None) -> float:
    """Return how much a search is like the one that lessons are wanted for, 0 to 1; 1 where none was named."""
    return 1.0 if target is None else _task_likeness(search, target) * _model_likeness(search, target)


def fits(search: Remembered, target: Target | None) -> bool:
    """Tell whether a search says anything about a target."""
    if target is None:
        return True
    if not target.model:
        return _task_likeness(search, target) > OTHER_TASK
    if not target.task:
        return _model_likeness(search, target) > OTHER_MODEL
    return likeness(search, target) >= FITS


def _task_likeness(search: Remembered, target: Target) -> float:
    if not target.task:
        return 1.0
    if search.task == target.task or (target.task_digest and search.task_digest == target.task_digest):
        return SAME_TASK
    if set(search.tags) & set(target.tags):
        return SAME_KIND
    return SAME_METRIC if search.metric == target.metric else OTHER_TASK


def _model_likeness(search: Remembered, target: Target) -> float:
    if not target.model:
        return 1.0
    if search.model == target.model or (target.model_digest and search.model_digest == target.model_digest):
        return SAME_MODEL
    return SAME_SIZE if search.size == target.size != "unknown" else OTHER_MODEL


def merge(searches: Iterable[Remembered], target: Target | None = None) -> list[Lesson]:
    """Return what is known of each move, what is most use first. Searches that do not fit the target are left out."""
    found: dict[tuple[bool, str], list[tuple[Evidence, Finding]]] = defaultdict(list)
    seen: set[tuple[object, ...]] = set()
    for search in sorted({one.uid: one for one in searches}.values(), key=lambda one: (one.ended, one.uid)):
        if not fits(search, target):
            continue
        alike = likeness(search, target)
        for finding in search.findings:
            same = _experiment(search, finding)
            if same in seen:
                continue
            seen.add(same)
            key = (finding.verdict == "told", finding.move or finding.text)
            found[key].append((_evidence(search, finding, alike), finding))
    lessons = [_lesson(found[key]) for key in sorted(found)]
    return sorted(lessons, key=lambda one: (ORDER[one.verdict], -round(one.weight, 6), one.move, one.text))


def _experiment(search: Remembered, finding: Finding) -> tuple[object, ...]:
    """Return what is equal for two runs of one experiment: trainings are repeatable, so a search that was launched again
    with the same seed comes to the same figures to the last digit, and is no second piece of evidence.
    """
    if finding.effect is None or search.best is None:
        return (search.uid, finding.verdict, finding.move, finding.text)
    figures = (search.baseline, search.best, search.noise, finding.effect, finding.pairs, finding.failed)
    return (search.task_digest, search.model_digest, finding.move, *figures)


def _evidence(search: Remembered, finding: Finding, alike: float) -> Evidence:
    return Evidence(
        uid=search.uid,
        search=search.name,
        task=search.task,
        model=search.model,
        size=search.size,
        date=search.ended[:10],
        verdict=finding.verdict,
        effect=finding.effect,
        in_noise=finding.in_noise,
        share=finding.share,
        pairs=finding.pairs,
        nodes=finding.nodes,
        likeness=alike,
    )


def _lesson(found: list[tuple[Evidence, Finding]]) -> Lesson:
    evidence = tuple(one for one, _ in found)
    verdict = verdict_of([one.verdict for one in evidence])
    by_search = {one.uid: one.likeness for one in evidence}
    claimed = verdict in ("gain", "loss", "unclear")
    return Lesson(
        move=found[-1][1].move,
        verdict=verdict,
        effect=_mean([(one.effect, one) for one in evidence]) if claimed else None,
        in_noise=_mean([(one.in_noise, one) for one in evidence]) if claimed else None,
        share=_mean([(one.share, one) for one in evidence]) if claimed else None,
        searches=len(by_search),
        rounds=len({(one.uid, node) for one in evidence for node in one.nodes}),
        weight=fsum(by_search.values()),
        text=found[-1][1].text if verdict == "told" else "",
        evidence=evidence,
    )


def verdict_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Return what several searches say together."""
    said = set(verdicts)
    against = said & set(AGAINST)
    if "depends" in said or ("gain" in said and against):
        return "depends"
    if against:
        return "loss" if "loss" in said else "fails"
    for verdict in ("gain", "unclear"):
        if verdict in said:
            return verdict
    return "told"


def _mean(values: list[tuple[float | None, Evidence]]) -> float | None:
    """Return the mean, each search weighing by its pairs and its likeness."""
    known = [(value, one.likeness * max(1, one.pairs)) for value, one in values if value is not None]
    return fsum(value * weight for value, weight in known) / fsum(weight for _, weight in known) if known else None
