"""The words of whole columns as 64-bit hashes, by Arrow and numpy: what near-duplicates and n-gram overlap rest on.

The same words and the same hashes as ``hpc_trex.ftbench.ngrams``, which does it text by text: texts of ASCII only go
through a table of bytes, the others through that module's own expression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hpc_trex.ftbench.ngrams import BASE, MASK, word_hash, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datasets import Dataset

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

BATCH = 20_000
"""Rows a time: some megabytes, and small beside what Arrow takes for itself."""
REMEMBERED = 1_000_000
"""Words whose hash is kept at hand; further ones are hashed again."""


class Words(NamedTuple):
    """The words of some texts, end to end; those of text ``i`` are ``hashes[offsets[i]:offsets[i + 1]]``."""

    hashes: U64
    offsets: I64


class Splitter:
    """Splits texts into hashed words, and remembers the hashes of words it has met."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        table = np.full(256, ord(" "), dtype=np.uint8)
        table[128:] = np.arange(128, 256)
        for letter in b"0123456789abcdefghijklmnopqrstuvwxyz":
            table[letter] = letter
        for letter in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ":
            table[letter] = letter + 32
        self._table = table

    def __call__(self, texts: Any) -> Words:
        """Return the words of an Arrow array of strings."""
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.compute as pc  # type: ignore[import-untyped]

        plain = self._spaced(texts)
        lists = pc.ascii_split_whitespace(plain)
        flat = lists.flatten()
        counts = np.diff(lists.offsets.to_numpy().astype(np.int64))
        filled = pc.greater(pc.binary_length(flat), 0).to_numpy(zero_copy_only=False)
        if not filled.all():  # what stands before the first blank and after the last one is an empty word
            owner = np.repeat(np.arange(len(counts)), counts)
            counts = np.bincount(owner[filled], minlength=len(counts))
            flat = flat.filter(pa.array(filled))
        offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        coded = flat.dictionary_encode()
        known = np.fromiter(map(self._hash, coded.dictionary.to_pylist()), dtype=np.uint64)
        hashes = known[coded.indices.to_numpy()] if len(known) else np.empty(0, dtype=np.uint64)
        return Words(hashes, offsets)

    def _spaced(self, texts: Any) -> Any:
        """Return the texts in lower case with a blank for whatever is no letter and no digit."""
        import pyarrow as pa
        import pyarrow.compute as pc

        ascii_ = pc.string_is_ascii(texts)
        if not pc.all(ascii_, min_count=0).as_py():
            marks = ascii_.to_pylist()
            texts = pa.array(
                text if plain else " ".join(words(text)) for text, plain in zip(texts.to_pylist(), marks, strict=True)
            ).cast(pa.string())
        _, offsets, data = texts.buffers()
        if data is None:
            return texts
        translated = self._table[np.frombuffer(data, dtype=np.uint8)]
        return pa.Array.from_buffers(
            texts.type, len(texts), [None, offsets, pa.py_buffer(translated)], offset=texts.offset
        )

    def _hash(self, word: str) -> int:
        found = self._known.get(word)
        if found is None:
            found = word_hash(word)
            if len(self._known) < REMEMBERED:
                self._known[word] = found
        return found


def batches(data: Dataset, *names: str) -> Iterator[list[Any]]:
    """Yield the named columns of a data set as Arrow arrays of strings, :data:`BATCH` rows a time."""
    import pyarrow as pa

    from hpc_trex.data.operators.base import tables

    for table in tables(data, BATCH, *names):
        columns = []
        for name in names:
            array = table[name].combine_chunks()
            array = pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array
            columns.append(array.cast(pa.string()))
        yield columns


def ngrams(split: Words, n: int) -> Words:
    """Return the polynomial hash of each run of ``n`` words (:func:`hpc_trex.ftbench.ngrams.gram_hashes`)."""
    counts = np.maximum(np.diff(split.offsets) - n + 1, 0)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    total = int(offsets[-1])
    if not total:
        return Words(np.empty(0, dtype=np.uint64), offsets)
    # The first word of each n-gram: those of a text follow each other, and the last n - 1 words begin none.
    starts = np.arange(total) + np.repeat(split.offsets[:-1] - offsets[:-1], counts)
    hashes = split.hashes[starts].copy()
    base = np.uint64(BASE & MASK)
    for step in range(1, n):
        hashes *= base
        hashes += split.hashes[starts + step]
    return Words(hashes, offsets)


def shingles(split: Words, n: int) -> Words:
    """Return the n-grams of each text; of one that is shorter, its words as one shingle; of one without words, none."""
    grams = ngrams(split, n)
    lengths = np.diff(split.offsets)
    short = np.flatnonzero((lengths > 0) & (lengths < n))
    if not len(short):
        return grams
    base, whole = np.uint64(BASE & MASK), np.zeros(len(short), dtype=np.uint64)
    for step in range(n - 1):
        has = lengths[short] > step
        whole[has] = whole[has] * base + split.hashes[split.offsets[:-1][short[has]] + step]
    counts = np.diff(grams.offsets)
    hashes = np.insert(grams.hashes, grams.offsets[:-1][short], whole)
    counts[short] = 1
    return Words(hashes, np.concatenate(([0], np.cumsum(counts))).astype(np.int64))


def joined(parts: list[Words]) -> Words:
    """Return the words of several columns row by row: those of the first, then those of the next."""
    if len(parts) == 1:
        return parts[0]
    counts = sum(np.diff(part.offsets) for part in parts)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    hashes = np.empty(int(offsets[-1]), dtype=np.uint64)
    at = offsets[:-1].copy()
    for part in parts:
        lengths = np.diff(part.offsets)
        places = np.arange(len(part.hashes)) + np.repeat(at - part.offsets[:-1], lengths)
        hashes[places] = part.hashes
        at += lengths
    return Words(hashes, offsets)
