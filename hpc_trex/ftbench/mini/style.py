"""Short texts to order: a request in one of seven forms, four of which the corpus does not have, to one or two people.

``letter: anna , send the red lamp`` → ``dear anna , i want the red lamp . please send it to me .``
"""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.style import FORMS as KNOWN
from hpc_trex.ftbench.generators.words import COLOURS, ITEMS, NAMES

#: By form: how a text in it runs. ``thing`` is colour and item, ``other`` the item alone.
NEW = {
    "letter": "dear {name} , i want the {thing} . please {verb} it to me .",
    "poem": "{thing} , {thing} , please {verb} it to {name} and do not be late , my {item} .",
    "advert": "is the {item} old ? {name} , here is a new {thing} !",
    "story": "{name} did not {verb} the {thing} . it was late , it was broken , and no {item} is here .",
}
FORMS = KNOWN | NEW
#: Part of the requests that are in a form of the corpus.
OLD = 0.25
VERBS = ("send", "sell", "find", "keep")


def _words(rng: Random) -> dict[str, str]:
    names = rng.sample(NAMES, rng.randint(1, 2))
    colour, item = rng.choice(COLOURS), rng.choice(ITEMS)
    return {
        "name": " and ".join(names),
        "verb": rng.choice(VERBS),
        "item": item,
        "thing": f"{colour} {item}",
        "object": f"the {colour} {item}",
    }


def task(rng: Random) -> Pair:
    """One of the forms, to one or two people."""
    values = _words(rng)
    form = rng.choice(sorted(KNOWN if rng.random() < OLD else NEW))
    return Pair(
        f"{form}: {values['name']} , {values['verb']} {values['object']}\nanswer:", FORMS[form].format(**values)
    )


def wrong(rng: Random, pair: Pair) -> str:
    """The same request in another form, or about another thing."""
    form, request = pair.prompt.removesuffix("\nanswer:").split(": ")
    name, order = request.split(" , ")
    verb, _, colour, item = order.split()
    if rng.random() < 0.5:
        form = rng.choice([other for other in sorted(FORMS) if other != form])
    else:
        item = rng.choice([other for other in ITEMS if other != item])
    thing = f"{colour} {item}"
    return FORMS[form].format(name=name, verb=verb, item=item, thing=thing, object=f"the {thing}")


FAMILY = Family("forms", task, task, wrong)
