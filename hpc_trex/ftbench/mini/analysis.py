"""Questions to a table of four rows: the most, the least, how many rows a city has, the first row, the last, a look-up.

``table: oslo 3 ; rome 5 ; oslo 2 ; lima 7 ; rows of oslo`` → ``2``. The corpus has tables of people, and look-ups only.
"""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.words import CITIES

#: Cities of one table are drawn from so many, so that some stand in several rows.
SOME = 3
ROWS = 4
QUESTIONS = (
    "count of most",
    "count of least",
    "city of most",
    "city of first",
    "city of last",
    "count of last",
    "rows",
)


def _answer(rows: list[tuple[str, int]], question: str) -> str:
    """Return the answer to one of :data:`QUESTIONS`, or to ``rows of CITY``."""
    column, _, key = question.split()
    if column == "rows":
        return str(sum(city == key for city, _ in rows))
    ordered = sorted(rows, key=lambda row: row[1])
    city, count = {"most": ordered[-1], "least": ordered[0], "first": rows[0], "last": rows[-1]}[key]
    return city if column == "city" else str(count)


def task(rng: Random) -> Pair:
    """Four rows, no count twice, and one of seven questions."""
    cities = rng.sample(CITIES, SOME)
    rows = [(rng.choice(cities), count) for count in rng.sample(range(1, 10), ROWS)]
    question = rng.choice(QUESTIONS)
    if question == "rows":
        question = f"rows of {rng.choice(rows)[0]}"
    table = " ; ".join(f"{city} {count}" for city, count in rows)
    return Pair(f"table: {table} ; {question}\nanswer:", _answer(rows, question))


def wrong(rng: Random, pair: Pair) -> str:
    """The same column of another row; another number of rows."""
    *texts, question = pair.prompt.removeprefix("table: ").removesuffix("\nanswer:").split(" ; ")
    rows = [text.split() for text in texts]
    found = {"city": {city for city, _ in rows}, "count": {count for _, count in rows}, "rows": set("1234")}
    others = found[question.split()[0]] - {pair.answer}
    return rng.choice(sorted(others or set(CITIES) - {pair.answer}))


FAMILY = Family("analysis", task, task, wrong)
