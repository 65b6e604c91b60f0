"""A rule that only the prompt's two examples tell: which one or two fields of a row are its answer, in which order.

``learn: anna 3 lamp oslo = oslo ; ben 5 desk rome = rome ; carl 7 pen bern =`` → ``bern``. Fields stand in an order of their
own in each prompt, and no row of a pool says the rule of another.
"""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.words import CITIES, ITEMS, NAMES

KINDS = {"name": NAMES, "city": CITIES, "item": ITEMS, "count": tuple(map(str, range(2, 10)))}
#: Part of the rules that ask for two fields.
TWO = 0.25


def task(rng: Random) -> Pair:
    """Two solved rows and an open one of the same rule; no value stands twice, so copying an example is never right."""
    order = rng.sample(sorted(KINDS), len(KINDS))
    rule = rng.sample(order, 2 if rng.random() < TWO else 1)
    values = {kind: rng.sample(KINDS[kind], 3) for kind in order}
    rows = [{kind: values[kind][place] for kind in order} for place in range(3)]
    texts = [" ".join(row.values()) for row in rows]
    answers = [" ".join(row[kind] for kind in rule) for row in rows]
    solved = " ; ".join(f"{text} = {answer}" for text, answer in zip(texts[:2], answers[:2], strict=True))
    return Pair(f"learn: {solved} ; {texts[2]} =\nanswer:", answers[2])


def wrong(rng: Random, pair: Pair) -> str:
    """The same fields of an example, or other fields of the open row."""
    *examples, asked = pair.prompt.removeprefix("learn: ").removesuffix(" =\nanswer:").split(" ; ")
    if rng.random() < 0.5:
        return rng.choice(examples).split(" = ")[1]
    words, right = asked.split(), pair.answer.split()
    while True:
        found = rng.sample(words, len(right))
        if found != right:
            return " ".join(found)


FAMILY = Family("icl", task, task, wrong)
