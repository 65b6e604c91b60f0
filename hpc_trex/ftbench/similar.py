"""Fingerprints of short evaluation prompts: how a training row that is nearly one of them is known, without its text.

A prompt of few words has no telling n-gram (:mod:`hpc_trex.ftbench.ngrams`). Here it is the set of its runs of
:data:`GRAM` characters, letters and digits in lower case and one blank for whatever stands between them. Runs that many
prompts share, or many of one kind, are the card's template and tell nothing. Of the rest the block list holds MinHash keys (Broder 1997):
:data:`BANDS` keys of :data:`ROWS` smallest hashes each. Two prompts whose keys agree in :data:`AGREE` bands share about
three fifths of their runs (docs/data-recipes.md has what that finds and what it wrongly finds).

No numpy: a login node writes the keys. ``hpc_trex.data.similar`` computes the same ones for whole columns at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from hpc_trex.ftbench.ngrams import FEWEST, MASK, gram_hashes, shared

GRAM = 4
LEAST = 20
"""Runs that a prompt must have beside the template; with fewer it is matched as a whole only."""
MOST = 100
"""Of a longer one the n-grams of words tell."""
BANDS = 32
ROWS = 2
AGREE = 12
MASK32 = 2**32 - 1
PRINT, RUN, LONGEST = f"s{GRAM}:", f"c{GRAM}:", f"l{GRAM}:"
"""How such lines of a block list begin: a prompt's keys, a common run, the longest prompt's signs."""
JOIN = 0x9E3779B97F4A7C15

_BETWEEN = re.compile(r"[\W_]+")


def _numbers(name: str) -> tuple[int, ...]:
    """Return fixed numbers of 32 bits, one for each permutation."""
    return tuple(
        int.from_bytes(hashlib.blake2b(f"{name}/{place}".encode(), digest_size=4).digest(), "little")
        for place in range(BANDS * ROWS)
    )


#: The permutations ``x -> (x ^ b) * a`` modulo 2**32, ``a`` odd, as in ``hpc_trex.data.minhash``.
FACTORS = tuple(number | 1 for number in _numbers("factor"))
MASKS = _numbers("mask")


def plain(text: str) -> str:
    """Return the text that is cut into runs: a blank at either end, and for whatever is no letter and no digit."""
    return f" {_BETWEEN.sub(' ', text.lower()).strip()} "


def runs(text: str) -> set[int]:
    """Return the hashes of the runs of characters of a text."""
    return set(gram_hashes([ord(sign) for sign in plain(text)], GRAM))


def mixed(run: int) -> int:
    """Return 32 bits that depend on all 64 (the finaliser of SplitMix64)."""
    run = ((run ^ (run >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    run ^= run >> 27
    return run >> 32


def keys(telling: Collection[int]) -> list[int]:
    """Return the key of each band, 32 bits, of a prompt's telling runs (there must be one)."""
    hashes = [mixed(run) for run in telling]
    smallest = [
        min(((one ^ mask) * factor) & MASK32 for one in hashes) for factor, mask in zip(FACTORS, MASKS, strict=True)
    ]
    made = []
    for first in range(0, BANDS * ROWS, ROWS):
        key = 0
        for value in smallest[first : first + ROWS]:
            key = (key * JOIN + value) & MASK
        made.append(key & MASK32)
    return made


class Fingerprints(NamedTuple):
    """Of the short ones among some prompts."""

    keys: list[list[int]]
    common: set[int]
    """Runs that count for none."""
    longest: int
    """Signs of the longest of them, template and all."""


def fingerprints(prompts: Sequence[str], kinds: Sequence[str] = ()) -> Fingerprints:
    """Return the fingerprints of the short ones of these prompts; of fewer than three, whose template cannot be told, none.

    ``kinds``: the kind of each, where the card tells them apart.
    """
    if len(prompts) < FEWEST:
        return Fingerprints([], set(), 0)
    sets = [runs(prompt) for prompt in prompts]
    common = shared(sets, lambda one: one, kinds)
    short = [
        (one - common, len(prompt))
        for one, prompt in zip(sets, prompts, strict=True)
        if LEAST <= len(one - common) <= MOST
    ]
    if not short:
        return Fingerprints([], set(), 0)
    return Fingerprints([keys(one) for one, _ in short], common, max(length for _, length in short))


def lines_of(prompts: Sequence[str], kinds: Sequence[str] = ()) -> list[str]:
    """Return the fingerprints as lines of a block list."""
    made = fingerprints(prompts, kinds)
    if not made.keys:
        return []
    prints = sorted({"".join(f"{key:08x}" for key in one) for one in made.keys})
    return [
        f"{LONGEST}{made.longest}",
        *(f"{RUN}{run:016x}" for run in sorted(made.common)),
        *(f"{PRINT}{one}" for one in prints),
    ]


def read_line(line: str) -> tuple[str, int | list[int]] | None:
    """Return what a line of a block list says for :func:`lines_of`: its mark and its value; None for another line."""
    if re.fullmatch(rf"{PRINT}[0-9a-f]{{{8 * BANDS}}}", line):
        digits = line.removeprefix(PRINT)
        return PRINT, [int(digits[first : first + 8], 16) for first in range(0, len(digits), 8)]
    if re.fullmatch(rf"{RUN}[0-9a-f]{{16}}", line):
        return RUN, int(line.removeprefix(RUN), 16)
    if re.fullmatch(rf"{LONGEST}\d{{1,9}}", line):
        return LONGEST, int(line.removeprefix(LONGEST))
    return None
