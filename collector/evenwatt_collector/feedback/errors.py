r"""How far a prediction was off, and which part of it was wrong. Pure.

Grams are a product, so the logarithm of their error is a sum, exactly::

    ln(G / G') = ln(length / length') + ln(power / power') + ln(intensity / intensity')
                 \________ ln(energy / energy') _________/

Primes are what was foreseen. Power is energy over length; intensity is grams per kilowatt-hour of the site.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING, Final

from evenwatt_collector.feedback.actual import J_PER_KWH

if TYPE_CHECKING:
    from evenwatt_collector.jobs.model import Outcome

PARTS: Final = ("length", "power", "intensity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Natural logarithms of actual to foreseen; None where one of both is not known."""

    grams: float | None
    energy: float | None
    length: float | None
    power: float | None
    intensity: float | None
    inside: bool | None
    """Whether the grams lay within the predicted range; None: none was given."""

    @property
    def worst(self) -> str | None:
        """The part that was wrong the most: ``length``, ``power`` or ``intensity``; of unknown parts ``energy``."""
        known = {name: abs(value) for name in PARTS if (value := getattr(self, name)) is not None}
        if self.length is None and self.energy is not None:
            known["energy"] = abs(self.energy)
        return max(known, key=lambda name: known[name]) if known else None


def errors(outcome: Outcome) -> Errors:
    """Return how far off the prediction of a job was."""
    site_kwh = outcome.energy_j / J_PER_KWH * outcome.pue
    grams, energy = _log(outcome.grams, outcome.predicted_g), _log(site_kwh, outcome.predicted_energy_kwh)
    length = _log(outcome.length_s, outcome.predicted_length_s)
    low_g, high_g = outcome.predicted_low_g, outcome.predicted_high_g
    return Errors(
        grams=grams,
        energy=energy,
        length=length,
        power=None if energy is None or length is None else energy - length,
        intensity=None if grams is None or energy is None else grams - energy,
        inside=None if outcome.predicted_g <= 0 or high_g <= 0 else low_g <= outcome.grams <= high_g,
    )


def share_off(log_ratio: float) -> float:
    """Return |actual - foreseen| / actual, of which MAPE is the mean."""
    return abs(1 - exp(-log_ratio))


def _log(actual: float, foreseen: float) -> float | None:
    return log(actual / foreseen) if actual > 0 and foreseen > 0 else None
