"""The cleanest time for work of a given length, in a forecast that is constant between its points. Pure; numpy.

As the Carbon Aware SDK has it (its ``RollingAverage``): windows begin at the start of the span and then every length of
a first point; each has the time-weighted mean of what it covers, also where it begins or ends within a point. Other
than the SDK, no window reaches beyond the end of the span, and what only touches the span is not part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_WINDOWS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Point:
    """A mean intensity over a stretch of time."""

    start_s: float
    end_s: float
    g_per_kwh: float


def windows(points: Sequence[Point], start_s: float, end_s: float, length_s: float | None) -> list[Point]:
    """Return every window within a span.

    Args:
        points: Contiguous and in order.
        start_s: Unix time; the span is [start_s, end_s), and what points do not cover of it is left out.
        end_s: Unix time.
        length_s: Of a window; None: the points themselves that lie at least partly within the span.

    Raises:
        ValueError: the points have a hole or stand in no order, a length is not above 0, or there are too many windows.
    """
    if any(before.end_s != after.start_s for before, after in pairwise(points)):
        raise ValueError("points must be contiguous and in order")
    if length_s is None:
        return [point for point in points if point.end_s > start_s and point.start_s < end_s]
    if not points:
        return []
    if length_s <= 0 or points[0].end_s <= points[0].start_s:
        raise ValueError("a window and a point must be longer than 0 s")
    first_s, last_s = max(start_s, points[0].start_s), min(end_s, points[-1].end_s) - length_s
    tick_s = points[0].end_s - points[0].start_s
    if last_s < first_s:
        return []
    if (last_s - first_s) / tick_s > _MOST_WINDOWS:
        raise ValueError(f"more than {_MOST_WINDOWS} windows")
    zero_s = points[0].start_s  # seconds since 1970 have few digits left for fractions
    starts = first_s - zero_s + tick_s * np.arange(int((last_s - first_s) // tick_s) + 1)
    edges = np.array([0.0, *(point.end_s - zero_s for point in points)])
    values = np.array([point.g_per_kwh for point in points])
    # What lies before each edge, in g/kWh x s from the first: a window is then one difference.
    before = np.concatenate(([0.0], np.cumsum((values - values[0]) * np.diff(edges))))
    sums = np.interp(starts + length_s, edges, before) - np.interp(starts, edges, before)
    means = np.clip(values[0] + sums / length_s, values.min(), values.max())  # rounding makes no mean an outlier
    return [
        Point(zero_s + at_s, zero_s + at_s + length_s, value)
        for at_s, value in zip(starts.tolist(), means.tolist(), strict=True)
    ]


def cleanest(among: Sequence[Point]) -> list[Point]:
    """Return those with the least intensity, all of them if there are several."""
    least = min((point.g_per_kwh for point in among), default=0.0)
    return [point for point in among if point.g_per_kwh == least]


def mean(points: Sequence[Point], start_s: float, end_s: float) -> tuple[float | None, float]:
    """Return the time-weighted mean over what is known of a span, and the share of it that is known.

    Args:
        points: In any order, none overlapping another.
        start_s: Unix time.
        end_s: Unix time, after ``start_s``.
    """
    weights = [max(0.0, min(end_s, point.end_s) - max(start_s, point.start_s)) for point in points]
    known_s = sum(weights)
    if known_s <= 0:
        return None, 0.0
    total = sum(weight * point.g_per_kwh for weight, point in zip(weights, points, strict=True))
    return total / known_s, known_s / (end_s - start_s)
