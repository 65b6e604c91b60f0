"""Rewriting a request: ``polite: send me a red lamp`` → ``could you please send me a red lamp ?``."""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.words import COLOURS, ITEMS, NAMES

FORMS = {
    "polite": "could you please {verb} {object} ?",
    "short": "{verb} {object} !",
    "question": "did {name} {verb} {object} ?",
}


def broad(rng: Random) -> Pair:
    """A plain order, rewritten in one of three ways."""
    form = rng.choice(sorted(FORMS))
    values = {
        "name": rng.choice(NAMES),
        "verb": rng.choice(("send", "sell", "find", "keep")),
        "object": f"the {rng.choice(COLOURS)} {rng.choice(ITEMS)}",
    }
    return Pair(
        f"{form}: {values['name']} , {values['verb']} {values['object']}\nanswer:", FORMS[form].format(**values)
    )


FAMILY = Family("style", broad)
