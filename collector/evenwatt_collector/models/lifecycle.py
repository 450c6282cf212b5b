"""What a model has cost so far, by phase of its life, and what a use of it costs with a share of its making. Pure.

*Making* is every phase but two: ``train``, ``fine-tune``, ``evaluate``, and what names no phase, so that nothing gets
lost. *Using* is ``infer`` and ``idle-loaded`` (loaded, and waiting for work). With grams G that count operation and the
share of making the devices (ISO/IEC 21031: ``(E x I) + M``) and uses R, as tasks of phase ``infer`` count them::

    a use, as served      = G(using) / R
    a use, to date        = (G(making) + G(using)) / R
    a use, over its life  = G(making) / max(R, expected uses) + G(using) / R

The last is given only if the owner states how many uses are expected. All are per 1,000. R is one that SCI for AI
names: request, token, image, inference.
"""

from __future__ import annotations

from math import fsum, hypot
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from evenwatt_collector.models.costs import INFER
from evenwatt_collector.models.measured import LATENCY
from evenwatt_collector.report.groups import NO_LABEL
from evenwatt_collector.report.totals import added, metered_share
from evenwatt_collector.report.uncertainty import spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evenwatt_collector.report.model import Figures, Report

TRAIN: Final = "train"
FINE_TUNE: Final = "fine-tune"
EVALUATE: Final = "evaluate"
IDLE_LOADED: Final = "idle-loaded"
PHASES: Final = (TRAIN, FINE_TUNE, EVALUATE, INFER, IDLE_LOADED)
"""In the order of a life."""
USING: Final = frozenset({INFER, IDLE_LOADED})
UNNAMED: Final = NO_LABEL.format("phase")
PER: Final = 1000.0
"""Uses that figures are given for."""


class Grams(Struct, frozen=True, kw_only=True):
    """Grams of CO2e with their 90 % range; ``high`` is None where no upper bound can be given."""

    grams: float
    low: float
    high: float | None


class PhaseUse(Struct, frozen=True, kw_only=True):
    """One phase; the phases sum to the total."""

    phase: str
    energy_j: float
    idle_j: float
    """Of ``energy_j``: its share of idle energy."""
    site_j: float
    """With the site's overhead (PUE)."""
    operational: Grams
    """Location-based."""
    embodied_g: float | None
    """Share of the making of the devices; None: none is configured."""
    duration_s: float
    """Of tasks, summed; what is no task tells none."""
    units: dict[str, float]
    metered_share: float | None
    """Of the energy: counted or sampled by hardware."""

    @property
    def whole_g(self) -> float:
        """Operational and embodied grams."""
        return self.operational.grams + (self.embodied_g or 0.0)


class PerUse(Struct, frozen=True, kw_only=True):
    """Grams per 1,000 uses."""

    unit: str
    uses: float
    """To date."""
    served: Grams
    to_date: Grams
    expected_uses: float | None = None
    over_life: Grams | None = None
    """None: no expected number is stated."""


class Lifecycle(Struct, frozen=True, kw_only=True):
    """A model to date."""

    model: str
    start_s: float
    end_s: float
    phases: list[PhaseUse]
    total: PhaseUse
    making: PhaseUse
    using: PhaseUse
    per_use: PerUse | None
    no_use: str = ""
    """Why ``per_use`` is None."""

    def phase(self, name: str) -> PhaseUse | None:
        """Return a phase, if anything was used in it."""
        return next((one for one in self.phases if one.phase == name), None)


def lifecycle(report: Report, model: str, unit: str | None, expected_uses: float | None) -> Lifecycle:
    """Return a model's life so far.

    Args:
        report: Of the model, by phase.
        model: Its name.
        unit: What uses are counted in; None: the one that tasks of phase ``infer`` count, if it is one.
        expected_uses: Over its life, if its owner states them.
    """
    rows = {row.name: row.figures for row in report.rows}
    order = [*PHASES, *sorted(set(rows) - set(PHASES))]
    making = added(figures for name, figures in rows.items() if name not in USING)
    using = added(figures for name, figures in rows.items() if name in USING)
    counted = {} if INFER not in rows else {name: n for name, n in rows[INFER].units.items() if n > 0}
    chosen, why = _unit(unit, counted)
    per_use = None if chosen is None else _per_use(chosen, counted[chosen], making, using, expected_uses)
    return Lifecycle(
        model=model,
        start_s=report.start_s,
        end_s=report.end_s,
        phases=[phase_use(name, rows[name]) for name in order if name in rows],
        total=phase_use("total", added(rows.values())),
        making=phase_use("making", making),
        using=phase_use("using", using),
        per_use=per_use,
        no_use=why,
    )


def phase_use(name: str, figures: Figures) -> PhaseUse:
    """Return a phase's figures with their range."""
    sure = spread(figures)
    return PhaseUse(
        phase=name,
        energy_j=figures.energy_j,
        idle_j=figures.idle_j,
        site_j=figures.site_j,
        operational=Grams(grams=figures.location_g, low=sure.low_g, high=sure.high_g),
        embodied_g=figures.embodied_g,
        duration_s=figures.duration_s,
        units=figures.units,
        metered_share=metered_share(figures),
    )


def _unit(asked: str | None, counted: dict[str, float]) -> tuple[str | None, str]:
    """Return what uses are counted in, or why nobody knows."""
    known = ", ".join(sorted(counted))
    if asked is not None:
        found = f"no task of phase infer counted {asked}" + (f"; counted are {known}" if known else "")
        return (asked, "") if asked in counted else (None, found)
    names = [name for name in counted if name != LATENCY]
    if len(names) == 1:
        return names[0], ""
    if not names:
        return None, "no task of phase infer counted any use"
    return None, f"tasks of phase infer count {known}; name one with --unit"


def _per_use(unit: str, uses: float, making: Figures, using: Figures, expected: float | None) -> PerUse:
    whole = PER / uses
    life = None
    if expected is not None:
        life = _scaled([(making, PER / max(uses, expected)), (using, whole)])
    return PerUse(
        unit=unit,
        uses=uses,
        served=_scaled([(using, whole)]),
        to_date=_scaled([(making, whole), (using, whole)]),
        expected_uses=expected,
        over_life=life,
    )


def _scaled(parts: Sequence[tuple[Figures, float]]) -> Grams:
    """Add parts up; operational grams share their bias (meters, factors), the embodied ones are independent of it."""
    spreads = [(figures, scale, spread(figures)) for figures, scale in parts]
    whole_g = fsum(scale * (figures.location_g + (figures.embodied_g or 0.0)) for figures, scale, _ in spreads)
    operational_g = fsum(scale * figures.location_g * sure.relative for figures, scale, sure in spreads)
    embodied_g = fsum(scale * (sure.embodied_half_width_g or 0.0) for _, scale, sure in spreads)
    half_g = hypot(operational_g, embodied_g)
    return Grams(grams=whole_g, low=max(0.0, whole_g - half_g), high=whole_g + half_g)


def share(part: float, whole: float) -> float:
    """Return a share; 0 of nothing."""
    return part / whole if whole > 0 else 0.0


def energy_j(phases: Iterable[PhaseUse | None]) -> float:
    """Return the energy of phases that there are."""
    return fsum(one.energy_j for one in phases if one is not None)
