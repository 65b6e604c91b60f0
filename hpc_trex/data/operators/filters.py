"""Operators that drop rows by what stands in them: length, pattern, agreement."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from hpc_trex.data.errors import DataProblem
from hpc_trex.data.operators.base import Context, Outcome, column, kept, texts
from hpc_trex.ftbench.rows import normalised
from hpc_trex.models.base import one_line
from hpc_trex.models.operators import FilterConflicts, FilterLength, FilterRegex

if TYPE_CHECKING:
    from datasets import Dataset


def filter_length(step: FilterLength, data: Dataset, context: Context) -> Outcome:  # noqa: ARG001
    """Keep texts of a length in characters."""
    longest = step.max_chars if step.max_chars is not None else float("inf")
    keep = (step.min_chars <= len(text) <= longest for (text,) in texts(data, step.column))
    return kept(data, keep, f"length of {step.column} outside {step.min_chars} to {longest}")


def filter_regex(step: FilterRegex, data: Dataset, context: Context) -> Outcome:  # noqa: ARG001
    """Keep or drop texts in which the pattern is found."""
    try:
        pattern = re.compile(step.pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise DataProblem(f"filter_regex: bad pattern {step.pattern!r}: {error}", hint="mend the pattern") from None
    keep = (bool(pattern.search(text)) == step.keep for (text,) in texts(data, step.column))
    pattern_shown = one_line(step.pattern)  # of an agent: what drops are told by goes to terminals
    return kept(data, keep, f"{step.column} {'lacks' if step.keep else 'has'} the pattern {pattern_shown}")


def filter_conflicts(step: FilterConflicts, data: Dataset, context: Context) -> Outcome:  # noqa: ARG001
    """Keep the answer that more than half of a prompt's rows give."""
    prompts = [normalised(text) for text in column(data, "prompt")]
    answers = [normalised(text) for text in column(data, "answer")]
    votes: dict[str, Counter[str]] = {}
    for prompt, answer in zip(prompts, answers, strict=True):
        votes.setdefault(prompt, Counter())[answer] += 1
    keep = [2 * votes[prompt][answer] > votes[prompt].total() for prompt, answer in zip(prompts, answers, strict=True)]
    return kept(data, keep, "another answer to the same prompt has as many votes, or more")
