"""Parts of a context, and how they are made to fit a token budget. Signatures first; bodies follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Part(NamedTuple):
    """One titled piece of a context."""

    title: str
    text: str
    priority: int


def estimate_tokens(text: str) -> int:
    """Return a conservative count of tokens, the same for every model."""
    raise NotImplementedError


def fit(parts: Sequence[Part], budget_tokens: int, count: Callable[[str], int] = estimate_tokens) -> list[Part]:
    """Return the parts within the budget, the lowest priority condensed and left out first."""
    raise NotImplementedError
