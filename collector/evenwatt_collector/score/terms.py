"""What a score is made of, and its decomposition into factors that multiply to the total, exactly. Pure.

With R units of work, D the machines' energy above idle, E their whole energy (idle included), m_z the mean over the
period of PUE x intensity in zone z, REF the mean of a fixed mix of zones, G the operational and M the embodied grams::

    (G + M) / R = D/R  x  E/D  x  REF  x  sum(E_z m_z)/(E REF)  x  G/sum(E_z m_z)  x  (G + M)/G
                 energy   idle   grid          placement                timing           embodied

**energy** is energy above idle per unit: the model, the code, the machine, the cap. **idle** is what a joule above idle
costs in all: utilisation. **grid** is what the reference mix itself weighed: nobody's merit, so it is kept apart.
**placement** is where the work ran against that mix, **timing** when it ran against the period's mean there.
**embodied** is the making of the devices. Products telescope, so nothing is left over.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum, isfinite, log2
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from evenwatt_collector.report.totals import J_PER_KWH, added

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_collector.report.model import Figures

NAMES: Final = ("energy", "idle", "grid", "placement", "timing", "embodied")
PER_HALVING: Final = 25.0
"""Points for half the grams."""
MEANING: Final = {
    "energy": "machine energy above idle per unit of work",
    "idle": "all machine energy per energy above idle",
    "grid": "PUE x intensity of the reference mix of zones",
    "placement": "mean of the zones where it ran against that mix",
    "timing": "intensity when it ran against the period's mean there",
    "embodied": "operational and embodied against operational grams",
}


class Terms(Struct, frozen=True, kw_only=True):
    """The terms of the formula."""

    units: float
    """R."""
    dynamic_kwh: float
    """D."""
    energy_kwh: float
    """E, at the machines."""
    at_mean_g: float
    """Sum over zones of E_z m_z: what the energy would have weighed, spread evenly over the period."""
    reference_g_per_kwh: float
    """REF: of a kilowatt-hour at a machine."""
    operational_g: float
    """G."""
    embodied_g: float | None
    """M; None: no device is configured."""

    @property
    def g_per_unit(self) -> float:
        """Grams per unit, embodied ones included where they are known."""
        return (self.operational_g + (self.embodied_g or 0.0)) / self.units

    def without_embodied(self) -> Terms:
        """Return the same, operation only."""
        return Terms(**{name: getattr(self, name) for name in self.__struct_fields__ if name != "embodied_g"},
                     embodied_g=None)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One factor of the total."""

    name: str
    unit: str
    actual: float
    base: float | None
    """Of the baseline; None without one."""
    ratio: float | None
    """Actual to base; below 1 is better."""
    points: float | None
    """What it brings: ``-25 log2(ratio)``. Those of all factors add up to the points above 50, before clipping."""


def terms(
    by_zone: Mapping[str, Figures], mean_g_per_kwh: Mapping[str, float], weights: Mapping[str, float], units: float
) -> Terms:
    """Return the terms of work.

    Args:
        by_zone: Its figures in each zone in which it ran.
        mean_g_per_kwh: Mean over the period of PUE x intensity by zone, of every zone named here or in ``weights``.
        weights: The reference mix: shares by zone; they need not add up to 1.
        units: Units of work done.
    """
    whole = added(by_zone.values())
    return Terms(
        units=units,
        dynamic_kwh=whole.dynamic_j / J_PER_KWH,
        energy_kwh=whole.energy_j / J_PER_KWH,
        at_mean_g=fsum(part.energy_j / J_PER_KWH * mean_g_per_kwh[zone] for zone, part in by_zone.items()),
        reference_g_per_kwh=reference(mean_g_per_kwh, weights),
        operational_g=whole.location_g,
        embodied_g=whole.embodied_g,
    )


def reference(mean_g_per_kwh: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Return the mean of a mix of zones, in grams per kilowatt-hour at a machine; 0 of an empty mix."""
    whole = fsum(weights.values())
    return fsum(share * mean_g_per_kwh[zone] for zone, share in weights.items()) / whole if whole > 0 else 0.0


def values(of: Terms) -> dict[str, float] | None:
    """Return the factors by name; None where one of them is 0 or unknown, since nothing can be multiplied then."""
    positive = (of.units, of.dynamic_kwh, of.energy_kwh, of.at_mean_g, of.reference_g_per_kwh, of.operational_g)
    if not all(value > 0 and isfinite(value) for value in positive):
        return None
    found = {
        "energy": of.dynamic_kwh / of.units,
        "idle": of.energy_kwh / of.dynamic_kwh,
        "grid": of.reference_g_per_kwh,
        "placement": of.at_mean_g / of.energy_kwh / of.reference_g_per_kwh,
        "timing": of.operational_g / of.at_mean_g,
        "embodied": 1 + (of.embodied_g or 0.0) / of.operational_g,
    }
    return found if all(value > 0 and isfinite(value) for value in found.values()) else None


def decompose(actual: Terms, base: Terms | None, unit: str) -> tuple[Factor, ...]:
    """Return the factors of the total, base and actual; empty where there is nothing to multiply.

    Where only one of both knows what making the devices weighs, that is left out of both.
    """
    if base is not None and (actual.embodied_g is None) != (base.embodied_g is None):
        actual, base = actual.without_embodied(), base.without_embodied()
    now, then = values(actual), None if base is None else values(base)
    if now is None:
        return ()
    units = {"energy": f"kWh/{unit}", "grid": "g/kWh"}
    found = []
    for name in NAMES:
        ratio = None if then is None else now[name] / then[name]
        found.append(
            Factor(
                name=name,
                unit=units.get(name, ""),
                actual=now[name],
                base=None if then is None else then[name],
                ratio=ratio,
                points=None if ratio is None else -PER_HALVING * log2(ratio),
            )
        )
    return tuple(found)
