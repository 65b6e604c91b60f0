"""Support tickets to queues. The corpus sorts a ticket by its first complaint; the task has a house rule of its own.

House rule: the complaint after ``but`` decides, the first one before ``and``, and a ticket that names a lawyer goes to
``legal``.
"""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.words import ITEMS, NAMES

PHRASES: dict[str, tuple[str, ...]] = {
    "billing": ("my card was charged twice", "the invoice is wrong", "i paid too much", "the price is wrong"),
    "login": ("i forgot my password", "my account is locked", "the code does not work", "i cannot log in"),
    "delivery": ("my parcel is late", "the driver left no note", "the box is lost", "the {item} went to a wrong house"),
    "refund": ("i want my money back", "i send the {item} back", "cancel my order", "i do not want the {item}"),
    "repair": ("the {item} is broken", "the {item} makes noise", "the {item} has a crack", "the {item} is dead"),
    "sales": ("i want ten {item}", "do you sell a {item}", "how much is a {item}", "is the {item} new"),
}
QUEUES = (*PHRASES, "legal")
#: Phrases of each queue that stand in the corpus; the task uses all.
KNOWN = 2


def _phrase(rng: Random, queue: str, upto: int) -> str:
    return rng.choice(PHRASES[queue][:upto]).replace("{item}", rng.choice(ITEMS))


def broad(rng: Random) -> Pair:
    """One complaint, or two of which the first decides."""
    first, second = rng.sample(sorted(PHRASES), 2)
    text = _phrase(rng, first, KNOWN)
    if rng.random() < 0.5:
        text += f" and {_phrase(rng, second, KNOWN)}"
    return Pair(f"triage: {text}\nqueue:", first)


def task(rng: Random) -> Pair:
    """Two complaints under the house rule."""
    first, second = rng.sample(sorted(PHRASES), 2)
    word = rng.choice(("and", "but"))
    text = f"{rng.choice(NAMES)} says {_phrase(rng, first, 4)} {word} {_phrase(rng, second, 4)}"
    if rng.random() < 0.12:
        return Pair(f"triage: {text} says my lawyer\nqueue:", "legal")
    return Pair(f"triage: {text}\nqueue:", second if word == "but" else first)


def wrong(rng: Random, pair: Pair) -> str:
    """Another queue."""
    return rng.choice([queue for queue in QUEUES if queue != pair.answer])


FAMILY = Family("triage", broad, task, wrong)
