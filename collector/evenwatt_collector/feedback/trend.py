"""Whether something falls over time, and how sure that is. Pure.

Mann-Kendall: of all pairs of values, how many fall against how many rise; the normal approximation with its correction
for ties (Kendall, Rank Correlation Methods, 1975). The slope is the median of all pairs' slopes (Theil and Sen).
Neither is moved by single odd jobs, and no shape of the fall is assumed. Long lists are cut into bins of equal count.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, fsum, sqrt
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ENOUGH: Final = 20
"""Values below which nothing is said."""
SURE: Final = 0.99
"""One-sided; five measures are looked at together, in both directions."""
_BINS: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """How something moved."""

    verdict: str
    """``falling``, ``rising``, ``no change seen``, or ``too few to tell``."""
    confidence: float | None
    """That it moves that way, one-sided; None: too few."""
    slope: float | None
    """Change per unit of time, in units of the value; None: too few."""
    count: int


def trend(values: Sequence[tuple[float, float]]) -> Trend:
    """Return how values move; each is a time, and the value then."""
    ordered = sorted(values)
    n = len(ordered)
    if n < ENOUGH or ordered[0][0] == ordered[-1][0]:
        return Trend(verdict="too few to tell", confidence=None, slope=None, count=n)
    points = _binned(ordered)
    pairs = [(a, b) for i, a in enumerate(points) for b in points[i + 1 :] if b[0] > a[0]]
    score = sum((b[1] > a[1]) - (b[1] < a[1]) for a, b in pairs)
    spread = sqrt(_variance(points))
    z = 0.0 if not spread else (score - (score > 0) + (score < 0)) / spread
    confidence = 0.5 * (1 + erf(abs(z) / sqrt(2)))
    moved = "falling" if z < 0 else "rising"
    return Trend(
        verdict=moved if confidence >= SURE else "no change seen",
        confidence=confidence,
        slope=median((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs),
        count=n,
    )


def _binned(ordered: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    size = -(-len(ordered) // _BINS)
    bins = [ordered[i : i + size] for i in range(0, len(ordered), size)]
    return [(fsum(t for t, _ in part) / len(part), median(v for _, v in part)) for part in bins]


def _variance(points: Sequence[tuple[float, float]]) -> float:
    n = len(points)
    terms = [_pairs(n)]
    for which in (0, 1):
        counts: dict[float, int] = {}
        for point in points:
            counts[point[which]] = counts.get(point[which], 0) + 1
        terms += [-_pairs(count) for count in counts.values() if count > 1]
    return max(0.0, fsum(terms)) / 18


def _pairs(count: int) -> float:
    return float(count * (count - 1) * (2 * count + 5))
