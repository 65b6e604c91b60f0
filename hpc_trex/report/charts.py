"""Axes, scales and colours of the report's drawings. The SVG itself stands in the templates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

#: Viridis at five points (S. van der Walt, N. Smith, 2015; CC0): even in lightness, safe for colour-blind readers.
_VIRIDIS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


def colour(part: float) -> str:
    """Return the colour of ``part`` (0 worst, 1 best) as ``#rrggbb``."""
    place = min(max(part, 0.0), 1.0) * (len(_VIRIDIS) - 1)
    low = min(int(place), len(_VIRIDIS) - 2)
    mixed = (a + (b - a) * (place - low) for a, b in zip(_VIRIDIS[low], _VIRIDIS[low + 1], strict=True))
    return "#" + "".join(f"{round(channel):02x}" for channel in mixed)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round numbers from ``low`` to ``high``: steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(nice * power for nice in (1, 2, 5, 10) if nice * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


class Axis(NamedTuple):
    """A linear scale: values from ``low`` to ``high`` onto pixels from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of a value, rounded for the page's size."""
        span = self.high - self.low
        part = (value - self.low) / span if span else 0.5
        return round(self.start + part * (self.end - self.start), 1)

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """Return the pixels and texts of the tick marks."""
        return [(self.at(tick), f"{tick:g}") for tick in ticks(self.low, self.high, count)]


def axis(values: Iterable[float], start: float, end: float, *, pad: float = 0.06, floor: float | None = None) -> Axis:
    """Return the axis that holds the values with some room (``pad`` of their range) at both ends."""
    known = list(values) or [0.0, 1.0]
    low, high = min(known), max(known)
    room = (high - low) * pad or max(abs(high) * 0.1, 0.05)
    low = low - room if floor is None else max(low - room, floor)
    return Axis(low, high + room, start, end)


def best_so_far(points: Sequence[tuple[float, float]], *, higher_is_better: bool) -> list[tuple[float, float]]:
    """Return the points (cost, score), in order of cost, that were better than all before them."""
    best: list[tuple[float, float]] = []
    for cost, score in points:
        if not best or (score > best[-1][1] if higher_is_better else score < best[-1][1]):
            best.append((cost, score))
    return best


def staircase(steps: Sequence[tuple[float, float]], end: float, x: Axis, y: Axis) -> str:
    """Return the SVG path of a line that stays level until the next step, drawn to the cost ``end``."""
    if not steps:
        return ""
    path = f"M{x.at(steps[0][0])} {y.at(steps[0][1])}"
    for cost, score in steps[1:]:
        path += f"H{x.at(cost)}V{y.at(score)}"
    return path + f"H{x.at(end)}"
