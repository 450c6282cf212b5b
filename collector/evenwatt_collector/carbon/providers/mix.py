"""From a generation mix to an intensity: what each fuel weighs, and when a mix is complete enough to say anything.

``intensity = sum(energy x factor) / sum(energy)`` over what was generated in the grid. Imports are not in it. Storage
is not generation: what comes out of a pumped store was counted when it was generated, and what goes in is a load.
Pure, but for one packaged table.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from evenwatt_collector.carbon.series import Basis, Kind, Reading, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

STORAGE: Final = "storage"

_MINOR: Final = 0.01
"""A kind of plant below this share of the window's energy may be missing without a word."""
_MAJOR: Final = 0.05
"""A fuel above it may not: the interval has not been published completely."""


@dataclass(frozen=True, slots=True)
class FuelFactor:
    """What a kilowatt-hour of one fuel weighs, and who says so."""

    fuel: str
    basis: Basis
    g_per_kwh: float
    year: int
    source: str
    licence: str


@dataclass(frozen=True, slots=True)
class Generated:
    """Mean power of one kind of plant over an interval."""

    code: str
    """The provider's name of the kind; two of them may burn one fuel."""
    fuel: str
    """A fuel of the table, or :data:`STORAGE`."""
    start_s: int
    end_s: int
    power_mw: float


@cache
def fuel_factors() -> Mapping[tuple[str, Basis], FuelFactor]:
    """Read the packaged table."""
    path = resources.files("evenwatt_collector.carbon.providers") / "fuel_factors.csv"
    with path.open(encoding="utf-8") as lines:
        rows = [
            FuelFactor(
                fuel=row["fuel"],
                basis=Basis(row["basis"]),
                g_per_kwh=float(row["g_per_kwh"]),
                year=int(row["year"]),
                source=row["source"],
                licence=row["licence"],
            )
            for row in csv.DictReader(lines)
        ]
    return {(row.fuel, row.basis): row for row in rows}


def intensities(
    generated: Iterable[Generated], basis: Basis, *, grid: str, source: str, issued_s: int, recorded_s: int
) -> list[Reading]:
    """Return one reading for each interval over which the mix is known.

    Intervals are cut where any figure changes, so that quarter hours and hours go together. A kind of plant with 1 % or
    more of the window's energy that has no figure makes an interval ``estimated``; one with 5 % or more makes it left
    out as not yet published, unless what it had last was below 5 % of the rest: some operators leave solar plants out
    at night. Where one kind has several figures for one moment, the last one counts. Negative power is a load, and
    counts as nothing generated. Without any generation there is no reading.
    """
    plants = [item for item in generated if item.fuel != STORAGE]
    cuts = _by_interval(plants)
    shares = _shares(cuts)
    wanted = {code for code, share in shares.items() if share >= _MINOR}
    needed = {code for code, share in shares.items() if share >= _MAJOR}
    table = fuel_factors()
    factors = {item.code: table[item.fuel, basis].g_per_kwh for item in plants}
    last_mw: dict[str, float] = {}
    readings = []
    for (start_s, end_s), mix in sorted(cuts.items()):
        total_mw = sum(mix.values())
        last_mw |= mix
        absent = needed - mix.keys()
        if total_mw <= 0 or any(last_mw.get(code, total_mw) >= _MAJOR * total_mw for code in absent):
            continue
        weighed = sum(power_mw * factors[code] for code, power_mw in mix.items())
        readings.append(
            Reading(
                grid=grid,
                start_s=start_s,
                end_s=end_s,
                g_per_kwh=weighed / total_mw,
                kind=Kind.AVERAGE,
                basis=basis,
                source=source,
                standing=Standing.ESTIMATED if wanted - mix.keys() else Standing.MEASURED,
                issued_s=issued_s,
                recorded_s=recorded_s,
            )
        )
    return readings


def _by_interval(generated: Iterable[Generated]) -> dict[tuple[int, int], dict[str, float]]:
    series: dict[str, dict[tuple[int, int], float]] = defaultdict(dict)
    for item in generated:
        series[item.code][item.start_s, item.end_s] = max(0.0, item.power_mw)
    edges = sorted({edge for figures in series.values() for span in figures for edge in span})
    place = {edge: i for i, edge in enumerate(edges)}
    cuts: dict[tuple[int, int], dict[str, float]] = defaultdict(dict)
    for code, figures in series.items():
        for (start_s, end_s), power_mw in figures.items():
            for i in range(place[start_s], place[end_s]):
                cuts[edges[i], edges[i + 1]][code] = power_mw
    return cuts


def _shares(cuts: Mapping[tuple[int, int], Mapping[str, float]]) -> dict[str, float]:
    """Mean power of each kind over the intervals that have it, as a share of the sum of these means."""
    energy: dict[str, float] = defaultdict(float)
    time_s: dict[str, float] = defaultdict(float)
    for (start_s, end_s), mix in cuts.items():
        for code, power_mw in mix.items():
            energy[code] += power_mw * (end_s - start_s)
            time_s[code] += end_s - start_s
    means = {code: energy[code] / time_s[code] for code in energy}
    total = sum(means.values())
    return {code: mean / total for code, mean in means.items()} if total > 0 else {}
