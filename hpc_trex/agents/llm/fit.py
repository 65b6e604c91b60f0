"""Parts of a context, and how they are made to fit a token budget.

The order is fixed. Parts are taken from the lowest priority up. Each is first shortened to one line an entry, then its
entries are left out, the first of them first, until all fits; what was done stands below the part. Only if that is
not enough do parts vanish whole, in the same order. A part of priority ``MUST`` is never touched: where these alone
are too long, :class:`ContextTooSmall` says how many tokens they need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from hpc_trex.agents.llm.fence import fence, neutral
from hpc_trex.errors import UsageProblem

#: Priority of what is never left out.
MUST = 100

#: Characters of ASCII text for one token. Prose has about 4, JSON and numbers fewer: the lower figure is the safe one.
ASCII_PER_TOKEN = 3.2


class ContextTooSmall(UsageProblem):
    """The budget does not hold even what must be told (exit code 2)."""


class Part(NamedTuple):
    """One titled piece of a context. An empty line parts its entries, the least important first."""

    title: str
    text: str
    priority: int
    unit: str = "earlier entries"
    """What the entries are called where some are left out."""
    data: bool = False
    """Others wrote it: it is fenced."""
    note: str = ""
    """What was left out; set by :func:`fit`."""


def estimate_tokens(text: str) -> int:
    """Return a conservative count of tokens, the same for every model.

    3.2 ASCII characters are one token, any other character is one, one beyond the basic plane (emoji) two.
    """
    plain = len(text.encode("ascii", "ignore"))
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    return math.ceil(plain / ASCII_PER_TOKEN) + units - plain


def render(parts: Sequence[Part]) -> str:
    """Return the parts as one text."""
    return "\n\n".join(_render(part) for part in parts)


def fit(parts: Sequence[Part], budget_tokens: int, count: Callable[[str], int] = estimate_tokens) -> list[Part]:
    """Return the parts, in their order, so that :func:`render` of them is within the budget.

    Raises :class:`ContextTooSmall` when the parts of priority ``MUST`` alone are longer.
    """
    kept: list[Part | None] = list(parts)
    needed = count(render([part for part in parts if part.priority >= MUST]))
    if needed > budget_tokens:
        raise ContextTooSmall(
            f"the context has room for {max(0, budget_tokens)} tokens; what must be told needs {needed}",
            hint=f"launch again and raise context_tokens of [llm] by {needed - max(0, budget_tokens)} or more (--llm-context-tokens)",
        )

    def fits() -> bool:
        return count(render([part for part in kept if part is not None])) <= budget_tokens

    order = sorted(
        (index for index, part in enumerate(parts) if part.priority < MUST),
        key=lambda index: (parts[index].priority, -index),
    )
    for index in order:
        if fits():
            break
        _shrink(kept, index, fits)
    for index in order:
        if fits():
            break
        kept[index] = None
    return [part for part in kept if part is not None]


def _shrink(kept: list[Part | None], index: int, fits: Callable[[], bool]) -> None:
    """Shorten one part, then leave out as few of its entries as will do: found by halving, all where none will."""
    part = kept[index]
    assert part is not None
    entries = part.text.split("\n\n")
    lines = [entry.split("\n", 1)[0] for entry in entries]
    short = lines != entries
    kept[index] = _with(part, lines, 0, short)
    if fits():
        return
    low, high = 1, len(lines)
    while low < high:
        middle = (low + high) // 2
        kept[index] = _with(part, lines, middle, short)
        low, high = (low, middle) if fits() else (middle + 1, high)
    left = _with(part, lines, low, short)
    kept[index] = left if len(_render(left)) < len(_render(part)) else part  # of a word or two the note is longer


def _with(part: Part, lines: list[str], out: int, short: bool) -> Part:
    notes = []
    if out >= len(lines):
        notes.append(f"all {len(lines)} {part.unit} are left out")
    else:
        notes += [f"{out} {part.unit} {'is' if out == 1 else 'are'} left out"] if out else []
        notes += ["one line each is shown"] if short else []
    return part._replace(text="\n\n".join(lines[out:]), note="; ".join(notes))


@lru_cache(maxsize=64)
def _render(part: Part) -> str:
    body = fence(part.text) if part.data and part.text else neutral(part.text)
    note = f"({part.note})" if part.note else ""
    return "\n".join(piece for piece in (f"## {part.title}", body, note) if piece)
