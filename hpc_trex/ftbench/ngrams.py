"""Word n-grams of the evaluation rows, as hashes: how a training row that holds part of one is known.

A row of the evaluation counts as leaked where 13 of its words in a row stand in a training row (the n of GPT-3, arXiv
2005.14165, appendix C). A word is a run of letters and digits in lower case; of Chinese, Japanese and Korean each sign
is one. What a card's template puts into many rows marks none of them: a phrase of :data:`PHRASE` words that many rows
share, or many of one kind (of twenty tasks in one card each has a template), is boilerplate, and an n-gram counts only where
more than half of its words are not.

No numpy: a login node writes the hashes. ``hpc_trex.data.words`` computes the same ones for whole columns at once.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

NGRAM = 13
"""Words; a shorter row is matched as a whole prompt only."""
PHRASE = 4
SHARE = 0.05
"""A phrase in at least this share of the rows, and in three of them, is boilerplate."""
FEWEST = 3
FEWEST_OF_KIND = 10
"""The same of the rows of one kind: more, since kinds are small, and a text that some of its rows share is no template."""
COUNTED = 2000
"""So many rows, evenly spaced, tell which phrases are common: enough for a share, and small on a login node."""
BASE = 0x9E3779B97F4A7C15
"""Of the polynomial that joins word hashes modulo 2**64; any odd number of 64 mixed bits will do."""
MASK = 2**64 - 1

#: Hiragana to Katakana, CJK ideographs with extension A and compatibility forms, Hangul syllables.
SIGNS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
T = TypeVar("T")
_WORD = re.compile(rf"[{SIGNS}]|[^\W_{SIGNS}]+")


def words(text: str) -> list[str]:
    """Return the words of a text: lower case, without punctuation."""
    return _WORD.findall(text.lower())


def word_hash(word: str) -> int:
    """Return 64 bits of a word: the first eight bytes, little-endian, of BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def gram_hashes(hashes: Sequence[int], n: int) -> list[int]:
    """Return the polynomial hash of each run of ``n`` word hashes, in order; none where there are fewer."""
    power = pow(BASE, n, MASK + 1)
    before = [0]
    for one in hashes:
        before.append((before[-1] * BASE + one) & MASK)
    return [(before[end] - before[end - n] * power) & MASK for end in range(n, len(before))]


def telling_ngrams(texts: Sequence[str], n: int = NGRAM, kinds: Sequence[str] = ()) -> set[int]:
    """Return the hashes of the n-grams that tell one of these texts: those that are not mostly boilerplate of many.

    ``kinds``: the kind of each text, where the card tells them apart.
    """
    hashed = [[word_hash(word) for word in words(text)] for text in texts]
    common = shared(hashed, lambda one: set(gram_hashes(one, PHRASE)), kinds)
    found: set[int] = set()
    for one in hashed:
        own = [1] * len(one)
        for place, phrase in enumerate(gram_hashes(one, PHRASE)):
            if phrase in common:
                own[place : place + PHRASE] = [0] * PHRASE
        found.update(gram for gram, count in zip(gram_hashes(one, n), _sums(own, n), strict=True) if 2 * count > n)
    return found


def shared(rows: Sequence[T], parts: Callable[[T], Collection[int]], kinds: Sequence[str] = ()) -> set[int]:
    """Return the parts that so many rows have, or so many of one kind, that they tell none of them."""
    found = _frequent(rows, parts, FEWEST)
    of_kind: dict[str, list[T]] = {}
    for row, kind in zip(rows, kinds, strict=bool(kinds)):
        of_kind.setdefault(kind, []).append(row)
    for several in of_kind.values():
        found |= _frequent(several, parts, FEWEST_OF_KIND)
    return found


def _frequent(rows: Sequence[T], parts: Callable[[T], Collection[int]], fewest: int) -> set[int]:
    looked = rows[:: max(1, len(rows) // COUNTED)]
    times = Counter(part for row in looked for part in parts(row))
    least = max(fewest, SHARE * len(looked))
    return {part for part, count in times.items() if count >= least}


def _sums(values: Sequence[int], n: int) -> Iterator[int]:
    total = sum(values[:n])
    for end in range(n, len(values) + 1):
        yield total
        if end < len(values):
            total += values[end] - values[end - n]
