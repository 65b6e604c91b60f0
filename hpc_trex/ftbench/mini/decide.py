"""What to do about an order, under rules that depend on each other.

``decide: anna wants 4 lamp ; left 3 ; cost 2 ; money 5 ; new`` → ``order``. What is left is sold; else more is ordered where the
money is enough for its cost; else a late order is told of, and a new one is paid back.
"""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.words import ITEMS, NAMES

ACTIONS = ("sell", "order", "tell", "refund")


def decide(wanted: int, stock: int, price: int, money: int, late: bool) -> str:
    """Return the action."""
    if stock >= wanted:
        return "sell"
    if money >= price:
        return "order"
    return "tell" if late else "refund"


def task(rng: Random) -> Pair:
    """One order; the action is drawn first, so that all are as frequent."""
    action = rng.choice(ACTIONS)
    while True:
        wanted, stock, price, money = (rng.randint(1, 9) for _ in range(4))
        late = rng.random() < 0.5
        if decide(wanted, stock, price, money, late) == action:
            break
    text = f"{rng.choice(NAMES)} wants {wanted} {rng.choice(ITEMS)} ; left {stock} ; cost {price} ; money {money} ; {'late' if late else 'new'}"
    return Pair(f"decide: {text}\nanswer:", action)


def wrong(rng: Random, pair: Pair) -> str:
    """Another action."""
    return rng.choice([action for action in ACTIONS if action != pair.answer])


FAMILY = Family("decide", task, task, wrong)
