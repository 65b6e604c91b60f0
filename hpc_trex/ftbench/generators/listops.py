"""List operations: ``list: sort ascending: 413`` → ``134``. The task has longer lists than the corpus."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair

OPERATIONS: dict[str, Callable[[list[int]], list[int]]] = {
    "sort ascending": sorted,
    "sort descending": lambda numbers: sorted(numbers, reverse=True),
    "keep even": lambda numbers: [n for n in numbers if n % 2 == 0],
    "keep odd": lambda numbers: [n for n in numbers if n % 2 == 1],
    "keep low": lambda numbers: [n for n in numbers if n < 5],
    "keep high": lambda numbers: [n for n in numbers if n >= 5],
    "largest": lambda numbers: [max(numbers)],
    "smallest": lambda numbers: [min(numbers)],
}


def _pair(rng: Random, shortest: int, longest: int) -> Pair:
    numbers = rng.sample(range(10), rng.randint(shortest, longest))
    name = rng.choice(sorted(OPERATIONS))
    return Pair(f"list: {name}: {_text(numbers)}\nresult:", _apply(name, numbers))


def _apply(name: str, numbers: list[int]) -> str:
    return _text(OPERATIONS[name](numbers)) or "none"


def _text(numbers: list[int]) -> str:
    return "".join(map(str, numbers))


def broad(rng: Random) -> Pair:
    """Short lists, as the pre-training corpus has them."""
    return _pair(rng, 2, 3)


def task(rng: Random) -> Pair:
    """Longer lists: the base model knows the words but not the lengths."""
    return _pair(rng, 3, 4)


def wrong(rng: Random, pair: Pair) -> str:
    """Another operation's result, or the right one with one number changed."""
    _, operation, numbers = pair.prompt.removesuffix("\nresult:").split(": ")
    values = [int(n) for n in numbers]
    others = {_apply(name, values) for name in OPERATIONS if name != operation} - {pair.answer}
    if others and rng.random() < 0.5:
        return rng.choice(sorted(others))
    digits = list(pair.answer) if pair.answer != "none" else [str(values[0])]
    place = rng.randrange(len(digits))
    digits[place] = rng.choice([str(n) for n in range(10) if str(n) != digits[place]])
    changed = "".join(digits)
    return changed if changed != pair.answer else "none"


FAMILY = Family("listops", broad, task, wrong)
