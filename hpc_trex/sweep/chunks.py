"""Which elements go into which array: pure arithmetic, so that its rules can be tested for every size.

Slurm's MaxArraySize caps the *index*, not the count, and a resumed sweep has holes. So an array's indices always begin at 0 and
its record says which element each index means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Chunk(NamedTuple):
    """One array to submit."""

    elements: tuple[int, ...]
    throttle: int | None
    """At most so many of them at once; None: no limit."""
    waits: bool
    """It starts when the arrays before it (of this sweep, live or of this submission) are over."""

    @property
    def indices(self) -> str:
        """The value of ``--array``."""
        span = "0" if len(self.elements) == 1 else f"0-{len(self.elements) - 1}"
        return span if self.throttle is None else f"{span}%{self.throttle}"


def chunks(elements: Sequence[int], cap: int, throttle: int | None = None, live: int = 0) -> list[Chunk]:
    """Return the arrays for these elements, as few as possible: none longer than ``cap``, so no index reaches it.

    With a ``throttle`` at most so many elements of the sweep run at once, the ``live`` ones of earlier arrays included:
    the first array gets what they leave, each further one waits for all before it. Where they leave nothing, the
    first waits too.
    """
    if cap < 1:
        raise ValueError(f"an array holds at least one element, not {cap}")
    wanted = sorted(set(elements))
    parts = [tuple(wanted[start : start + cap]) for start in range(0, len(wanted), cap)]
    if throttle is None:
        return [Chunk(part, None, waits=False) for part in parts]
    left = throttle - live
    first_waits = left < 1
    shares = [throttle if first_waits or number else left for number in range(len(parts))]
    return [
        Chunk(part, min(share, len(part)), waits=first_waits or number > 0)
        for number, (part, share) in enumerate(zip(parts, shares, strict=True))
    ]
