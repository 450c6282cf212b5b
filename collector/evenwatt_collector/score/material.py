"""What scores of a period are made from, as plain data. Pure; ``gather`` reads it from the database."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import fsum
from typing import TYPE_CHECKING, Literal

from evenwatt_collector.report.totals import added, time_coverage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_collector.jobs.model import Outcome
    from evenwatt_collector.report.model import Figures

By = Literal["workload", "model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A zone over the period."""

    mean_g_per_kwh: float
    """Mean over time of PUE x average intensity: what a machine's kilowatt-hour weighs, used evenly."""
    total: Figures
    """Of all that ran there, idle included; with its covered and missing time."""
    recorded_s: float | None = None
    """From the first record to the end of the period, in seconds; None: all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A workload or a model."""

    name: str
    by_zone: Mapping[str, Figures]
    """Where it ran; units of work are in these."""

    @property
    def units(self) -> dict[str, float]:
        """Units of work done, by name."""
        return added(self.by_zone.values()).units


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a task."""

    name: str
    grams: float
    """Operational and embodied."""
    units: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Everything."""

    by: By
    start_s: float
    """Unix time; the period is [start, end)."""
    end_s: float
    known_at_s: float
    made_s: float
    version: str
    fleet: str
    parts: tuple[Part, ...]
    """All that has an owner; those that belong to nobody are only in the zones' totals."""
    places: Mapping[str, Place]
    outcomes: tuple[Outcome, ...] = ()
    """Of jobs that ended in the period."""
    factors: tuple[str, ...] = ()
    """Which intensities it rests on."""
    runs: Mapping[str, tuple[Run, ...]] = field(default_factory=dict)
    """By part, where they were asked for."""
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> Figures:
        """All that was used."""
        return added(place.total for place in self.places.values())

    @property
    def weights(self) -> dict[str, float]:
        """The fleet's energy by zone, as shares; nothing where none was used."""
        whole = self.total.energy_j
        return {z: p.total.energy_j / whole for z, p in sorted(self.places.items())} if whole > 0 else {}

    @property
    def means(self) -> dict[str, float]:
        """Mean of PUE x intensity by zone."""
        return {zone: place.mean_g_per_kwh for zone, place in self.places.items()}

    def covered(self, part: Part) -> Figures:
        """Return a part's figures over all zones, with the covered time of the zones in which it ran.

        Rows below nodes carry no time. What was not recorded of a zone may have been this work, so its share counts,
        weighted by where the work's energy was used.
        """
        whole = added(part.by_zone.values())
        known, missed = 0.0, 0.0
        for zone, figures in part.by_zone.items():
            share = time_coverage(self.places[zone].total) if zone in self.places else None
            known += figures.energy_j * (share or 0.0)
            missed += figures.energy_j * (1 - (share or 0.0))
        return replace(whole, covered_s=known, missing_s=missed)

    @property
    def length_s(self) -> float:
        """How long the period is, as far as it is over."""
        return min(self.end_s, self.known_at_s) - self.start_s

    def recorded_share(self, by_zone: Mapping[str, Figures]) -> float:
        """Return the share of the period since recording began, weighted by where energy was used.

        Time before the first record is no gap that could hold some of the work; but it was not covered either.
        """
        whole_j = fsum(figures.energy_j for figures in by_zone.values())
        if whole_j <= 0 or self.length_s <= 0:
            return 1.0
        return fsum(
            figures.energy_j / whole_j * min(1.0, place.recorded_s / self.length_s)
            if (place := self.places.get(zone)) and place.recorded_s is not None
            else figures.energy_j / whole_j
            for zone, figures in by_zone.items()
        )

    def outcomes_of(self, name: str) -> list[Outcome]:
        """Return what came of the jobs of a workload or model."""
        return [one for one in self.outcomes if getattr(one, self.by) == name]

    def grams_of(self, part: Part) -> float:
        """Return a part's operational grams."""
        return fsum(figures.location_g for figures in part.by_zone.values())
