"""Do training rows hold what is evaluated on? A second look, at the finished set and apart from the job that made it.

Three ways: the whole prompt, by the hashes of the block list (dev and test: the controller never opens the test); the
whole prompt against dev once signs that cannot be seen, forms of the same letter and runs of blanks are made one, which
is how a row could be brought past the block list; and words in a row, by the n-grams of the block list.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from hpc_trex.ftbench.ngrams import NGRAM, gram_hashes, word_hash, words
from hpc_trex.ftbench.rows import item_hash

_HASH = re.compile(r"[0-9a-f]{64}")
_GRAM = re.compile(rf"n{NGRAM}:([0-9a-f]{{16}})")


class TrainingRow(NamedTuple):
    """A row as it was trained on: the prompt is the model's own text."""

    row_id: str
    prompt: str
    answer: str


class Blocked(NamedTuple):
    """What must not be trained on."""

    items: frozenset[str]
    grams: frozenset[int]


class Leaks(NamedTuple):
    """What was found. Counts are of training rows."""

    rows: int
    """All there are."""
    looked: int
    """So many of them, evenly spaced, were looked at."""
    whole: int = 0
    """Have the prompt of a dev or test row."""
    hidden: int = 0
    """Have a dev prompt in other signs, that no source of the task has."""
    inherent: int = 0
    """Dev prompts that the task's own sources hold in other signs."""
    parts: int = 0
    """Hold n words in a row of dev or test."""
    compared: bool = True
    """Whether prompts could be brought back to the card's text."""
    example: str = ""
    """The id of the first such row."""
    n: int = NGRAM


def read_blocked(lines: Iterable[str]) -> Blocked:
    """Read the block list of a search; what is neither hash nor n-gram is passed over."""
    items, grams = set(), set()
    for line in lines:
        gram = _GRAM.fullmatch(line)
        if gram is not None:
            grams.add(int(gram[1], 16))
        elif _HASH.fullmatch(line):
            items.add(line)
    return Blocked(frozenset(items), frozenset(grams))


def folded(text: str) -> str:
    """Return a text in the form in which two that look the same are the same (NFKC, no format signs, one case)."""
    plain = unicodedata.normalize("NFKC", text)
    seen = "".join(c for c in plain if unicodedata.category(c) != "Cf")
    return " ".join(seen.casefold().split())


def around(rendered: Sequence[TrainingRow], raw: dict[str, str]) -> tuple[str, str] | None:
    """Return what a format puts before and after each prompt, read off a row whose own text is known; else None."""
    for row in rendered:
        own = raw.get(row.row_id, "").strip()
        before, found, after = row.prompt.partition(own) if own else ("", "", "")
        if found and all(one.prompt.startswith(before) and one.prompt.endswith(after) for one in rendered):
            return before, after
    return None


def scan(
    rows: Iterable[TrainingRow],
    total: int,
    affixes: tuple[str, str] | None,
    blocked: Blocked,
    dev: Collection[str],
    sources: Callable[[], Iterable[str]],
) -> Leaks:
    """Look through training rows. ``dev``: its prompts; ``sources``: gives the prompts of the task's own sources, which are
    read only where something was found. ``affixes`` None: prompts are compared by words in a row only.
    """
    known = {folded(prompt) for prompt in dev}
    looked, whole, parts, example = 0, 0, 0, ""
    alike: list[tuple[str, str]] = []
    for row in rows:
        looked += 1
        bare = None if affixes is None else row.prompt[len(affixes[0]) : len(row.prompt) - len(affixes[1])]
        if bare is not None and item_hash(bare) in blocked.items:
            whole += 1
        elif bare is not None and folded(bare) in known:
            alike.append((folded(bare), row.row_id))
        elif blocked.grams and holds(row, blocked.grams):
            parts += 1
        else:
            continue
        example = example or row.row_id
    own = known & {folded(prompt) for prompt in sources()} if alike else set()
    hidden = [name for text, name in alike if text not in own]
    return Leaks(
        rows=total,
        looked=looked,
        whole=whole,
        hidden=len(hidden),
        inherent=len(own & {text for text, _ in alike}),
        parts=parts,
        compared=affixes is not None,
        example=example,
    )


def holds(row: TrainingRow, grams: frozenset[int]) -> bool:
    """Tell whether a row's prompt or answer holds one of these n-grams."""
    texts = (row.prompt, row.answer)
    return any(gram in grams for text in texts for gram in gram_hashes([_hash(one) for one in words(text)], NGRAM))


@lru_cache(maxsize=65536)
def _hash(word: str) -> int:
    return word_hash(word)
