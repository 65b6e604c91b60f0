"""Rows that are nearly a short prompt of dev or test, whole columns at once (:mod:`hpc_trex.ftbench.similar` says how)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from hpc_trex.data import minhash, words
from hpc_trex.ftbench import similar as rules

if TYPE_CHECKING:
    from datasets import Dataset

    from hpc_trex.data.words import U64

Marks = npt.NDArray[np.bool_]


class Prints(NamedTuple):
    """The fingerprints of a block list."""

    keys: npt.NDArray[np.uint32]
    """(prompts, bands)"""
    common: U64
    """Sorted: runs that count for none."""
    longest: int
    """Signs of the longest of these prompts: a row that is much longer is something else."""


def prints(keys: Sequence[Sequence[int]], common: Sequence[int], longest: int) -> Prints:
    """Return the fingerprints as a block list has them."""
    table = np.array(keys, dtype=np.uint32).reshape(len(keys), rules.BANDS)
    return Prints(table, np.unique(np.array(common, dtype=np.uint64)), longest)


NOTHING = prints([], [], 0)


def near(data: Dataset, blocked: Prints) -> Marks:
    """Tell of each row whether its prompt is nearly a blocked one."""
    marks = np.zeros(len(data), dtype=np.bool_)
    if not len(blocked.keys):
        return marks
    order = np.argsort(blocked.keys, axis=0)
    hasher = minhash.Hasher(minhash.Bands(rules.BANDS, rules.ROWS), 0, (rules.FACTORS, rules.MASKS))
    first = 0
    for (array,) in words.batches(data, "prompt"):
        texts: list[str] = array.to_pylist()
        few = [place for place, text in enumerate(texts) if len(text) <= 2 * blocked.longest]
        if few:
            told = _telling([texts[place] for place in few], blocked.common)
            counts = np.diff(told.offsets)
            keys = hasher.keys(counts, minhash.mixed(told.hashes)).astype(np.uint32)
            usable = (counts >= rules.LEAST // 2) & (counts <= 2 * rules.MOST)
            marks[first + np.array(few)] = usable & (_agreeing(keys, blocked.keys, order) >= rules.AGREE)
        first += len(texts)
    return marks


def _telling(texts: list[str], common: U64) -> words.Words:
    """Return the runs of characters of each text without those that are common, as 64-bit hashes."""
    plain = [rules.plain(text) for text in texts]
    signs = np.frombuffer("".join(plain).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    offsets = np.concatenate(([0], np.cumsum([len(text) for text in plain]))).astype(np.int64)
    runs = words.ngrams(words.Words(signs, offsets), rules.GRAM)
    if not len(common):
        return runs
    where = np.minimum(np.searchsorted(common, runs.hashes), len(common) - 1)
    told = common[where] != runs.hashes
    sums = np.concatenate(([0], np.cumsum(told)))
    return words.Words(runs.hashes[told], sums[runs.offsets])


def _agreeing(keys: npt.NDArray[np.uint32], blocked: npt.NDArray[np.uint32], order: words.I64) -> words.I64:
    """Return for each row in how many bands its keys are those of one blocked prompt, of the one where they are most."""
    pairs = []
    for band in range(rules.BANDS):
        column = blocked[order[:, band], band]
        low = np.searchsorted(column, keys[:, band], side="left")
        counts = np.searchsorted(column, keys[:, band], side="right") - low
        rows = np.flatnonzero(counts)
        if len(rows):
            sizes = counts[rows]
            inside = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            prompts = order[np.repeat(low[rows], sizes) + inside, band]
            pairs.append(np.repeat(rows, sizes) * np.int64(len(blocked)) + prompts)
    most = np.zeros(len(keys), dtype=np.int64)
    if pairs:
        both, times = np.unique(np.concatenate(pairs), return_counts=True)
        np.maximum.at(most, both // len(blocked), times)
    return most
