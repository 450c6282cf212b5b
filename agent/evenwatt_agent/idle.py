"""What a pool draws with nothing to do: a dated intercept, given or learned. Pure.

Given in the settings it is used as it stands. Otherwise it is learned from one-second means: the lowest power seen is
an upper bound of it, and once the load has been seen over a quarter of the range the intercept of a straight line of
power over utilisation takes over where it is lower (the linear model of Fan, Weber and Barroso, ISCA 2007). Old
observations fade over days, so that a new firmware or a removed board is learned again. Until the load has once been
low or has varied, nothing is known and all energy counts as dynamic: that is said (``basis``), not guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_BUCKETS: Final = 20
_QUIET: Final = 0.10
"""Utilisation below which the lowest power counts as idle power even before a line can be drawn."""
_SPREAD: Final = 0.25
_FADE: Final = 0.99999
"""Weight that an observation keeps per second: half is left after 19 hours of watching."""
_ENOUGH: Final = 3.0
"""Seconds a bucket needs to count."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Idle power of one pool."""

    power_w: float
    basis: str
    """``given``, ``quiet`` (seen at low load), ``line`` (intercept), or ``unknown``: then the power is 0."""
    wall_ms: int
    """When it was last confirmed."""


@dataclass(slots=True)
class IdleModel:
    """Learns one pool's idle power."""

    given_w: float | None = None
    weight: list[float] = field(default_factory=lambda: [0.0] * _BUCKETS)
    power_w: list[float] = field(default_factory=lambda: [0.0] * _BUCKETS)
    confirmed_ms: int = 0

    def observe(self, utilisation: float, power_w: float, seconds: float, wall_ms: int) -> None:
        """Take the means of one interval: utilisation 0 to 1, power in watts, how long, and when."""
        if self.given_w is not None or seconds <= 0:
            return
        fade = _FADE**seconds
        self.weight = [weight * fade for weight in self.weight]
        bucket = min(_BUCKETS - 1, max(0, int(utilisation * _BUCKETS)))
        total = self.weight[bucket] + seconds
        self.power_w[bucket] += (power_w - self.power_w[bucket]) * seconds / total
        self.weight[bucket] = total
        self.confirmed_ms = wall_ms

    def idle(self) -> Idle:
        """Return what is known now."""
        if self.given_w is not None:
            return Idle(self.given_w, "given", 0)
        known = [(i, self.power_w[i], self.weight[i]) for i in range(_BUCKETS) if self.weight[i] >= _ENOUGH]
        if not known:
            return Idle(0.0, "unknown", 0)
        lowest_w = min(power for _, power, _ in known)
        if (known[0][0] + 1) / _BUCKETS <= _QUIET:
            return Idle(lowest_w, "quiet", self.confirmed_ms)
        if (known[-1][0] - known[0][0]) / _BUCKETS >= _SPREAD:
            return Idle(max(0.0, min(lowest_w, _intercept(known))), "line", self.confirmed_ms)
        return Idle(0.0, "unknown", 0)

    def dump(self) -> list[list[float]]:
        """Return what has been learned, for the disk."""
        return [self.weight, self.power_w, [float(self.confirmed_ms)]]

    def restore(self, dumped: list[list[float]]) -> None:
        """Go on from what an earlier run learned; anything of another shape is ignored."""
        if [len(row) for row in dumped] == [_BUCKETS, _BUCKETS, 1]:
            self.weight, self.power_w = list(dumped[0]), list(dumped[1])
            self.confirmed_ms = int(dumped[2][0])


def _intercept(known: list[tuple[int, float, float]]) -> float:
    """Least squares, each bucket weighted by how long it was seen but at most an hour."""
    rows = [((bucket + 0.5) / _BUCKETS, power, min(weight, 3600.0)) for bucket, power, weight in known]
    whole = sum(weight for _, _, weight in rows)
    x_mean = sum(x * weight for x, _, weight in rows) / whole
    y_mean = sum(y * weight for _, y, weight in rows) / whole
    slope_top = sum(weight * (x - x_mean) * (y - y_mean) for x, y, weight in rows)
    slope_bottom = sum(weight * (x - x_mean) ** 2 for x, _, weight in rows)
    return y_mean - slope_top / slope_bottom * x_mean
