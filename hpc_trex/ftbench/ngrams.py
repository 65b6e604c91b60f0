"""Word n-grams of the evaluation rows, as hashes: how a training row that holds part of one is known.

A row of the evaluation counts as leaked where 13 of its words in a row stand in a training row (the n of GPT-3, arXiv
2005.14165, appendix C). A word is a run of letters and digits in lower case; of Chinese, Japanese and Korean each sign
is one. What a card's template puts into many rows marks none of them: a phrase of :data:`PHRASE` words that many rows
share is boilerplate, and an n-gram counts only where more than half of its words are not.

No numpy: a login node writes the hashes. ``hpc_trex.data.words`` computes the same ones for whole columns at once.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence

NGRAM = 13
"""Words; a shorter row is matched as a whole prompt only."""
PHRASE = 4
SHARE = 0.05
"""A phrase in at least this share of the rows, and in three of them, is boilerplate."""
FEWEST = 3
COUNTED = 2000
"""So many rows, evenly spaced, tell which phrases are common: enough for a share, and small on a login node."""
BASE = 0x9E3779B97F4A7C15
"""Of the polynomial that joins word hashes modulo 2**64; any odd number of 64 mixed bits will do."""
MASK = 2**64 - 1

#: Hiragana to Katakana, CJK ideographs with extension A and compatibility forms, Hangul syllables.
SIGNS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
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


def telling_ngrams(texts: Sequence[str], n: int = NGRAM) -> set[int]:
    """Return the hashes of the n-grams that tell one of these texts: those that are not mostly boilerplate of many."""
    hashed = [[word_hash(word) for word in words(text)] for text in texts]
    common = _common(hashed)
    found: set[int] = set()
    for one in hashed:
        own = [1] * len(one)
        for place, phrase in enumerate(gram_hashes(one, PHRASE)):
            if phrase in common:
                own[place : place + PHRASE] = [0] * PHRASE
        found.update(gram for gram, count in zip(gram_hashes(one, n), _sums(own, n), strict=True) if 2 * count > n)
    return found


def _common(hashed: Sequence[Sequence[int]]) -> set[int]:
    step = max(1, len(hashed) // COUNTED)
    looked = hashed[::step]
    times = Counter(phrase for one in looked for phrase in set(gram_hashes(one, PHRASE)))
    least = max(FEWEST, SHARE * len(looked))
    return {phrase for phrase, rows in times.items() if rows >= least}


def _sums(values: Sequence[int], n: int) -> Iterator[int]:
    total = sum(values[:n])
    for end in range(n, len(values) + 1):
        yield total
        if end < len(values):
            total += values[end] - values[end - n]
