"""Decontamination: rows that are evaluated on are never trained on, matched as whole prompts and by word n-grams.

The job sees hashes only. A block list has a line for each normalised dev and test prompt (SHA-256) and for each telling
word n-gram of prompts and answers (``n13:`` and 16 hex digits; ``hpc_trex.ftbench.ngrams``), and fingerprints of short prompts
(``hpc_trex.ftbench.similar``). Lists of older searches hold less.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hpc_trex.data import similar, words
from hpc_trex.data.errors import DataProblem
from hpc_trex.data.operators.base import Outcome, dropped, origin, picked, texts
from hpc_trex.ftbench import similar as rules
from hpc_trex.ftbench.ngrams import NGRAM
from hpc_trex.ftbench.rows import Row, item_hash

if TYPE_CHECKING:
    from datasets import Dataset

_HASH = re.compile(r"[0-9a-f]{64}")
_GRAM = re.compile(rf"n{NGRAM}:([0-9a-f]{{16}})")
_FILTER_BITS = 24
FEW = 3
"""Fewer rows than this refuse no round, however small the set."""


class Block(NamedTuple):
    """What must not be trained on."""

    items: frozenset[str]
    grams: words.U64
    """Sorted."""
    short: similar.Prints = similar.NOTHING

    def counts(self) -> dict[str, object]:
        """Return how much there is of it, for the manifest."""
        return {"items": len(self.items), "ngrams": len(self.grams), "n": NGRAM, "short": len(self.short.keys)}


def read_block(files: Iterable[Path]) -> Block:
    """Return what all files block: hashes, a line each, or JSON rows with a ``prompt``.

    Raises :class:`DataProblem` for a file that cannot be read: training without the check is not an option.
    """
    items: set[str] = set()
    grams: list[int] = []
    short: dict[str, list[Any]] = {rules.PRINT: [], rules.RUN: [], rules.LONGEST: []}
    for path in files:
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                gram = _GRAM.fullmatch(line)
                if gram is not None:
                    grams.append(int(gram[1], 16))
                elif (found := rules.read_line(line)) is not None:
                    short[found[0]].append(found[1])
                else:
                    items.add(line if _HASH.fullmatch(line) else item_hash(json.loads(line)["prompt"]))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise DataProblem(f"the block list {path} cannot be read: {error}", hint="start the search anew") from error
    prints = similar.prints(short[rules.PRINT], short[rules.RUN], max(short[rules.LONGEST], default=0))
    return Block(frozenset(items), np.unique(np.array(grams, dtype=np.uint64)), prints)


def blocked_ids(rows: Iterable[Row], block: Block) -> frozenset[str]:
    """Return the ids of the rows whose prompt is blocked."""
    return frozenset(row.row_id for row in rows if item_hash(row.prompt) in block.items)


def outside(data: Dataset, block: Block, origins: Collection[str] = ()) -> Outcome:
    """Return the rows of which neither the prompt, nor nearly the prompt, nor a telling n-gram is blocked, and that were made of
    no row of ``origins``.
    """
    whole = np.fromiter((item_hash(prompt) in block.items for (prompt,) in texts(data, "prompt")), dtype=bool)
    made = np.zeros(len(data), dtype=bool)
    if origins:
        ids = (origin(name) for (name,) in texts(data, "row_id"))
        made = np.fromiter((name in origins for name in ids), dtype=bool) & ~whole
    part = _overlapping(data, block.grams) & ~whole & ~made
    near = similar.near(data, block.short) & ~whole & ~made & ~part
    drops = [
        dropped(data, np.flatnonzero(whole), "the prompt stands in dev or test"),
        dropped(data, np.flatnonzero(made), "made of a row whose prompt stands in dev or test"),
        dropped(data, np.flatnonzero(part), f"{NGRAM} words in a row stand in dev or test"),
        dropped(data, np.flatnonzero(near), "nearly a short prompt of dev or test"),
    ]
    return picked(data, np.flatnonzero(~whole & ~made & ~part & ~near), drops)


def refuse_leaks(outcome: Outcome, rows: int, limit: float) -> None:
    """Raise :class:`DataProblem` where more than ``limit`` of the rows, and :data:`FEW` at least, were from dev or test.

    Dropping them would be enough for a few. So many are no accident: the source or the recipe is about the evaluation.
    """
    hits = sum(drop.rows for drop in outcome.drops)
    if hits < FEW or hits <= limit * rows:
        return
    told = "; ".join(f"{drop.rows} ({drop.reason}): {', '.join(drop.examples[:2])}" for drop in outcome.drops)
    raise DataProblem(
        f"contamination: {hits} of {rows} rows ({hits / rows:.1%}) stand in dev or test, more than {limit:.0%}: {told}",
        hint="leave out the source or the step that they come from; a card may allow more: contamination.refuse",
    )


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
