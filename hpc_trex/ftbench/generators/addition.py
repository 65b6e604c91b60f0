"""Addition: ``add: 47 + 5`` → ``52`` (the tokenizer splits the digits)."""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair


def broad(rng: Random) -> Pair:
    """A number of two digits and one of one digit."""
    a, b = rng.randint(10, 99), rng.randint(1, 9)
    return Pair(f"add: {a} + {b}\nanswer:", str(a + b))


FAMILY = Family("addition", broad)
