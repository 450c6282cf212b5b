"""Joules per slot become grams, by what is known of a zone's grid and site. Pure; numpy.

Operational grams are the sum over slots of energy x PUE x mean intensity of the slot (ISO/IEC 21031: E x I; GHG
Protocol, Scope 2 Guidance: location- and market-based side by side). Everything is linear in energy, so rows may be
added before or after. Facts of the site change at full hours; intensity at any moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, fsum
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.emissions import JOULES_PER_KWH
from evenwatt_collector.carbon.series import Basis, Kind, Reading, Standing, resolve, slot_means
from evenwatt_collector.carbon.shares import HOUR_S
from evenwatt_collector.carbon.site import SiteFacts, held_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from evenwatt_collector.carbon.series import Steps

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_LOCATION, _MARKET, _MARGINAL, _MARGINAL_KNOWN, _ESTIMATED, _FORECAST, _FALLBACK = range(7)
_FACTORS: Final = 7
_CHUNK_SLOTS: Final = 240_000
"""Of rows that are weighed in one go: their factors take some 13 MB."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one zone."""

    line: Sequence[tuple[float, SiteFacts]]
    """Facts of the site, by since when they hold; not empty."""
    average: Sequence[Reading]
    """Readings of average intensity of every grid in ``line``."""
    marginal: Sequence[Reading]

    def within(self, start_s: float, end_s: float) -> Known:
        """Return it without readings that say nothing of [start, end)."""
        return Known(self.line, _overlapping(self.average, start_s, end_s), _overlapping(self.marginal, start_s, end_s))


def _overlapping(readings: Sequence[Reading], start_s: float, end_s: float) -> list[Reading]:
    return [one for one in readings if one.start_s < end_s and one.end_s > start_s]


@dataclass(frozen=True, slots=True)
class Factors:
    """What a joule of a zone weighs, over contiguous hours."""

    first_hour: int
    slots: int
    """An hour's."""
    by_slot: Floats
    """(hour, slot, factor): grams per joule of the location, market and marginal method, and shares of the slot."""
    pue: Floats
    """(hour)."""
    water_l_per_j: Floats
    """(hour); NaN where no figure is configured."""
    has_market: NDArray[np.bool_]
    """(hour)."""
    steps: tuple[Steps, ...]
    """The average series, stretch by stretch of the grids in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """Columns, one value a row."""

    energy_j: Floats
    dynamic_j: Floats
    site_j: Floats
    location_g: Floats
    location_dynamic_g: Floats
    market_g: Floats
    """NaN where there is no contract."""
    marginal_g: Floats
    marginal_j: Floats
    water_l: Floats
    by_estimated_j: Floats
    by_forecast_j: Floats
    by_fallback_j: Floats


@dataclass(slots=True)
class Use:
    """What one source contributed to a series."""

    kind: Kind
    basis: Basis
    source: str
    standing: Standing
    grid: str
    energy_j: float = 0.0
    grams: float = 0.0
    """Energy in kWh times intensity, before the PUE; over ``energy_j`` it is the mean."""
    least_g_per_kwh: float = float("inf")
    most_g_per_kwh: float = 0.0

    def add(self, other: Use) -> None:
        """Take in another's figures."""
        self.energy_j += other.energy_j
        self.grams += other.grams
        self.least_g_per_kwh = min(self.least_g_per_kwh, other.least_g_per_kwh)
        self.most_g_per_kwh = max(self.most_g_per_kwh, other.most_g_per_kwh)


