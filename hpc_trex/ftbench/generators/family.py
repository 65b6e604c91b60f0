"""What a generated task family is: functions from a random source to (prompt, answer) pairs. No numpy, no files."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple


class Pair(NamedTuple):
    """One row before it has a name: the prompt as the model sees it, and the right answer."""

    prompt: str
    answer: str


class Family(NamedTuple):
    """One family. ``broad`` draws from the distribution of the pre-training corpus.

    Families that a built-in task stands on also have ``task``, which draws from the task's own, different
    distribution, and ``wrong``, which gives a plausible wrong answer to one of the task's pairs.
    """

    name: str
    broad: Callable[[Random], Pair]
    task: Callable[[Random], Pair] | None = None
    wrong: Callable[[Random, Pair], str] | None = None
