"""Looking up a cell: ``table: anna oslo 3 ; ben rome 5 ; city of ben`` → ``rome``. Hard for a very small model."""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.words import CITIES, NAMES


def broad(rng: Random) -> Pair:
    """Two or three rows of name, city and count."""
    names = rng.sample(NAMES, rng.randint(2, 3))
    rows = {name: (rng.choice(CITIES), str(rng.randint(1, 9))) for name in names}
    column = rng.randrange(2)
    asked = rng.choice(names)
    table = " ; ".join(f"{name} {city} {count}" for name, (city, count) in rows.items())
    return Pair(f"table: {table} ; {('city', 'count')[column]} of {asked}\nanswer:", rows[asked][column])


FAMILY = Family("table", broad)
