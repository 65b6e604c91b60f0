"""The operator that drops copies: equal rows, or rows that share most of their words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xxhash

from hpc_trex.data import minhash, words
from hpc_trex.data.operators.base import Context, Outcome, dropped, kept, picked, texts
from hpc_trex.ftbench.rows import normalised
from hpc_trex.models.operators import Dedup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datasets import Dataset

THRESHOLD = 0.8
NGRAM = 3
COSINE = 0.95

#: Of the permutations: the same rows are near to each other under every seed of a recipe.
SEED = 0


def dedup(step: Dedup, data: Dataset, context: Context) -> Outcome:
    """Keep the first of equal rows, or of rows that are near to it."""
    outcome = kept(data, _firsts(step, data), f"copy of an earlier row ({' and '.join(step.columns)})")
    if step.method == "exact":
        return outcome
    assert outcome.places is not None
    if step.method == "semantic":
        return _alike(step, data, outcome, context)
    context.tick(f"near-duplicates of {len(outcome.data)} rows")
    threshold = THRESHOLD if step.threshold is None else step.threshold
    bands = minhash.bands_for(threshold)
    gone = _near(step, outcome.data, threshold, bands, context)
    lost = np.fromiter(sorted(gone), dtype=np.int64, count=len(gone))
    stays = np.delete(np.arange(len(outcome.data)), lost)
    drop = dropped(outcome.data, lost, f"at least {threshold:g} like an earlier row ({' and '.join(step.columns)})")
    notes: dict[str, object] = {"bands": bands.number, "rows_a_band": bands.rows}
    return picked(data, outcome.places[stays], [*outcome.drops, drop], **notes)


def _alike(step: Dedup, data: Dataset, outcome: Outcome, context: Context) -> Outcome:
    """Drop of the rows that ``outcome`` left those whose embeddings are close to an earlier one's."""
    from hpc_trex.data.embed import close_to_earlier, embeddings

    assert outcome.places is not None
    threshold = COSINE if step.threshold is None else step.threshold
    lost = close_to_earlier(embeddings(outcome.data, context, step.columns), threshold, context.tick)
    stays = np.delete(np.arange(len(outcome.data)), lost)
    drop = dropped(outcome.data, lost, f"a cosine of at least {threshold:g} with an earlier row")
    return picked(data, outcome.places[stays], [*outcome.drops, drop])


def _firsts(step: Dedup, data: Dataset) -> Iterator[bool]:
    """Tell of each row whether it is the first of its kind, by 128 bits of the normalised texts."""
    seen: set[int] = set()
    for row in texts(data, *step.columns):
        # A normalised text holds no line break, so no two rows are joined to the same text.
        key = xxhash.xxh3_128_intdigest("\n".join(map(normalised, row)).encode("utf-8", "surrogatepass"))
        yield key not in seen
        seen.add(key)


def _near(step: Dedup, data: Dataset, threshold: float, bands: minhash.Bands, context: Context) -> dict[int, int]:
    """Return the rows that are near to an earlier one that stays."""
    split, hasher = words.Splitter(), minhash.Hasher(bands, SEED)
    parts, lengths, keys = [], [], []
    done = 0
    for arrays in words.batches(data, *step.columns):
        sets = words.shingles(words.joined([split(array) for array in arrays]), step.ngram or NGRAM)
        counts, mixed = np.diff(sets.offsets), minhash.mixed(sets.hashes)
        parts.append(mixed)
        lengths.append(counts)
        keys.append(hasher.keys(counts, mixed))
        done += len(counts)
        context.tick(f"hashed {done} of {len(data)} rows")
    counts = np.concatenate(lengths)
    sets_ = minhash.Sets(parts, np.concatenate(([0], np.cumsum(counts))))
    filled = np.flatnonzero(counts)
    groups = minhash.buckets(np.concatenate(keys)[filled], filled)
    return minhash.dropped(minhash.near(groups, sets_, threshold, context.tick))
