"""Requests to small programs of the corpus's four calls: one call, two in the order that is meant, or one of two.

``tool: order 3 lamp but first tell anna that the desk is here`` → ``message(to=anna, item=desk) ; order(item=lamp, count=3)``.
The corpus has single calls only.
"""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.toolcall import request
from hpc_trex.ftbench.generators.words import CITIES, ITEMS, NAMES

#: Which calls stand in the program, by the words between two requests: 0 the first, 1 the second.
JOINTS = {"then": (0, 1), "but first": (1, 0), "no": (1,), "twice": (0, 0)}
#: Part of the requests that are as in the corpus.
SINGLE = 0.2
KINDS = {"city": CITIES, "item": ITEMS, "to": NAMES, "day": "23456789", "count": "23456789"}


def task(rng: Random) -> Pair:
    """One request, one twice, or two."""
    first, second = request(rng), request(rng)
    while second.answer == first.answer:
        second = request(rng)
    if rng.random() < SINGLE:
        return Pair(f"tool: {first.prompt}\ncall:", first.answer)
    joint = rng.choice(sorted(JOINTS))
    text = f"{joint} {first.prompt}" if joint == "twice" else f"{first.prompt} {joint} {second.prompt}"
    return Pair(f"tool: {text}\ncall:", " ; ".join((first, second)[place].answer for place in JOINTS[joint]))


def wrong(rng: Random, pair: Pair) -> str:
    """Two calls in the wrong order, one of them alone, or a call with another value."""
    calls = pair.answer.split(" ; ")
    if len(calls) == 2 and rng.random() < 0.6:
        return calls[0] if calls[0] == calls[1] or rng.random() < 0.3 else " ; ".join(reversed(calls))
    place = rng.randrange(len(calls))
    name, arguments = calls[place].removesuffix(")").split("(")
    pairs = [argument.split("=") for argument in arguments.split(", ")]
    key, value = changed = rng.choice(pairs)
    changed[1] = rng.choice([other for other in KINDS[key] if other != value])
    calls[place] = f"{name}({', '.join('='.join(one) for one in pairs)})"
    return " ; ".join(calls)


FAMILY = Family("program", task, task, wrong)