def factors(known: Known, first_hour: int, hours: int, slots: int, known_at_s: float | None = None) -> Factors:
    """Return what a joule weighs over ``hours`` hours of ``slots`` slots.

    Args:
        known: Of the zone.
        first_hour: Hours since 1970.
        hours: How many.
        slots: An hour's.
        known_at_s: Readings recorded later do not count; None: all do. (Facts in ``known`` are as of then already.)
    """
    start_s, end_s = first_hour * HOUR_S, (first_hour + hours) * HOUR_S
    edges = np.linspace(start_s, end_s, hours * slots + 1)
    by_slot = np.empty((hours, slots, _FACTORS))
    per_hour = [held_at(known.line, (first_hour + i) * HOUR_S) for i in range(hours)]
    steps = []
    for facts, first, last in _stretches(per_hour):
        part = edges[first * slots : last * slots + 1]
        found = _average(known.average, facts, float(part[0]), float(part[-1]), known_at_s)
        steps.append(found)
        by_slot[first:last] = _of_stretch(known, facts, found, part, known_at_s).reshape(last - first, slots, _FACTORS)
    return Factors(
        first_hour,
        slots,
        by_slot,
        np.array([facts.pue for facts in per_hour]),
        np.array([_water_l_per_j(facts) for facts in per_hour]),
        np.array([facts.contract is not None for facts in per_hour]),
        tuple(steps),
    )


