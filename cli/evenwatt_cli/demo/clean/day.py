"""The made-up grid: two dirty and two clean parts a day, forecast ahead, and measured a little differently. Pure."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import Final

HOURS: Final = 24
AHEAD_HOURS: Final = 4 * HOURS
BEHIND_HOURS: Final = HOURS
_BASE_G: Final = 310.0
_BUMPS: Final = ((7.5, 1.6, 110.0), (12.5, 2.4, -200.0), (19.0, 2.3, 150.0), (2.5, 2.4, -130.0))
"""Hour of the middle, half width in hours, g/kWh: morning, sun at noon, evening, wind at night."""
_ERROR: Final = 0.05
"""What is measured differs from the forecast by so much, as a standard deviation of its logarithm."""
_STAYS: Final = 0.6
"""Of an hour's error, so much is left in the next."""


@dataclass(frozen=True)
class GridDay:
    """The grid's hours, each ``hour_s`` seconds long."""

    began_s: int
    """Unix time at which the demo's first hour begins; a multiple of ``hour_s``."""
    hour_s: int = 10
    first: int = 17
    """Which hour of the day that is: the evening begins, and all that can wait should."""
    seed: int = 1
    _errors: dict[int, float] = field(default_factory=dict)

    @property
    def day_s(self) -> int:
        """How long a day of the grid lasts."""
        return HOURS * self.hour_s

    def number(self, wall_s: float) -> int:
        """Return which hour of the demo a moment is in, counted from 0."""
        return math.floor((wall_s - self.began_s) / self.hour_s)

    def clock(self, wall_s: float) -> str:
        """Return the grid's time of day, such as ``17:30``."""
        hours = (wall_s - self.began_s) / self.hour_s + self.first
        return f"{int(hours % HOURS):02d}:{int(60 * (hours % 1)):02d}"

    def starts_s(self, number: int) -> int:
        """Return when an hour begins, Unix time."""
        return self.began_s + number * self.hour_s

    def forecast_g(self, number: int) -> float:
        """Return what is forecast for an hour, g/kWh."""
        return _shape((number + self.first) % HOURS + 0.5)

    def measured_g(self, number: int) -> float:
        """Return what an hour turns out to be, g/kWh."""
        return round(self.forecast_g(number) * math.exp(self._error(number)), 1)

    def intensity_g(self, wall_s: float) -> float:
        """Return what a moment turns out to be, g/kWh."""
        return self.measured_g(self.number(wall_s))

    @cached_property
    def median_g(self) -> float:
        """The day's median: what is below is a clean hour."""
        return median(self.forecast_g(number) for number in range(HOURS))

    def table(self, wall_s: float) -> str:
        """Return the grid's file as it is at a moment: measured up to the hour that runs, forecast from then on."""
        now = self.number(wall_s)
        rows = ["start,end,g_per_kwh"]
        for number in range(now - BEHIND_HOURS, now + AHEAD_HOURS):
            value = self.measured_g(number) if number <= now else self.forecast_g(number)
            rows.append(f"{self.starts_s(number)},{self.starts_s(number + 1)},{value:.1f}")
        return "\n".join(rows) + "\n"

    def _error(self, number: int) -> float:
        """Return the logarithm of measured over forecast: a random walk that is drawn home (AR 1)."""
        last = -BEHIND_HOURS - HOURS
        value = 0.0
        for each in range(last, number + 1):
            if each not in self._errors:
                draw = random.Random(f"{self.seed} {each}").gauss(0.0, _ERROR * math.sqrt(1 - _STAYS**2))  # noqa: S311
                self._errors[each] = _STAYS * value + draw
            value = self._errors[each]
        return value


def _shape(hour: float) -> float:
    """Return the intensity at an hour of the day, g/kWh."""
    return _BASE_G + sum(
        height * math.exp(-0.5 * (((hour - middle + 12) % HOURS - 12) / width) ** 2) for middle, width, height in _BUMPS
    )
