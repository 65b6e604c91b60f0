"""Addition of numbers of two digits, written digit by digit: ``add: 4 7 + 3 5`` → ``8 2``."""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair


def broad(rng: Random) -> Pair:
    """Two numbers from 10 to 99."""
    a, b = rng.randint(10, 99), rng.randint(10, 99)
    return Pair(f"add: {' '.join(str(a))} + {' '.join(str(b))}\nanswer:", " ".join(str(a + b)))


FAMILY = Family("addition", broad)
