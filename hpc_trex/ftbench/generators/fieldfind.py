"""One field out of a sentence: ``find city: anna buys 3 lamp in oslo`` → ``oslo``."""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.words import CITIES, ITEMS, NAMES


def broad(rng: Random) -> Pair:
    """One of four fields of one of two sentences."""
    values = {
        "name": rng.choice(NAMES),
        "city": rng.choice(CITIES),
        "item": rng.choice(ITEMS),
        "count": str(rng.randint(2, 9)),
    }
    key = rng.choice(sorted(values))
    text = rng.choice(("{name} buys {count} {item} in {city}", "in {city} {name} needs {count} {item}"))
    return Pair(f"find {key}: {text.format(**values)}\nanswer:", values[key])


FAMILY = Family("field", broad)
