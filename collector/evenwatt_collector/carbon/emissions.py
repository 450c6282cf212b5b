"""Operational emissions: energy x PUE x grid intensity, location-based. Pure.

Every figure carries the factor it was made with, so that nobody has to guess which year and source it rests on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from evenwatt_collector.carbon.series import Standing

JOULES_PER_KWH: Final = 3.6e6
SECONDS_PER_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Factor:
    """What a joule at the node weighs."""

    intensity_g_per_kwh: float
    pue: float
    """Power usage effectiveness: what the site draws for each watt of its machines."""
    source: str
    year: int | None
    """Year the intensity stands for; None for one that is of the hour, or that an operator set."""
    standing: Standing = Standing.FALLBACK
    """How the intensity is known."""

    @property
    def g_per_j(self) -> float:
        """Grams of CO2e per joule metered at the node."""
        return self.intensity_g_per_kwh * self.pue / JOULES_PER_KWH


def grams(energy_j: float, factor: Factor) -> float:
    """Grams of CO2e of an amount of energy."""
    return energy_j / JOULES_PER_KWH * factor.pue * factor.intensity_g_per_kwh


def grams_per_hour(power_w: float, factor: Factor) -> float:
    """Rate of emission at a power."""
    return grams(power_w * SECONDS_PER_HOUR, factor)


def unrecorded_j(live_total_j: float, stored_total_j: float | None, first_total_j: float) -> float:
    """Energy of a boot that live windows have shown and the ledger does not hold yet.

    Both are readings of the same cumulative counter of that boot, so no joule is counted in both.

    Args:
        live_total_j: The counter in the latest live window.
        stored_total_j: The counter at the end of the newest stored record, None before the first.
        first_total_j: The counter when this collector first heard the boot.
    """
    return max(0.0, live_total_j - (first_total_j if stored_total_j is None else stored_total_j))


@dataclass(slots=True)
class Sum:
    """A running sum that keeps what rounding would drop (Neumaier 1974): minutes are added to years of energy."""

    high: float = 0.0
    low: float = 0.0

    def add(self, value: float) -> Self:
        """Add a value; return self."""
        total = self.high + value
        if abs(self.high) >= abs(value):
            self.low += (self.high - total) + value
        else:
            self.low += (value - total) + self.high
        self.high = total
        return self

    @property
    def value(self) -> float:
        """The sum, rounded once."""
        return self.high + self.low
