"""What power will be when a cap sent now has taken hold. Pure: time is an argument, one position a zone.

P^ = P + L * max(0, dP/dt) + 2 sigma, with the level and slope of Holt's double smoothing (alpha 0.5, beta 0.2; Holt
1957) and sigma from the smoothed square of its one-step errors. L is the measured 95th percentile of the time from
publishing a lease to its readback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from evenwatt_collector.control.arrays import Bools, Floats

ALPHA: Final = 0.5
BETA: Final = 0.2
_ERROR_GAIN: Final = 0.1
"""Errors are remembered for about ten readings (our choice)."""
_LEAST_S: Final = 0.05


class Forecast:
    """Level, slope and error of one series per zone."""

    def __init__(self, zones: int) -> None:
        self._level_w: Floats = np.full(zones, np.nan)
        self._slope: Floats = np.zeros(zones)
        self._square: Floats = np.zeros(zones)
        self._last_s = -np.inf

    def take(self, power_w: Floats, now_s: float, anew: Bools) -> None:
        """Take a reading; one that comes at once after another is left out.

        Args:
            power_w: Per zone.
            now_s: Monotonic time.
            anew: Zones where nodes have come, or are steered now and were not, or the other way round: what that brings
                is no error of the forecast.
        """
        elapsed_s = now_s - self._last_s
        if elapsed_s < _LEAST_S:
            return
        self._last_s = now_s
        known = ~(np.isnan(self._level_w) | anew)
        if not np.isfinite(elapsed_s):
            elapsed_s = 1.0
        guess_w = np.where(known, self._level_w + self._slope * elapsed_s, power_w)
        error_w = power_w - guess_w
        level_w = guess_w + ALPHA * error_w
        change = (level_w - np.where(known, self._level_w, level_w)) / elapsed_s
        self._slope += BETA * (change - self._slope) * known
        self._square += _ERROR_GAIN * (error_w**2 - self._square) * known
        self._level_w = level_w

    def rise_w(self, ahead_s: float) -> Floats:
        """Return by how much power may rise within ``ahead_s``: the slope if it is upward, and two sigma."""
        return ahead_s * np.maximum(0.0, self._slope) + 2.0 * np.sqrt(self._square)
