"""Which digits of a list fulfil two conditions that are joined: ``list: keep even and low: 4729`` → ``42``.

Low is below five. The corpus has lists of two and three digits, and single conditions.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair

CONDITIONS: dict[str, Callable[[int], bool]] = {
    "even": lambda digit: digit % 2 == 0,
    "odd": lambda digit: digit % 2 == 1,
    "low": lambda digit: digit < 5,
    "high": lambda digit: digit >= 5,
}
JOINTS: dict[str, Callable[[bool, bool], bool]] = {
    "and": lambda one, other: one and other,
    "or": lambda one, other: one or other,
    "not": lambda one, other: one and not other,
}


def _kept(words: str, digits: str) -> str:
    """Return the digits that fulfil ``even and low`` in their order, ``none`` where there is none."""
    one, joint, other = words.split()
    first, join, second = CONDITIONS[one], JOINTS[joint], CONDITIONS[other]
    return "".join(digit for digit in digits if join(first(int(digit)), second(int(digit)))) or "none"


def _conditions(rng: Random) -> str:
    """One condition on each side of the joint: parity and size, in either order."""
    sides = [rng.choice(("even", "odd")), rng.choice(("low", "high"))]
    rng.shuffle(sides)
    return f"{sides[0]} {rng.choice(sorted(JOINTS))} {sides[1]}"


def task(rng: Random) -> Pair:
    """Three or four digits, all different."""
    digits = "".join(map(str, rng.sample(range(10), rng.randint(3, 4))))
    words = _conditions(rng)
    return Pair(f"list: keep {words}: {digits}\nresult:", _kept(words, digits))


def wrong(rng: Random, pair: Pair) -> str:
    """What other conditions keep, or a digit too few or too many."""
    digits = pair.prompt.removesuffix("\nresult:").rpartition(": ")[2]
    if rng.random() < 0.5:
        other = _kept(_conditions(rng), digits)
        if other != pair.answer:
            return other
    kept = pair.answer.replace("none", "")
    flipped = rng.choice(digits)
    return "".join(digit for digit in digits if (digit in kept) != (digit == flipped)) or "none"


FAMILY = Family("sets", task, task, wrong)
