"""Order lines to JSON. The corpus asks for two fields, the task for four, from other sentences."""

from __future__ import annotations

import json
from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.words import CITIES, COLOURS, ITEMS, NAMES

TEMPLATES = (
    "{name} from {city} wants {count} {colour} {item}",
    "send {count} {colour} {item} to {name} in {city}",
    "{count} {colour} {item} for {name} , ship to {city}",
    "to {city} : {name} needs {item} in {colour} , {count} of them",
    "{name} buys a {colour} {item} in {city} , no , {count} of them",
)
#: Templates of the corpus; the task uses all.
KNOWN = 2


def _order(rng: Random) -> dict[str, str | int]:
    return {
        "name": rng.choice(NAMES),
        "city": rng.choice(CITIES),
        "item": rng.choice(ITEMS),
        "colour": rng.choice(COLOURS),
        "count": rng.randint(2, 9),
    }


def _pair(text: str, fields: dict[str, str | int]) -> Pair:
    return Pair(f"extract: {text}\njson:", json.dumps(fields))


def broad(rng: Random) -> Pair:
    """Two fields, sometimes all four, from the first templates."""
    order = _order(rng)
    keys = ("name", "item", "city", "count") if rng.random() < 0.4 else ("name", "item")
    return _pair(rng.choice(TEMPLATES[:KNOWN]).format(**order), {key: order[key] for key in keys})


def task(rng: Random) -> Pair:
    """Four fields from all templates."""
    order = _order(rng)
    fields = {key: order[key] for key in ("name", "item", "city", "count")}
    return _pair(rng.choice(TEMPLATES).format(**order), fields)


def wrong(rng: Random, pair: Pair) -> str:
    """One or two fields of another order, or a field left out."""
    fields = json.loads(pair.answer)
    if rng.random() < 0.3:
        fields.pop(rng.choice(sorted(fields)))
        return json.dumps(fields)
    other = {key: value for key, value in _order(rng).items() if key in fields and value != fields[key]}
    keys = rng.sample(sorted(other), min(2, len(other))) if other else []
    if not keys:
        fields.pop("count")
    return json.dumps(fields | {key: other[key] for key in keys})


FAMILY = Family("extract", broad, task, wrong)
