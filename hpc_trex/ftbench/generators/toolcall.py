"""A question to a tool call: ``tool: weather in oslo on day 3`` → ``weather(city=oslo, day=3)``."""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.words import CITIES, ITEMS, NAMES

TOOLS = (
    ("how is the weather in {city} on day {count}", "weather(city={city}, day={count})"),
    ("what does a {item} cost", "price(item={item})"),
    ("tell {name} that the {item} is here", "message(to={name}, item={item})"),
    ("order {count} {item}", "order(item={item}, count={count})"),
)


def request(rng: Random) -> Pair:
    """What one of four tools is asked for, and its call."""
    question, call = rng.choice(TOOLS)
    values = {
        "city": rng.choice(CITIES),
        "item": rng.choice(ITEMS),
        "name": rng.choice(NAMES),
        "count": str(rng.randint(2, 9)),
    }
    return Pair(question.format(**values), call.format(**values))


def broad(rng: Random) -> Pair:
    """One of four tools with its arguments."""
    question, call = request(rng)
    return Pair(f"tool: {question}\ncall:", call)


FAMILY = Family("toolcall", broad)
