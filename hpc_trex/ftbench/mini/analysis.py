"""Questions to a table of three rows: look a cell up, or find the row with the most or the least first.

``table: anna oslo 3 ; ben rome 5 ; gina lima 2 ; city of most`` → ``rome``. The corpus has look-ups by name only.
"""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.words import CITIES, NAMES

COLUMNS = ("name", "city", "count")


def task(rng: Random) -> Pair:
    """Three rows, all values different. The row is named by its name or city, or is that of the most or the least."""
    columns = (rng.sample(NAMES, 3), rng.sample(CITIES, 3), [str(n) for n in rng.sample(range(1, 10), 3)])
    rows = list(zip(*columns, strict=True))
    kind = rng.choice(("name", "city", "most", "least"))
    if kind in COLUMNS:
        row = rng.choice(rows)
        key = row[COLUMNS.index(kind)]
    else:
        row, key = (max if kind == "most" else min)(rows, key=lambda one: one[2]), kind
    wanted = rng.choice([column for column in COLUMNS if column != kind])
    table = " ; ".join(map(" ".join, rows))
    return Pair(f"table: {table} ; {wanted} of {key}\nanswer:", row[COLUMNS.index(wanted)])


def wrong(rng: Random, pair: Pair) -> str:
    """The same column of another row."""
    *rows, question = pair.prompt.removeprefix("table: ").removesuffix("\nanswer:").split(" ; ")
    column = COLUMNS.index(question.split()[0])
    return rng.choice([row.split()[column] for row in rows if row.split()[column] != pair.answer])


FAMILY = Family("analysis", task, task, wrong)
