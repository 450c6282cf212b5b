"""Software Carbon Intensity, ISO/IEC 21031:2024: ``SCI = ((E x I) + M) per R``, with every term. Pure.

E: energy in kWh with everything that was used for the work: idle and reserved shares and the site's overhead (PUE).
I: location-based g CO2e/kWh, weighted by that energy, either average or marginal, never a mixture; no contract and no
offset lowers it. M: the share of making the devices (``TE x TiR/EL x RR/ToR``, summed where the report was made).
R: what the user counts in.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, isfinite
from typing import TYPE_CHECKING, Final

from evenwatt_collector.carbon.series import Kind
from evenwatt_collector.report.totals import J_PER_KWH, added
from evenwatt_collector.report.uncertainty import spread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_collector.report.model import Figures

LEAST_MARGINAL_SHARE: Final = 0.8
"""Below this share of the energy with a known marginal intensity no marginal score is given (our choice, the same as
the coverage below which periods are not comparable)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Per:
    """R: what a score is per."""

    unit: str
    """As tasks report it (request, token, epoch, sample, image), or as the user calls what they counted."""
    count: float | None = None
    """The user's own count; None: the sum of what tasks reported under this name."""
    kind: Kind = Kind.AVERAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One score with its terms."""

    unit: str
    kind: Kind
    energy_kwh: float
    """E."""
    g_per_kwh: float
    """I, energy-weighted."""
    intensity_share: float
    """Share of E for which I was known; 1 for average intensities."""
    embodied_g: float | None
    """M; None: no device is configured, so the score counts operation only and says so."""
    units: float
    """R."""
    g_per_unit: float
    low_g_per_unit: float
    """The 90 % range."""
    high_g_per_unit: float | None

    @property
    def complete(self) -> bool:
        """Whether all terms of the standard are in it."""
        return self.embodied_g is not None


@dataclass(frozen=True, slots=True)
class NoScore:
    """Why there is none."""

    why: str


def score(parts: Iterable[Figures], per: Per) -> Score | NoScore:
    """Return the score of work that consists of ``parts``; how it is cut into parts makes no difference."""
    figures = added(parts)
    units = per.count if per.count is not None else figures.units.get(per.unit, 0.0)
    if not (isfinite(units) and units > 0):
        reported = ", ".join(sorted(name for name, count in figures.units.items() if count > 0))
        return NoScore(
            f"no {per.unit} was reported" + (f"; reported are {reported}" if reported else "; no task reported units")
        )
    intensity = _intensity(figures, per.kind)
    if isinstance(intensity, NoScore):
        return intensity
    g_per_kwh, share = intensity
    energy_kwh = figures.site_j / J_PER_KWH
    operational_g, embodied_g = energy_kwh * g_per_kwh, figures.embodied_g or 0.0
    sure = spread(figures)
    half_g = hypot(operational_g * sure.relative, sure.embodied_half_width_g or 0.0)
    whole_g = operational_g + embodied_g
    unseen_g = None if sure.missing is None else operational_g * (1 + sure.relative) * sure.missing
    return Score(
        unit=per.unit,
        kind=per.kind,
        energy_kwh=energy_kwh,
        g_per_kwh=g_per_kwh,
        intensity_share=share,
        embodied_g=figures.embodied_g,
        units=units,
        g_per_unit=whole_g / units,
        low_g_per_unit=max(0.0, whole_g - half_g) / units,
        high_g_per_unit=None if unseen_g is None else (whole_g + half_g + unseen_g) / units,
    )


def _intensity(figures: Figures, kind: Kind) -> tuple[float, float] | NoScore:
    """Return I and the share of the energy that it was known for."""
    if figures.site_j <= 0:
        return NoScore("no energy was recorded")
    if kind is Kind.AVERAGE:
        return figures.location_g / (figures.site_j / J_PER_KWH), 1.0
    if figures.marginal_g is None or figures.marginal_j <= 0:
        return NoScore("no provider gave a marginal intensity; ask for --sci-intensity average")
    share = figures.marginal_j / figures.energy_j
    if share < LEAST_MARGINAL_SHARE:
        return NoScore(
            f"a marginal intensity is known for {100 * share:.0f} % of the energy, expected at least "
            f"{100 * LEAST_MARGINAL_SHARE:.0f} %"
        )
    return figures.marginal_g / (share * figures.site_j / J_PER_KWH), share
