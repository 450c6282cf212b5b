"""What a power cap is chosen for: energy, carbon, or energy weighed against time. Pure.

Each cost is linear in the energy e (J) and the time t (s) that a unit of work takes::

    energy    cost = e                                                                    J per unit
    carbon    cost = (e + hold_w t) PUE I / 3.6e6 + hold_g_per_h t / 3600                  g per unit
    weighted  cost = eta e + (1 - eta) max_power_w t                                      J per unit

``carbon`` differs from ``energy`` only by what holding the machine costs: the power that the cap does not reach (its
processor, memory, fans) and what is counted by the hour (embodied carbon, ISO/IEC 21031: M = TE x TiR/EL x RR/ToR).
``weighted`` is the cost of Zeus (You, Chung, Chowdhury, NSDI 2023, eq. 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

J_PER_KWH = 3.6e6
Aim = Literal["energy", "carbon", "weighted"]
_AIMS: Mapping[str, str] = {"energy": "J", "carbon": "g", "weighted": "J"}


@dataclass(frozen=True, slots=True)
class Cost:
    """Coefficients of a cost; it has no more parts than these two."""

    per_j: float
    per_s: float
    unit: str
    """Of the cost: J or g."""

    def of(self, energy_j: float, seconds: float) -> float:
        """Return what so much energy and time cost."""
        return self.per_j * energy_j + self.per_s * seconds

    def shares(self, energy_j: float, seconds: float) -> tuple[float, float]:
        """Return the parts of the cost that energy and time make up; they add up to 1."""
        whole = self.of(energy_j, seconds)
        return self.per_j * energy_j / whole, self.per_s * seconds / whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is minimised.

    Raises:
        Failure: a figure is out of its range.
    """

    aim: Aim = "energy"
    eta: float = 0.5
    """Of ``weighted``: 1 is energy alone, 0 is time alone."""
    max_power_w: float = 0.0
    """Of ``weighted``; 0: the highest cap."""
    hold_w: float = 0.0
    """Of ``carbon``: power that holding the machine draws, whatever the cap."""
    hold_g_per_h: float = 0.0
    """Of ``carbon``: what an hour of the machine is charged with, such as embodied carbon."""
    pue: float = 1.0

    def __post_init__(self) -> None:
        if self.aim not in _AIMS:
            raise Failure(f"objective {self.aim!r} is not known; expected one of {', '.join(_AIMS)}")
        if not 0 <= self.eta <= 1:
            raise Failure(f"eta is {self.eta:g}; expected 0 (time alone) to 1 (energy alone)")
        if min(self.hold_w, self.hold_g_per_h, self.max_power_w) < 0:
            raise Failure("hold_w, hold_g_per_h and max_power_w are 0 or more: correct the negative one")
        if self.pue < 1:
            raise Failure(f"pue is {self.pue:g}; a site draws at least what its machines draw, so it is 1 or more")

    @classmethod
    def energy(cls) -> Self:
        """Least joules per unit."""
        return cls()

    def cost(self, highest_cap_w: float, intensity_g_per_kwh: float) -> Cost:
        """Return the coefficients in force now.

        Without a known, positive intensity, carbon is weighed as on a grid of 1 g/kWh if nothing is charged by the
        hour, where the choice does not depend on it.

        Raises:
            Failure: what is charged by the hour needs an intensity, and there is none.
        """
        if self.aim == "energy":
            return Cost(1.0, 0.0, "J")
        if self.aim == "weighted":
            return Cost(self.eta, (1 - self.eta) * (self.max_power_w or highest_cap_w), "J")
        if not intensity_g_per_kwh > 0:
            if self.hold_g_per_h > 0:
                raise Failure(
                    f"intensity is {intensity_g_per_kwh:g} g/kWh: carbon with hold_g_per_h needs one above 0; "
                    "give the zone's intensity, or aim at energy"
                )
            intensity_g_per_kwh = 1.0
        per_j = self.pue * intensity_g_per_kwh / J_PER_KWH
        return Cost(per_j, per_j * self.hold_w + self.hold_g_per_h / 3600, "g")
