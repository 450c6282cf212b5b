"""How fast a device still works when its power is cut.

Pure. A curve is a table of (power as a share of uncapped power, throughput as a share of uncapped throughput),
straight between its points, flat outside them.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Final

SpeedCurve = tuple[tuple[float, float], ...]

# Medians of the published Zeus power-limit sweeps (NSDI 2023), V100, 100 to 250 W, over the 21 training jobs that draw
# more than 80 % of the limit when it is at its maximum; the A40 sweeps bend in the same way but fall steeper below
# 60 %. The foot (0.20, 0) is ours: what is left at a fifth of the power is idle power, which does no work.
ZEUS_V100: Final[SpeedCurve] = (
    (0.20, 0.0),
    (0.45, 0.53),
    (0.55, 0.70),
    (0.65, 0.85),
    (0.75, 0.90),
    (0.83, 0.95),
    (0.93, 0.98),
    (1.00, 1.00),
)


def speed_at(curve: SpeedCurve, power_share: float) -> float:
    """Return throughput in [0, 1] at ``power_share`` = power under the cap / power without one, by the same load."""
    if power_share >= 1.0:
        return 1.0
    at = bisect_right(curve, (power_share, 2.0))
    if at == 0:
        return curve[0][1]
    if at == len(curve):
        return curve[-1][1]
    (left, slow), (right, fast) = curve[at - 1], curve[at]
    return slow + (fast - slow) * (power_share - left) / (right - left)


def check_curve(curve: SpeedCurve) -> None:
    """Refuse a curve that does not rise from left to right inside the unit square.

    Raises:
        ValueError: it does not; the message says what to write.
    """
    inside = all(0.0 <= share <= 1.0 and 0.0 <= speed <= 1.0 for share, speed in curve)
    pairs = list(pairwise(curve))
    rising = all(a[0] < b[0] and a[1] <= b[1] for a, b in pairs)
    if len(curve) < 2 or not inside or not rising:
        raise ValueError("speed must be two or more [power share, speed] pairs in [0, 1], both rising")
