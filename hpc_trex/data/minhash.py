"""Near-duplicates by MinHash and locality-sensitive hashing (Broder 1997; Leskovec, Rajaraman, Ullman, chapter 3).

A row is the set of its word shingles. Rows whose signatures agree in a whole band are candidates, and every candidate
pair is confirmed by the exact Jaccard index of the two sets: the bands decide what is found, never what is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hpc_trex.data.words import I64, U64

PERMUTATIONS = 64
WANTED = 0.98
"""Chance that a pair exactly at the threshold becomes a candidate; above the threshold it is higher."""
BLOCK = 16_384
"""Shingles a time: a block of 32-bit numbers stays in the processor's cache over all permutations."""
TICK = 1_000_000
"""Pairs between two signs of life: some seconds."""
LEADERS = 64
"""Rows of one bucket that a further one is compared with: without a limit a bucket of n rows costs n**2."""


class Bands(NamedTuple):
    """How the permutations are grouped: ``number`` bands of ``rows`` each."""

    number: int
    rows: int


def bands_for(threshold: float, permutations: int = PERMUTATIONS) -> Bands:
    """Return the longest bands that still find a pair at the threshold with a chance of :data:`WANTED`.

    The chance is 1 - (1 - t**rows)**number. Where no grouping reaches it, bands of one.
    """
    for rows in range(permutations, 0, -1):
        number = permutations // rows
        if 1 - (1 - threshold**rows) ** number >= WANTED:
            return Bands(number, rows)
    return Bands(permutations, 1)


class Hasher:
    """The permutations of one seed: ``x -> (x ^ b) * a`` modulo 2**32, ``a`` odd, over well mixed 32-bit hashes."""

    def __init__(self, bands: Bands, seed: int, numbers: tuple[Sequence[int], Sequence[int]] | None = None) -> None:
        self.bands = bands
        if numbers is not None:  # ``a`` and ``b`` of somebody who computes the same without numpy
            self._a, self._b = (np.array(values, dtype=np.uint32) for values in numbers)
            return
        random = np.random.default_rng(seed)
        count = bands.number * bands.rows
        self._a = random.integers(0, 2**31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
        self._b = random.integers(0, 2**32, count, dtype=np.uint32)

    def keys(self, lengths: I64, mixed: npt.NDArray[np.uint32]) -> U64:
        """Return one 64-bit key a band (sets, bands) of sets of the given lengths, whose mixed shingles stand end to end.

        The keys of a set without shingles mean nothing.
        """
        keys = np.zeros((len(lengths), self.bands.number), dtype=np.uint64)
        filled = np.flatnonzero(lengths)
        if not len(filled):
            return keys
        starts = (np.cumsum(lengths) - lengths)[filled]
        for first, last in _blocks(np.append(starts, len(mixed))):
            begin, end = int(starts[first]), int(starts[last]) if last < len(starts) else len(mixed)
            smallest = self._smallest(mixed[begin:end], starts[first:last] - begin)
            keys[filled[first:last]] = self._banded(smallest)
        return keys

    def _smallest(self, hashes: npt.NDArray[np.uint32], starts: I64) -> npt.NDArray[np.uint32]:
        """Return the signature (permutations, sets): under each permutation the smallest hash of each set."""
        out = np.empty((len(self._a), len(starts)), dtype=np.uint32)
        work = np.empty_like(hashes)
        for place, (a, b) in enumerate(zip(self._a, self._b, strict=True)):
            np.bitwise_xor(hashes, b, out=work)
            np.multiply(work, a, out=work)
            np.minimum.reduceat(work, starts, out=out[place])
        return out

    def _banded(self, smallest: npt.NDArray[np.uint32]) -> U64:
        keys = np.zeros((smallest.shape[1], self.bands.number), dtype=np.uint64)
        for band in range(self.bands.number):
            for row in range(self.bands.rows):
                keys[:, band] *= np.uint64(0x9E3779B97F4A7C15)
                keys[:, band] += smallest[band * self.bands.rows + row]
        return keys


def mixed(hashes: U64) -> npt.NDArray[np.uint32]:
    """Return 32 bits that depend on all 64 (the finaliser of SplitMix64)."""
    out = hashes ^ (hashes >> np.uint64(30))
    out *= np.uint64(0xBF58476D1CE4E5B9)
    out ^= out >> np.uint64(27)
    return (out >> np.uint64(32)).astype(np.uint32)


def _blocks(edges: I64) -> Iterable[tuple[int, int]]:
    """Cut sets into runs of about :data:`BLOCK` shingles; ``edges`` are their starts and the end."""
    first, sets = 0, len(edges) - 1
    while first < sets:
        last = int(np.searchsorted(edges, edges[first] + BLOCK, side="right")) - 1
        last = min(max(last, first + 1), sets)
        yield first, last
        first = last


def buckets(keys: U64, rows: I64) -> Iterable[I64]:
    """Yield, for each band, the groups of two or more rows with one key, each group in rising order."""
    for band in range(keys.shape[1]):
        column = keys[:, band]
        order = np.argsort(column, kind="stable")
        sorted_ = column[order]
        edges = np.flatnonzero(np.concatenate(([True], sorted_[1:] != sorted_[:-1], [True])))
        sizes = np.diff(edges)
        for place in np.flatnonzero(sizes > 1):
            yield rows[order[edges[place] : edges[place + 1]]]


class Sets:
    """The shingles of all rows as numbers of 32 bits, end to end; one row's as a set when it is asked for."""

    def __init__(self, parts: list[npt.NDArray[np.uint32]], offsets: I64) -> None:
        self._flat = np.concatenate(parts) if parts else np.empty(0, dtype=np.uint32)
        self._offsets = offsets
        self._get = lru_cache(maxsize=50_000)(self._made)

    def __getitem__(self, row: int) -> frozenset[int]:
        return self._get(row)

    def _made(self, row: int) -> frozenset[int]:
        return frozenset(self._flat[self._offsets[row] : self._offsets[row + 1]].tolist())


def near(
    groups: Iterable[I64], sets: Sets, threshold: float, tick: Callable[[str], None] = lambda _: None
) -> dict[int, list[int]]:
    """Return for each row the earlier rows of its buckets whose Jaccard index with it is at least ``threshold``.

    Pairs that are not near are not remembered: among rows of one template they are more than memory holds. A pair seldom
    meets in a second band unless it is near. ``tick`` is told now and then how many pairs were compared.
    """
    found: dict[int, list[int]] = {}
    compared, due = 0, TICK
    for group in groups:
        leaders: list[int] = []
        for row in group.tolist():
            known, own = found.get(row, ()), sets[row]
            fresh = [one for one in leaders if one not in known]
            close = [one for one in fresh if jaccard(sets[one], own) >= threshold]
            if close:
                found.setdefault(row, []).extend(close)
            if not close and len(fresh) == len(leaders) < LEADERS:
                leaders.append(row)
            compared += len(fresh)
            if compared >= due:
                tick(f"compared {compared} pairs of rows")
                due += TICK
    return found


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """Return the size of the intersection over that of the union; 0 for two empty sets."""
    both = len(one & other)
    union = len(one) + len(other) - both
    return both / union if union else 0.0


def dropped(found: dict[int, list[int]]) -> dict[int, int]:
    """Return the rows to drop, each with the kept row that it is near to: a row goes only where an earlier one stays."""
    gone: dict[int, int] = {}
    for row in sorted(found):
        keeper = next((earlier for earlier in sorted(found[row]) if earlier not in gone), None)
        if keeper is not None:
            gone[row] = keeper
    return gone
