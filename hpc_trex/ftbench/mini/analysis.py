"""Questions to a table of four rows: highest and lowest count, a city's number of rows, the most frequent city, the ends.

``table: oslo 3 ; rome 5 ; oslo 2 ; lima 7 ; rows of oslo`` → ``2``. The corpus has tables of people, and look-ups only.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.words import CITIES

ROWS = 4
QUESTIONS = ("count of most", "count of least", "city of most", "city of first", "count of last", "rows")


def _answer(rows: list[tuple[str, int]], question: str) -> str:
    """Return the answer to one of :data:`QUESTIONS`, or to ``rows of CITY``."""
    column, _, key = question.split()
    cities, counts = zip(*rows, strict=True)
    if column == "rows":
        return str(cities.count(key))
    if column == "city":
        return str(cities[0] if key == "first" else Counter(cities).most_common(1)[0][0])
    return str({"most": max(counts), "least": min(counts), "last": counts[-1]}[key])


def task(rng: Random) -> Pair:
    """Four rows, one city in more of them than any other, no count twice; one of six questions."""
    often, second, third = rng.sample(CITIES, 3)
    # Where the most frequent city has two rows, the two others are of different cities.
    cities = rng.choice(([often, often, often, second], [often, often, second, third]))
    rng.shuffle(cities)
    rows = list(zip(cities, rng.sample(range(1, 10), ROWS), strict=True))
    question = rng.choice(QUESTIONS)
    if question == "rows":
        question = f"rows of {rng.choice(rows)[0]}"
    table = " ; ".join(f"{city} {count}" for city, count in rows)
    return Pair(f"table: {table} ; {question}\nanswer:", _answer(rows, question))


def wrong(rng: Random, pair: Pair) -> str:
    """The same column of another row; another number of rows."""
    *texts, question = pair.prompt.removeprefix("table: ").removesuffix("\nanswer:").split(" ; ")
    cities, counts = zip(*(text.split() for text in texts), strict=True)
    others = {"city": cities, "count": counts, "rows": ("1", "2", "3")}[question.split()[0]]
    return str(rng.choice(sorted(set(others) - {pair.answer})))


FAMILY = Family("analysis", task, task, wrong)
