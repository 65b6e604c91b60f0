"""Randomness that stays put: each step has its own seed, and each row its own number under it.

Rows are chosen by the smallest hashes of (seed, row id), not by a shuffle of positions. So another step in the recipe, or
a filter before this one, leaves the choice among the remaining rows as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def step_seed(recipe_seed: int, operator: str, occurrence: int) -> int:
    """Return the seed (63 bits) of the ``occurrence``-th step of this operator, counted from 0."""
    text = f"{recipe_seed}/{operator}/{occurrence}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def rank_keys(seed: int, names: Sequence[str]) -> list[bytes]:
    """Return one key a name: sorting by it is a random order. The second time a name comes it has another key."""
    times: dict[str, int] = {}
    keys = []
    for name in names:
        again = times[name] = times.get(name, -1) + 1
        keys.append(hashlib.sha256(f"{seed}/{again}/{name}".encode("utf-8", "surrogatepass")).digest())
    return keys


def choose(seed: int, names: Sequence[str], count: int) -> list[int]:
    """Return the positions of ``count`` names drawn at random without repeating, in rising order."""
    keys = rank_keys(seed, names)
    return sorted(sorted(range(len(names)), key=keys.__getitem__)[:count])
