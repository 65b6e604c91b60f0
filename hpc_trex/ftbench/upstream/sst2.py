"""SST-2: training rows are phrases of whole sentences, so the dev split is carved out by sentence (task sst-2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.upstream.files import rows_of, wrong

DEV_SENTENCES = 600
"""Whole sentences for dev; at 90 % right the 95 % interval is 2.4 points to either side."""
SEED = 0
_ENDS = (".", "!", "?")
"""What a whole sentence ends with. A row that is part of no other may be a phrase of a sentence that is itself no row: those
of neutral sentences are."""
_HELD_OUT = "validation"
"""Files whose names begin so hold the rows that the task is tested on."""


class Phrase(NamedTuple):
    """A row and the longest one that it is a part of, both as their words with one blank between."""

    columns: dict[str, Any]
    words: str
    sentence: str


def read_train(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield the training rows that are part of no dev sentence, and are no row of the test.

    ``paths``: the training files, and the ``validation`` files whose rows are left out. Raises :class:`UsageProblem`
    naming file and row for a row that is not ``idx, sentence, label``.
    """
    phrases, test = _phrases(paths)
    dev = _dev_sentences(phrases, test)
    yield from (one.columns for one in phrases if one.sentence not in dev and one.words not in test)


def read_dev(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield the rows that are whole dev sentences; ``paths`` as for :func:`read_train`."""
    phrases, test = _phrases(paths)
    dev = _dev_sentences(phrases, test)
    seen: set[str] = set()
    for one in phrases:
        if one.words in dev and one.words == one.sentence and one.words not in seen:
            seen.add(one.words)
            yield one.columns


def _dev_sentences(phrases: list[Phrase], test: set[str]) -> set[str]:
    """Return the sentences that the hash of seed and words puts first; one that is the test's too is passed over."""
    whole = {one.sentence for one in phrases if one.sentence.endswith(_ENDS)} - test
    if len(whole) < 2 * DEV_SENTENCES:
        raise UsageProblem(
            f"SST-2: {len(whole)} whole sentences are too few to take {DEV_SENTENCES} for dev",
            hint="the download is not the whole data set",
        )
    order = sorted(whole, key=lambda words: hashlib.sha256(f"{SEED}\0{words}".encode()).digest())
    return set(order[:DEV_SENTENCES])


def _phrases(paths: Sequence[Path]) -> tuple[list[Phrase], set[str]]:
    """Return the training rows with their sentences, and the words of every test row."""
    rows, test = [], set()
    for path in paths:
        for row in rows_of(path):
            words = _words(row.columns, row.where)
            if path.name.startswith(_HELD_OUT):
                test.add(words)
            else:
                rows.append((row.columns, words))
    owner = _sentences({words for _, words in rows})
    return [Phrase(columns, words, owner[words]) for columns, words in rows], test


def _words(columns: dict[str, Any], where: str) -> str:
    text, label = columns.get("sentence"), columns.get("label")
    if not isinstance(text, str) or not text.strip() or label not in (0, 1):
        raise wrong(where, f"not a row of SST-2: sentence is {text!r:.60}, label {label!r:.20}")
    return " ".join(text.split())


def _sentences(phrases: set[str]) -> dict[str, str]:
    """Return, for each phrase, the longest one that it is a run of words of; itself where there is none.

    Of several sentences the one of most words is taken, then the first by its hash: in no order of the file. A phrase that
    two sentences share ("the film") belongs to one of them only.
    """
    order = sorted(phrases, key=lambda words: (-words.count(" "), hashlib.sha256(words.encode()).digest()))
    owner: dict[str, str] = {}
    for sentence in order:
        if sentence in owner:
            continue  # part of a longer one, and so are its own parts
        words = sentence.split(" ")
        for start in range(len(words)):
            for end in range(start + 1, len(words) + 1):
                part = " ".join(words[start:end])
                if part in phrases:
                    owner.setdefault(part, sentence)
    return owner
