"""Order lines to JSON. The corpus has plain sentences; the task's also name values that do not count."""

from __future__ import annotations

import json
from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.words import CITIES, COLOURS, ITEMS, NAMES

PLAIN = (
    "{name} from {city} wants {count} {colour} {item}",
    "send {count} {colour} {item} to {name} in {city}",
)
#: ``2`` marks the value that is taken back or beside the point.
TANGLED = (
    "{name} , not {name2} , wants {count} {item} in {city}",
    "not {count2} but {count} {item} for {name} in {city}",
    "{name2} says {name} moved from {city2} to {city} and wants {count} {item}",
    "{name} in {city} wants no {item2} but {count} {item}",
    "send {count} {item} to {city2} , no , to {name} in {city}",
    "{count} {item} and no {item2} go to {name} , not to {name2} , in {city}",
)
KEYS = ("name", "item", "city", "count")


def _order(rng: Random) -> dict[str, str | int]:
    (name, name2), (city, city2) = rng.sample(NAMES, 2), rng.sample(CITIES, 2)
    (item, item2), (count, count2) = rng.sample(ITEMS, 2), rng.sample(range(2, 10), 2)
    order: dict[str, str | int] = {"name": name, "city": city, "item": item, "count": count}
    order.update(name2=name2, city2=city2, item2=item2, count2=count2, colour=rng.choice(COLOURS))
    return order


def _pair(text: str, fields: dict[str, str | int]) -> Pair:
    return Pair(f"extract: {text}\njson:", json.dumps(fields))


def broad(rng: Random) -> Pair:
    """Two fields, sometimes all four, from plain sentences."""
    order = _order(rng)
    keys = KEYS if rng.random() < 0.4 else ("name", "item")
    return _pair(rng.choice(PLAIN).format(**order), {key: order[key] for key in keys})


def task(rng: Random) -> Pair:
    """Four fields, most from tangled sentences."""
    order = _order(rng)
    text = rng.choice(PLAIN + TANGLED).format(**order)
    return _pair(text, {key: order[key] for key in KEYS})


def wrong(rng: Random, pair: Pair) -> str:
    """The values that do not count where the sentence has some, and one more field that is made up or left out."""
    fields = json.loads(pair.answer)
    words = pair.prompt.split()
    kinds = {"name": NAMES, "city": CITIES, "item": ITEMS, "count": tuple(map(str, range(2, 10)))}
    for key, kind in kinds.items():
        others = [word for word in words if word in kind and word != str(fields[key])]
        if others:
            fields[key] = int(others[0]) if key == "count" else others[0]
    key = rng.choice(KEYS)
    if rng.random() < 0.3:
        fields.pop(key)
    else:
        other = rng.choice([word for word in kinds[key] if word != str(json.loads(pair.answer)[key])])
        fields[key] = int(other) if key == "count" else other
    return json.dumps(fields)


FAMILY = Family("extract", broad, task, wrong)
