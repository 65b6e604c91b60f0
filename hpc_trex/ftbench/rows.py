"""The canonical row of every file on the way from a task card to a training, and what makes two prompts the same."""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Row(NamedTuple):
    """One row as it stands in JSONL: ``row_id`` is ``source:line``, ``source`` the name of its source in the card."""

    row_id: str
    prompt: str
    answer: str
    source: str


def normalised(text: str) -> str:
    """Return the text in lower case with every run of white space squeezed to one blank: the identity of a prompt."""
    return " ".join(text.lower().split())


def identity_hash(identity: str) -> str:
    """Return the SHA-256 of what a card's ``prompt.identity`` says of a row, letter by letter: in SMILES case has meaning."""
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()


def item_hash(prompt: str) -> str:
    """Return the SHA-256 of the normalised prompt: what ``block.txt`` holds and training rows are checked against."""
    return hashlib.sha256(normalised(prompt).encode("utf-8", "surrogatepass")).hexdigest()