def weigh(made: Factors, hours: Ints, energy: Floats) -> Weighed:
    """Weigh rows.

    Args:
        made: Factors that cover every row's hour and have as many slots.
        hours: Of each row, since 1970.
        energy: (row, 2, slot): joules, dynamic and idle.
    """
    at = hours - made.first_hour
    total, dynamic = energy.sum(axis=1), energy[:, 0]
    out = np.empty((len(hours), _FACTORS))
    dynamic_g = np.empty(len(hours))
    rows = max(1, _CHUNK_SLOTS // made.slots)
    for first in range(0, len(hours), rows):
        part = slice(first, first + rows)
        chosen = made.by_slot[at[part]]
        out[part] = np.einsum("rn,rnk->rk", total[part], chosen)
        dynamic_g[part] = np.einsum("rn,rn->r", dynamic[part], chosen[:, :, _LOCATION])
    energy_j, pue = total.sum(axis=1), made.pue[at]
    return Weighed(
        energy_j=energy_j,
        dynamic_j=dynamic.sum(axis=1),
        site_j=energy_j * pue,
        location_g=out[:, _LOCATION],
        location_dynamic_g=dynamic_g,
        market_g=np.where(made.has_market[at], out[:, _MARKET], np.nan),
        marginal_g=out[:, _MARGINAL],
        marginal_j=out[:, _MARGINAL_KNOWN],
        water_l=energy_j * made.water_l_per_j[at],
        by_estimated_j=out[:, _ESTIMATED],
        by_forecast_j=out[:, _FORECAST],
        by_fallback_j=out[:, _FALLBACK],
    )


def used(made: Factors, energy_j: Floats) -> list[Use]:
    """Return what each source contributed to the average series, given the zone's energy by (hour, slot)."""
    edges = made.first_hour * HOUR_S + np.arange(energy_j.size + 1) * (HOUR_S / made.slots)
    per_second = energy_j.ravel() / (HOUR_S / made.slots)
    found: dict[tuple[object, ...], Use] = {}
    for steps in made.steps:
        cuts = np.unique(np.concatenate((steps.edges, edges)))
        cuts = cuts[(cuts >= steps.edges[0]) & (cuts <= steps.edges[-1])]
        middle = (cuts[:-1] + cuts[1:]) / 2
        joules = per_second[np.searchsorted(edges, middle) - 1] * np.diff(cuts)
        which = steps.which[np.searchsorted(steps.edges, middle) - 1]
        by_reading = np.bincount(which, joules, len(steps.readings))
        for i in np.flatnonzero(by_reading > 0):
            reading, amount = steps.readings[i], float(by_reading[i])
            key = (reading.grid, reading.basis, reading.source, reading.standing)
            use = found.setdefault(
                key, Use(reading.kind, reading.basis, reading.source, reading.standing, reading.grid)
            )
            value = reading.g_per_kwh
            use.add(
                Use(
                    reading.kind,
                    reading.basis,
                    reading.source,
                    reading.standing,
                    reading.grid,
                    amount,
                    amount / JOULES_PER_KWH * value,
                    value,
                    value,
                )
            )
    return list(found.values())


def period_mean(known: Known, start_s: float, end_s: float) -> float:
    """Return the mean over time of PUE x average intensity, in grams per kilowatt-hour at a machine.

    It is what a constant load over [start, end) would be weighed with, whatever the length of the period costs: the
    series is summed by its own steps.
    """
    edges = [float("-inf"), *(ceil(since_s / HOUR_S) * HOUR_S for since_s, _ in known.line[1:]), float("inf")]
    weights = []
    for (_, facts), (begin, end) in zip(known.line, pairwise(edges), strict=True):
        first_s, last_s = max(begin, start_s), min(end, end_s)
        if first_s < last_s:
            steps = _average(known.average, facts, first_s, last_s, None)
            weights.append(facts.pue * float(steps.g_per_kwh @ np.diff(steps.edges)))
    return fsum(weights) / (end_s - start_s)


def fallback(facts: SiteFacts, start_s: float, end_s: float) -> Reading:
    """Return the annual average as a reading: it ranks below everything, and covers what nothing else does."""
    return Reading(
        grid=facts.grid,
        start_s=int(np.floor(start_s)),
        end_s=int(np.ceil(end_s)),
        g_per_kwh=facts.fallback_g_per_kwh,
        kind=Kind.AVERAGE,
        basis=facts.basis,
        source=facts.fallback_source,
        standing=facts.fallback_standing,
        issued_s=0,
        recorded_s=0,
    )


def _stretches(per_hour: list[SiteFacts]) -> list[tuple[SiteFacts, int, int]]:
    changes = [0, *(i for i in range(1, len(per_hour)) if per_hour[i] is not per_hour[i - 1]), len(per_hour)]
    return [(per_hour[first], first, last) for first, last in pairwise(changes) if last > first]


def _average(
    readings: Sequence[Reading], facts: SiteFacts, start_s: float, end_s: float, known_at_s: float | None
) -> Steps:
    own = [reading for reading in readings if reading.grid == facts.grid]
    own.append(fallback(facts, start_s, end_s))
    return resolve(own, start_s, end_s, order=facts.order, known_at_s=known_at_s)


def _of_stretch(known: Known, facts: SiteFacts, average: Steps, edges: Floats, known_at_s: float | None) -> Floats:
    per_joule = facts.pue / JOULES_PER_KWH
    mean = slot_means(average.edges, average.g_per_kwh, edges)
    out = np.zeros((len(edges) - 1, _FACTORS))
    out[:, _LOCATION] = mean * per_joule
    contract = facts.contract
    if contract is not None:
        rest = mean if contract.rest_g_per_kwh is None else contract.rest_g_per_kwh
        out[:, _MARKET] = (contract.share * contract.g_per_kwh + (1 - contract.share) * rest) * per_joule
    marginal = [reading for reading in known.marginal if reading.grid == facts.grid]
    if marginal:
        steps = resolve(marginal, float(edges[0]), float(edges[-1]), order=facts.order, known_at_s=known_at_s)
        value = slot_means(steps.edges, steps.g_per_kwh, edges)
        has = np.isfinite(value)
        out[:, _MARGINAL] = np.where(has, value, 0.0) * per_joule
        out[:, _MARGINAL_KNOWN] = has
    for column, standing in (
        (_ESTIMATED, Standing.ESTIMATED),
        (_FORECAST, Standing.FORECAST),
        (_FALLBACK, Standing.FALLBACK),
    ):
        stands = np.array([float(reading.standing is standing) for reading in average.readings])
        if stands.any():
            out[:, column] = slot_means(average.edges, stands[average.which], edges)
    return out


def _water_l_per_j(facts: SiteFacts) -> float:
    if facts.wue_l_per_kwh is None and facts.grid_water_l_per_kwh is None:
        return float("nan")
    return ((facts.wue_l_per_kwh or 0.0) + (facts.grid_water_l_per_kwh or 0.0) * facts.pue) / JOULES_PER_KWH
