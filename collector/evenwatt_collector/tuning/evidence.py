"""What has been measured at each cap, and how noisy it is. Pure.

Energy and time per unit are ratios of sums, which are the efficient estimate where windows differ in length. The noise
of a window of s seconds is taken to have the variance k / s; k is learned from all caps together, since a visit to one
is too short to know it.
"""

from __future__ import annotations

from math import log, sqrt
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from evenwatt_collector.tuning.records import Observed

_PRIOR_NOISE: Final = 0.04**2
"""4 % a second, until more is known: counters that are refreshed every 0.1 s, steps that differ."""
_PRIOR_WINDOWS: Final = 4.0
_MEMORY_WINDOWS: Final = 400.0
_MEMORY_S: Final = 1800.0
"""At most so much counts at one cap, so that what is new is not drowned."""
_SYSTEMATIC: Final = 0.002
"""No measurement is surer than 0.2 %."""


class Evidence(msgspec.Struct):
    """Of one cap; sums that fade."""

    cap_w: float
    seconds: float = 0.0
    units: float = 0.0
    energy_j: float = 0.0
    latency_s: float = 0.0
    """Mean of the last windows; 0: none was told."""
    seen_s: float = 0.0
    windows: float = 0.0

    @property
    def known(self) -> bool:
        """Whether there is anything."""
        return self.units > 0

    @property
    def log_energy(self) -> float:
        """Logarithm of J per unit."""
        return log(self.energy_j / self.units)

    @property
    def log_time(self) -> float:
        """Logarithm of s per unit."""
        return log(self.seconds / self.units)

    @property
    def power_w(self) -> float:
        """Mean power."""
        return self.energy_j / self.seconds

    @property
    def window_s(self) -> float:
        """Mean length of a window."""
        return self.seconds / self.windows

    def fade(self, now_s: float, half_life_s: float) -> None:
        """Let what is old count less."""
        left = 0.5 ** (max(0.0, now_s - self.seen_s) / half_life_s)
        left = min(left, _MEMORY_S / self.seconds) if self.seconds > _MEMORY_S else left
        self.seconds *= left
        self.units *= left
        self.energy_j *= left
        self.windows *= left
        self.seen_s = max(now_s, self.seen_s)

    def add(self, seen: Observed) -> None:
        """Take in one window."""
        self.seen_s = max(self.seen_s, seen.at_s) if self.known else seen.at_s
        self.seconds += seen.seconds
        self.units += seen.units
        self.energy_j += seen.energy_j
        self.windows += 1
        if seen.latency_s is not None:
            self.latency_s += (seen.latency_s - self.latency_s) * (0.3 if self.latency_s else 1.0)


class Noise(msgspec.Struct):
    """Of one quantity, over all caps.

    Windows in a row have something in common. Work that wanders makes them alike: their mean is less sure than it
    looks. A counter that is refreshed now and then takes from one window what it gives the next: their mean is surer.
    Both show in the product of neighbours.
    """

    squares: float = _PRIOR_NOISE * _PRIOR_WINDOWS
    """Of residuals times the root of their seconds: their mean is variance x seconds."""
    products: float = 0.0
    """Of neighbours."""
    windows: float = _PRIOR_WINDOWS
    seconds: float = _PRIOR_WINDOWS
    last: float = 0.0
    """Residual of the window before; 0 after a change of cap."""

    def add(self, residual: float, seconds: float, known_s: float) -> None:
        """Take in how far a window was off the mean of ``known_s`` seconds before it."""
        scaled = residual / sqrt(1 / seconds + 1 / known_s)
        # A window that is far off is bounded, so that one hiccup does not blind what follows.
        most = 5 * sqrt(self.squares / self.windows)
        scaled = max(-most, min(most, scaled))
        self.squares += scaled**2
        self.products += scaled * self.last
        self.windows += 1
        self.seconds += seconds
        self.last = scaled
        if self.windows > _MEMORY_WINDOWS:
            self.squares, self.products = self.squares / 2, self.products / 2
            self.windows, self.seconds = self.windows / 2, self.seconds / 2

    @property
    def density_s(self) -> float:
        """Variance of a mean over a long time, times its seconds: that of a process of order one, AR or MA."""
        variance, lag = self.squares / self.windows, self.products / self.squares
        return variance * (max(1 + 2 * lag, 0.1) if lag < 0 else (1 + min(lag, 0.8)) / (1 - min(lag, 0.8)))

    def error(self, seconds: float) -> float:
        """Relative standard error of a mean over so many seconds: what remains in the long run, and its two ends."""
        seconds = max(seconds, 1e-3)
        ends = 2 * max(0.0, -self.products / self.windows) * self.seconds / self.windows
        return sqrt(self.density_s / seconds + ends / seconds**2 + _SYSTEMATIC**2)
