"""From what a person types to what is looked for, and from a long text to the passage that answers best.

The index holds every three characters in a row (FTS5's trigram tokenizer), so it needs no spaces between words and finds
parts of words. What is shorter than three characters it cannot find; that is looked for by reading.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from typing import NamedTuple

from hpc_trex.research.protocol import clean

MOST_TERMS = 24
PASSAGE = 600
#: Occurrences of one term that are looked at for the best passage.
_MOST_HITS = 200
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_PARTS = re.compile(f"[{_UNSPACED}]+|[^\\s{_UNSPACED}]+")
_STOP = {"a", "an", "and", "are", "as", "at", "by", "for", "from", "how", "in", "is", "it", "of", "on", "or", "that", "the",
         "this", "to", "what", "with"}  # fmt: skip


class Terms(NamedTuple):
    """What is looked for: any of it, the more the better."""

    long: tuple[str, ...]
    """Three characters or more: the index finds them."""
    short: tuple[str, ...]
    """One or two characters."""

    @property
    def all(self) -> tuple[str, ...]:
        return self.long + self.short


def terms_of(query: str) -> Terms:
    """Take a query apart. Nothing in it is syntax: quotes, ``AND``, ``NEAR``, ``*`` and ``C++`` are ordinary text."""
    words = []
    for word in _PARTS.findall(unicodedata.normalize("NFC", clean(query, 500))):
        bare = _bare(word) or word
        if re.match(f"[{_UNSPACED}]", bare) and len(bare) > 3:
            words += [bare[at : at + 3] for at in range(len(bare) - 2)]  # no spaces tell where its words end
        else:
            words.append(bare)
    words = list(dict.fromkeys(word.lower() for word in words))
    telling = [word for word in words if word not in _STOP] or words
    kept = telling[:MOST_TERMS]
    return Terms(tuple(word for word in kept if len(word) >= 3), tuple(word for word in kept if len(word) < 3))


def _bare(word: str) -> str:
    """Return a word without the punctuation around it; ``C++`` and ``C#`` keep theirs."""
    kept = [at for at, char in enumerate(word) if char in "+#" or unicodedata.category(char)[0] not in "PS"]
    return word[kept[0] : kept[-1] + 1] if kept else ""


def match_expression(long: tuple[str, ...]) -> str:
    """Return the FTS5 expression for any of the terms, each as a quoted string."""
    return " OR ".join('"' + term.replace('"', '""') + '"' for term in long)


def like_pattern(term: str) -> str:
    """Return the LIKE pattern of a term; its escape character is a backslash."""
    return "%" + re.sub(r"([%_\\])", r"\\\1", term) + "%"


def pattern(term: str) -> re.Pattern[str]:
    """Return what finds a term in a text: a short Latin one only as a word (``RL`` is not in ``early``)."""
    found = re.escape(term)
    if len(term) < 3 and term.isascii():
        found = rf"(?<![^\W_]){found}(?![^\W_])" if term.isalnum() else rf"(?<![^\W_]){found}"
    return re.compile(found, re.IGNORECASE)


def count_terms(text: str, terms: Terms) -> int:
    """Return how many of the terms stand in a text."""
    return sum(pattern(term).search(text) is not None for term in terms.all)


def passage(text: str, terms: Terms, width: int = PASSAGE) -> str:
    """Return the part of a text that holds most of the terms, on one line of at most ``width`` characters."""
    hits = []
    for index, term in enumerate(terms.all):
        for count, match in enumerate(pattern(term).finditer(text)):
            if count >= _MOST_HITS:
                break
            hits.append((match.start(), index))
    hits.sort()
    places = [place for place, _ in hits]
    best, most = 0, 0
    for start, place in enumerate(places):
        inside = hits[start : bisect_right(places, place + width * 2 // 3)]
        distinct = len({index for _, index in inside})
        if distinct > most:
            best, most = place, distinct
    begin = max(0, best - width // 6)
    if begin:
        space = text.find(" ", begin, best)  # not in the middle of a word, where there are words
        begin = begin if space < 0 else space + 1
    return clean(("… " if begin else "") + text[begin : begin + 2 * width], width)
