"""Yes-or-no questions over small numbers: ``logic: 3 is more than 5 or 2 is even`` → ``yes``."""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair


def _claim(rng: Random) -> tuple[str, bool]:
    a, b = rng.randrange(10), rng.randrange(10)
    return rng.choice(
        (
            (f"{a} is more than {b}", a > b),
            (f"{a} is less than {b}", a < b),
            (f"{a} is even", a % 2 == 0),
            (f"{a} is odd", a % 2 == 1),
        )
    )


def broad(rng: Random) -> Pair:
    """One claim, or two joined by and / or."""
    text, truth = _claim(rng)
    if rng.random() < 0.5:
        other, second = _claim(rng)
        word = rng.choice(("and", "or"))
        truth = (truth and second) if word == "and" else (truth or second)
        text = f"{text} {word} {other}"
    return Pair(f"logic: {text}\nanswer:", "yes" if truth else "no")


FAMILY = Family("logic", broad)
