"""Decontamination: rows that are evaluated on are never trained on, matched as whole prompts and by word n-grams.

The job sees hashes only. A block list has a line for each normalised dev and test prompt (SHA-256) and for each telling
word n-gram of prompts and answers (``n13:`` and 16 hex digits; ``hpc_trex.ftbench.ngrams``). Lists of searches that are
older than the n-grams hold whole prompts only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hpc_trex.data import words
from hpc_trex.data.errors import DataProblem
from hpc_trex.data.operators.base import Outcome, dropped, picked, texts
from hpc_trex.ftbench.ngrams import NGRAM
from hpc_trex.ftbench.rows import Row, item_hash

if TYPE_CHECKING:
    from datasets import Dataset

_HASH = re.compile(r"[0-9a-f]{64}")
_GRAM = re.compile(rf"n{NGRAM}:([0-9a-f]{{16}})")
_PART = re.compile(r"(#\d+)+$")
"""What a python step adds to the id of the row that it makes several of."""
_FILTER_BITS = 24


class Block(NamedTuple):
    """What must not be trained on."""

    items: frozenset[str]
    grams: words.U64
    """Sorted."""

    def counts(self) -> dict[str, object]:
        """Return how much there is of it, for the manifest."""
        return {"items": len(self.items), "ngrams": len(self.grams), "n": NGRAM}


def read_block(files: Iterable[Path]) -> Block:
    """Return what all files block: hashes, a line each, or JSON rows with a ``prompt``.

    Raises :class:`DataProblem` for a file that cannot be read: training without the check is not an option.
    """
    items: set[str] = set()
    grams: list[int] = []
    for path in files:
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                gram = _GRAM.fullmatch(line)
                if gram is not None:
                    grams.append(int(gram[1], 16))
                else:
                    items.add(line if _HASH.fullmatch(line) else item_hash(json.loads(line)["prompt"]))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise DataProblem(f"the block list {path} cannot be read: {error}", hint="start the search anew") from error
    return Block(frozenset(items), np.unique(np.array(grams, dtype=np.uint64)))


def blocked_ids(rows: Iterable[Row], block: Block) -> frozenset[str]:
    """Return the ids of the rows whose prompt is blocked."""
    return frozenset(row.row_id for row in rows if item_hash(row.prompt) in block.items)


def outside(data: Dataset, block: Block, origins: Collection[str] = ()) -> Outcome:
    """Return the rows of which neither the prompt nor a telling n-gram is blocked, and that were made of no row of ``origins``."""
    whole = np.fromiter((item_hash(prompt) in block.items for (prompt,) in texts(data, "prompt")), dtype=bool)
    made = np.zeros(len(data), dtype=bool)
    if origins:
        ids = (_PART.sub("", name) for (name,) in texts(data, "row_id"))
        made = np.fromiter((name in origins for name in ids), dtype=bool) & ~whole
    part = _overlapping(data, block.grams) & ~whole & ~made
    drops = [
        dropped(data, np.flatnonzero(whole), "the prompt stands in dev or test"),
        dropped(data, np.flatnonzero(made), "made of a row whose prompt stands in dev or test"),
        dropped(data, np.flatnonzero(part), f"{NGRAM} words in a row stand in dev or test"),
    ]
    return picked(data, np.flatnonzero(~whole & ~made & ~part), drops)


def _overlapping(data: Dataset, grams: words.U64) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell of each row whether its prompt or its answer holds a blocked n-gram."""
    marks = np.zeros(len(data), dtype=bool)
    if not len(grams):
        return marks
    shift = np.uint64(64 - _FILTER_BITS)
    # One look into a table settles nearly every n-gram; a search among the sorted hashes only the rest.
    possible = np.zeros(2**_FILTER_BITS, dtype=bool)
    possible[grams >> shift] = True
    split, first = words.Splitter(), 0
    for arrays in words.batches(data, "prompt", "answer"):
        for array in arrays:
            found = words.ngrams(split(array), NGRAM)
            at = np.flatnonzero(possible[found.hashes >> shift])
            near = found.hashes[at]
            where = np.minimum(np.searchsorted(grams, near), len(grams) - 1)
            hits = at[grams[where] == near]
            marks[first + np.searchsorted(found.offsets, hits, side="right") - 1] = True
        first += len(arrays[0])
    return marks
