"""Two periods beside each other: what changed, by which factor, and whether they may be compared at all. Pure.

What is compared is location-based operational grams per unit of work, or per day where no unit is named, so that
periods of different lengths can stand beside each other. It is the product of four factors:

    g per unit = energy above idle per unit (kWh) x node energy / energy above idle x PUE x intensity (g/kWh)

so the ratio of two periods is the product of the ratios of the factors. The difference in grams per unit is shared
among them by the logarithmic mean Divisia index (LMDI I, additive), which leaves no rest: ``L(b, a) x ln(x_b / x_a)``
with ``L(b, a) = (b - a) / ln(b / a)`` (B. W. Ang: The LMDI approach to decomposition analysis: a practical guide,
Energy Policy 33, 2005, 867-871).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Final

from evenwatt_collector.carbon.series import Kind, Standing
from evenwatt_collector.report.periods import shown, zone
from evenwatt_collector.report.totals import J_PER_KWH, coverage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_collector.report.model import Report

LEAST_COVERAGE: Final = 0.8
"""Metered share of a period below which it is not compared: the design's gate for grades as well."""
_LATE_SHARE: Final = 1 - LEAST_COVERAGE
PER_DAY: Final = "day"
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One factor: in the earlier and the later period, and what it did."""

    name: str
    unit: str
    earlier: float
    later: float
    ratio: float
    added_g: float
    """What it adds to the grams per unit; the factors' sum is the whole difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The later period against the earlier one."""

    per: str
    """A unit of work, or ``day``."""
    earlier_start_s: float
    earlier_end_s: float
    later_start_s: float
    later_end_s: float
    earlier_g: float
    """Grams per unit, unrounded."""
    later_g: float
    ratio: float | None
    """Later to earlier; None where the earlier is 0."""
    changes: tuple[Change, ...]
    """Empty where a factor is 0 or unknown: there is nothing to multiply then."""
    doubts: tuple[str, ...]
    """Why the periods are not comparable; empty: they are."""


@dataclass(frozen=True, slots=True)
class NoComparison:
    """Why there is none."""

    why: str


def compare(earlier: Report, later: Report, per: str | None = None) -> Comparison | NoComparison:
    """Return the totals of two reports beside each other, per unit of work or per day."""
    factors = []
    for report in (earlier, later):
        found = _factors(report, per)
        if isinstance(found, str):
            return NoComparison(found)
        factors.append(found)
    before, after = factors
    before_g, after_g = (report.total.location_g / facts.work for report, facts in ((earlier, before), (later, after)))
    return Comparison(
        per=per or PER_DAY,
        earlier_start_s=earlier.start_s,
        earlier_end_s=earlier.end_s,
        later_start_s=later.start_s,
        later_end_s=later.end_s,
        earlier_g=before_g,
        later_g=after_g,
        ratio=after_g / before_g if before_g > 0 else None,
        changes=_changes(before, after, before_g, after_g, per or PER_DAY),
        doubts=_doubts(earlier, later),
    )


def log_mean(a: float, b: float) -> float:
    """Return the logarithmic mean of two positive numbers."""
    ratio = b / a
    if abs(ratio - 1) < 1e-6:  # (b - a) / ln(b / a) loses digits here; its series does not
        return a * (1 + (ratio - 1) / 2 - (ratio - 1) ** 2 / 12)
    return (b - a) / log(ratio)


@dataclass(frozen=True, slots=True)
class _Factors:
    work: float
    values: tuple[float, ...]


_NAMES: Final = ("energy above idle", "idle", "PUE", "intensity")


def _factors(report: Report, per: str | None) -> _Factors | str:
    total = report.total
    tz = zone(report.timezone)
    when = f"{shown(report.start_s, tz)} to {shown(report.end_s, tz)}"
    work = (min(report.end_s, report.known_at_s) - report.start_s) / _DAY_S if per is None else total.units.get(per, 0)
    if not work > 0:
        return f"the period {when} has no {per or PER_DAY}: nothing to divide by"
    if total.energy_j <= 0 or total.site_j <= 0:
        return f"the period {when} has no energy: nothing to compare"
    idle = total.energy_j / total.dynamic_j if total.dynamic_j > 0 else 0.0
    return _Factors(
        work,
        (
            total.dynamic_j / J_PER_KWH / work,
            idle,
            total.site_j / total.energy_j,
            total.location_g / (total.site_j / J_PER_KWH),
        ),
    )


def _changes(before: _Factors, after: _Factors, before_g: float, after_g: float, per: str) -> tuple[Change, ...]:
    if min(*before.values, *after.values, before_g, after_g) <= 0:
        return ()
    weight = log_mean(before_g, after_g)
    units = (f"kWh per {per}", "node energy per energy above idle", "site energy per node energy", "g/kWh")
    return tuple(
        Change(name=name, unit=unit, earlier=a, later=b, ratio=b / a, added_g=weight * log(b / a))
        for name, unit, a, b in zip(_NAMES, units, before.values, after.values, strict=True)
    )


def _doubts(earlier: Report, later: Report) -> tuple[str, ...]:
    found = []
    for name, report in (("earlier", earlier), ("later", later)):
        found += [f"the {name} period {doubt}" for doubt in _doubts_of(report)]
    if earlier.fleet != later.fleet or earlier.by is not later.by:
        found.append("the reports are of different fleets or groups")
    bases = [{used.basis for used in report.used if used.kind is Kind.AVERAGE} for report in (earlier, later)]
    if bases[0] != bases[1]:
        found.append(f"intensities have another basis: {_listed(bases[0])} before, {_listed(bases[1])} after")
    factors = [
        {f"{used.grid} {used.source}{f' ({used.detail})' if used.detail else ''}" for used in report.used}
        for report in (earlier, later)
    ]
    for said, only in (("earlier", factors[0] - factors[1]), ("later", factors[1] - factors[0])):
        if only:
            found.append(f"only the {said} period uses these factors: {_listed(only)}")
    return tuple(found)


def _doubts_of(report: Report) -> list[str]:
    found = []
    covered = coverage(report.total)
    if covered is not None and covered < LEAST_COVERAGE:
        found.append(f"is metered to {100 * covered:.0f} %, expected at least {100 * LEAST_COVERAGE:.0f} %")
    elif covered is None:
        found.append("says nothing about its coverage")
    began_s = report.recorded_from_s
    if began_s is not None and began_s - report.start_s > _LATE_SHARE * (report.end_s - report.start_s):
        found.append(f"begins long before anything was recorded: {shown(began_s, zone(report.timezone))}")
    if report.end_s > report.known_at_s:
        found.append("was not over at the moment that the report is as known at")
    open_j = report.total.by_standing_j.get(Standing.FORECAST, 0.0)
    if open_j > 0:
        share = 100 * open_j / report.total.energy_j
        found.append(f"has open hours: {share:.2g} % of its energy is weighed by forecast intensity")
    return found


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
