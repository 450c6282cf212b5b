"""How sure a figure is: 90 % ranges of grams, from how energy was metered and how the intensity is known. Pure.

Terms and how they are put together:

- **energy**: by quality. What was metered in one way shares that way's bias, so energy of one quality adds up linearly
  and does not average away over nodes or hours; the qualities are independent (root of the sum of squares).
- **intensity**: by standing. Emission factors of fuels are common to all hours and grids, so this adds up linearly.
- **overhead**: the part of the site's energy that PUE adds.
- **missing**: node-time without records could only have added energy. It widens the range upwards, at the mean power
  of the time that is covered, and is never filled into the figure itself.

The first three are independent of each other. What is not in here: how energy was shared out among the work on a node
(it cancels in the node's sum), whether the configured factors were the right ones, and the unit counts of tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, inf, isfinite
from typing import TYPE_CHECKING, Final

from evenwatt_collector.carbon.series import Standing

if TYPE_CHECKING:
    from evenwatt_collector.report.model import Figures

CONFIDENCE: Final = 0.9


@dataclass(frozen=True, slots=True)
class HalfWidth:
    """Half of a 90 % range, relative to the figure, and where that number is from."""

    relative: float
    source: str


QUALITY: Final = {
    "measured": HalfWidth(
        0.05,
        "our choice, for sensors of processors and GPU boards at steady load; how far boards' sensors are off meters, "
        "and why it may be more: Yang, Adamek, Armour: Accurate and convenient energy measurements for GPUs, SC 2024",
    ),
    "integrated": HalfWidth(
        0.10, "our choice: twice that of counted energy, since power between two samples is not seen (same work)"
    ),
    "estimated": HalfWidth(0.30, "our choice: a model of load and rated power, not calibrated against a meter"),
    "unknown": HalfWidth(0.50, "our choice: nothing is known of how it was obtained"),
}
"""By how energy was metered."""

INTENSITY: Final = {
    Standing.MEASURED: HalfWidth(
        0.10,
        "range of the life-cycle factor of coal about its median, 740 to 910 at 820 g/kWh (IPCC AR5 WGIII annex III)",
    ),
    Standing.ESTIMATED: HalfWidth(0.20, "our choice: twice that of a measured mix"),
    Standing.FORECAST: HalfWidth(
        0.21,
        "the above and 18 %: 2.06 times the mean day-ahead error of persistence on 13 grids, 8.8 % (computed, July to "
        "December 2021), as for a normal distribution; combined as root of the sum of squares",
    ),
    Standing.FALLBACK: HalfWidth(
        0.47,
        "90 % of the hours of 2021 lay within 47 % of the year's mean in California and in Germany (computed from "
        "hourly life-cycle series; Poland: 14 %); too wide for whole years",
    ),
}
"""By how the intensity is known."""

OVERHEAD: Final = HalfWidth(0.20, "our choice, of what PUE adds: one yearly figure stands for every hour")
EMBODIED: Final = HalfWidth(
    0.30,
    "our choice: twice the 15 % of the making of a server (Weber: Uncertainty and variability in product carbon "
    "footprinting, J. Industrial Ecology 16(2), 2012), since configuration and lifetime are assumed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The 90 % range of a row's location-based operational emissions."""

    energy: float
    """Relative half-width by the metering of energy; the two below likewise."""
    intensity: float
    overhead: float
    relative: float
    """The three together."""
    missing: float | None
    """What missing time may have added, relative; None: nothing is covered, so nobody can say."""
    low_g: float
    high_g: float | None
    """None: no upper bound can be given."""
    embodied_half_width_g: float | None
    """Of the embodied share; None where none is configured."""


def spread(figures: Figures) -> Spread:
    """Return how sure a row's or a total's grams are."""
    energy = _energy(figures)
    intensity = _intensity(figures)
    overhead = OVERHEAD.relative * max(0.0, 1 - figures.energy_j / figures.site_j) if figures.site_j > 0 else 0.0
    relative = hypot(energy, intensity, overhead)
    missing = _missing(figures)
    grams = figures.location_g
    return Spread(
        energy=energy,
        intensity=intensity,
        overhead=overhead,
        relative=relative,
        missing=missing,
        low_g=max(0.0, grams * (1 - relative)),
        high_g=None if missing is None else grams * (1 + relative) * (1 + missing),
        embodied_half_width_g=None if figures.embodied_g is None else EMBODIED.relative * figures.embodied_g,
    )


def _energy(figures: Figures) -> float:
    if figures.energy_j <= 0:
        return 0.0
    terms = (QUALITY[name].relative * getattr(figures, f"{name}_j") for name in QUALITY)
    return hypot(*terms) / figures.energy_j


def _intensity(figures: Figures) -> float:
    known_j = sum(figures.by_standing_j.values())
    if known_j <= 0:
        return 0.0
    return sum(INTENSITY[Standing(name)].relative * joules for name, joules in figures.by_standing_j.items()) / known_j


def _missing(figures: Figures) -> float | None:
    if figures.missing_s <= 0:
        return 0.0
    ratio = figures.missing_s / figures.covered_s if figures.covered_s > 0 else inf
    return ratio if isfinite(ratio) else None
