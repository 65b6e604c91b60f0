"""Three claims about digits: whether all or any hold, or how many do.

``logic: how many : 3 is high , 2 is even , 7 is odd`` → ``2``. The corpus has one claim, or two joined by and / or; low and
high (from 5 on) it knows of lists.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair

#: By question: the answer to so many true claims of three.
QUESTIONS = {
    "all": ("no", "no", "no", "yes"),
    "any": ("no", "yes", "yes", "yes"),
    "none": ("yes", "no", "no", "no"),
    "how many": ("0", "1", "2", "3"),
}


KINDS: dict[str, Callable[[int], bool]] = {
    "even": lambda digit: digit % 2 == 0,
    "odd": lambda digit: digit % 2 == 1,
    "low": lambda digit: digit < 5,
    "high": lambda digit: digit >= 5,
}


def _claim(rng: Random, truth: bool) -> str:
    kind = rng.choice(sorted(KINDS))
    return f"{rng.choice([digit for digit in range(10) if KINDS[kind](digit) is truth])} is {kind}"


def task(rng: Random) -> Pair:
    """One of four questions, half of them the count; the number of true claims is drawn first, so that answers are even."""
    question = rng.choice(("all", "any", "none", "how many", "how many", "how many"))
    true = rng.randint(0, 3)
    if question != "how many" and rng.random() < 0.4:
        true = 3 if question == "all" else 0
    truths = [True] * true + [False] * (3 - true)
    rng.shuffle(truths)
    text = " , ".join(_claim(rng, truth) for truth in truths)
    return Pair(f"logic: {question} : {text}\nanswer:", QUESTIONS[question][true])


def wrong(rng: Random, pair: Pair) -> str:
    """Another answer to the same question."""
    question = pair.prompt.removeprefix("logic: ").split(" : ")[0]
    return rng.choice(sorted(set(QUESTIONS[question]) - {pair.answer}))


FAMILY = Family("claims", task, task, wrong)
