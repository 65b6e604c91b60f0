"""Integer counts for a mixture of sources, by the method of the largest remainder.

Counts, not probabilities: drawing at random, or interleaving until a source is empty, does not give the weights that
were asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from hpc_trex.data.errors import DataProblem


def mix_counts(weights: dict[str, float], available: dict[str, int], total: int | None, repeat: bool) -> dict[str, int]:
    """Return how many rows to take of each source so that the counts stand in the ratio of ``weights``.

    ``available`` holds the rows of each source. Without ``total`` the mixture is as large as the weights allow without
    repeating a row. With ``total`` and without ``repeat`` it is at most ``total``: it shrinks, and the ratio stays,
    where a source is too small. With ``repeat`` the counts add up to exactly ``total``, and a count may exceed what
    its source has. A source of weight 0 gets 0. Raises :class:`DataProblem` for a source that is missing or empty.
    """
    positive = {name: weight for name, weight in weights.items() if weight > 0}
    if not positive:
        raise DataProblem("no mixture weight is above 0")
    missing = sorted(name for name in positive if not available.get(name))
    if missing:
        raise DataProblem(
            f"the mixture names {', '.join(missing)}, of which no rows are left",
            hint=f"sources that have rows: {', '.join(sorted(n for n, rows in available.items() if rows)) or 'none'}",
        )
    # Fractions of the floats: exact arithmetic, so that the sums below hold to the last row.
    norm = sum(Fraction(weight) for weight in positive.values())
    shares = {name: Fraction(weight) / norm for name, weight in positive.items()}
    size = total if repeat and total is not None else _largest_size(shares, available, total)
    counts = _largest_remainder(shares, size)
    return {name: counts.get(name, 0) for name in weights}


def tempered(weights: Mapping[str, float], temperature: float | None) -> dict[str, float]:
    """Return each weight w as w ** (1 / temperature); as they are where there is no temperature."""
    if temperature is None:
        return dict(weights)
    return {name: weight ** (1 / temperature) if weight > 0 else 0.0 for name, weight in weights.items()}


def strata_counts(available: dict[str, int], total: int, *, equal: bool) -> dict[str, int]:
    """Return how many of ``total`` rows to take of each stratum: in the shares they have, or as equally as they can.

    Equal parts are filled up: what a small stratum lacks, the larger ones give. The counts add up to ``total``, or to
    all there is.
    """
    total = min(total, sum(available.values()))
    if not equal:
        whole = sum(available.values())
        return _largest_remainder({name: Fraction(rows, whole) for name, rows in available.items()}, total)
    counts: dict[str, int] = {}
    left = total
    for rank, name in enumerate(sorted(available, key=lambda one: (available[one], one))):
        counts[name] = min(available[name], left // (len(available) - rank))
        left -= counts[name]
    return counts


def _largest_size(shares: dict[str, Fraction], available: dict[str, int], total: int | None) -> int:
    """Return the largest mixture, at most ``total``, for which no source is asked for more than it has.

    Rounding a count up cannot overdraw: ``share * size <= available``, and what is available is an integer.
    """
    size = min(math.floor(available[name] / share) for name, share in shares.items())
    return size if total is None else min(size, total)


def _largest_remainder(shares: dict[str, Fraction], size: int) -> dict[str, int]:
    """Split ``size`` rows by ``shares`` (adding up to 1): floors first, then one more by falling remainder."""
    exact = {name: share * size for name, share in shares.items()}
    counts = {name: math.floor(value) for name, value in exact.items()}
    left = size - sum(counts.values())
    by_remainder = sorted(exact, key=lambda name: (counts[name] - exact[name], name))
    for name in by_remainder[:left]:
        counts[name] += 1
    return counts
