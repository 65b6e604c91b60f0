"""The parts of a generated task: three training pools of different worth, and the clean dev and test splits.

``curated`` is small and clean. ``crowd`` holds wrong answers, prompts answered several times and many copies of a few
rows. ``web`` holds rows of other families and junk. Nothing in a row says that it is bad: a recipe has to find out.

No prompt can stand in two of {training pools and corpus, dev, test}, whatever the seeds: a prompt's hash decides
which side it may appear on.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.generators import FAMILIES
from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.rows import item_hash

#: Of 16 hash buckets, one is dev's and two are the test's.
SIDES = {0: "dev", 1: "test", 2: "test"}
#: Draws for one new row before a generator is called exhausted.
PATIENCE = 2000

SPAM = ("click", "here", "win", "free", "best", "now", "page", "next", "home", "about")


def side(prompt: str) -> str:
    """Return ``train``, ``dev`` or ``test``: the only side on which this prompt may appear."""
    return SIDES.get(int(item_hash(prompt)[:8], 16) % 16, "train")


def distinct(rng: Random, draw: Callable[[Random], Pair], rows: int, where: str) -> list[Pair]:
    """Draw ``rows`` pairs of one side with distinct prompts. Raises :class:`UsageProblem` when there are not so many."""
    found: dict[str, Pair] = {}
    misses = 0
    while len(found) < rows:
        pair = draw(rng)
        key = item_hash(pair.prompt)
        if key in found or side(pair.prompt) != where:
            misses += 1
            if misses > PATIENCE + 50 * rows:
                raise UsageProblem(
                    f"the generator has only {len(found)} distinct {where} rows, {rows} were asked for",
                    hint="ask for fewer rows in the task card",
                )
            continue
        found[key] = pair
    return list(found.values())


def one(rng: Random, draw: Callable[[Random], Pair]) -> Pair:
    """Draw one pair of the training side."""
    while True:
        pair = draw(rng)
        if side(pair.prompt) == "train":
            return pair


def curated(rng: Random, family: Family, rows: int) -> list[Pair]:
    """Clean, distinct rows of the task."""
    return distinct(rng, _task(family), rows, "train")


def dev(rng: Random, family: Family, rows: int) -> list[Pair]:
    """Clean, distinct rows that no training pool can hold."""
    return distinct(rng, _task(family), rows, "dev")


def test(rng: Random, family: Family, rows: int) -> list[Pair]:
    """Clean, distinct rows that neither a training pool nor dev can hold."""
    return distinct(rng, _task(family), rows, "test")


def crowd(rng: Random, family: Family, rows: int) -> list[Pair]:
    """24 % right and 37 % wrong single answers, 24 % prompts with three answers (one wrong), 15 % copies of a few rows."""
    voted, copies, wrong = rows * 8 // 100 * 3, rows * 15 // 100, rows * 37 // 100
    singles = distinct(rng, _task(family), rows - voted - copies + voted // 3, "train")
    several, rest = singles[: voted // 3], singles[voted // 3 :]
    pairs = [_spoilt(rng, family, pair) for pair in rest[:wrong]] + rest[wrong:]
    for pair in several:
        pairs += [pair, pair, _spoilt(rng, family, pair)]
    # Half of the copied rows are wrong ones: an over-counted error hurts most.
    often = pairs[: max(1, copies // 40)] + rest[-max(1, copies // 40) :]
    pairs += [rng.choice(often) for _ in range(copies)]
    rng.shuffle(pairs)
    return pairs


def web(rng: Random, family: Family, rows: int) -> list[Pair]:
    """40 % right rows of the task, 10 % wrong ones, 38 % rows of other families, 12 % junk."""
    on_task, wrong, junk = rows * 50 // 100, rows * 10 // 100, rows * 12 // 100
    found = distinct(rng, _task(family), on_task, "train")
    pairs = [_spoilt(rng, family, pair) for pair in found[:wrong]] + found[wrong:]
    others = [other for other in FAMILIES.values() if other is not family]
    pairs += [one(rng, rng.choice(others).broad) for _ in range(rows - on_task - junk)]
    pairs += [_junk(rng) for _ in range(junk)]
    rng.shuffle(pairs)
    return pairs


def _task(family: Family) -> Callable[[Random], Pair]:
    if family.task is None:
        raise UsageProblem(f"the generator {family.name} has no task of its own", hint=f"use one of {', '.join(TASKS)}")
    return family.task


def _spoilt(rng: Random, family: Family, pair: Pair) -> Pair:
    assert family.wrong is not None, f"{family.name} has a task and so must know wrong answers"
    return pair._replace(answer=family.wrong(rng, pair))


def _junk(rng: Random) -> Pair:
    """Words of a web page in the place of a question and its answer."""
    return Pair(" ".join(rng.choices(SPAM, k=rng.randint(4, 12))), " ".join(rng.choices(SPAM, k=rng.randint(1, 6))))


PARTS: dict[str, Callable[[Random, Family, int], list[Pair]]] = {
    "curated": curated,
    "crowd": crowd,
    "web": web,
    "dev": dev,
    "test": test,
}
TASKS = tuple(name for name, family in FAMILIES.items() if family.task is not None)
