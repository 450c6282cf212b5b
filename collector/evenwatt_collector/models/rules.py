"""The two rules by which a service's variant follows its grid; ``variants`` says when they may act. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.models.amounts import mass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.models.choice import Candidate

LOWER_ABOVE: Final = 0.75
"""Quantile of the next 24 hours above which a grid is dirty."""
RESTORE_BELOW: Final = 0.5
"""Quantile below which it is clean."""
UNEVEN: Final = 1.05
"""A dirty hour is at least so many times the median: less is not worth a change."""
SLACK: Final = 0.95
"""A better variant comes back when a unit of it weighs at most this share of the budget."""
LEAST_AHEAD_S: Final = 6 * 3600.0
"""A forecast that reaches less far says nothing of the day."""
DAY_S: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Ahead:
    """A zone's intensity from now on, in steps of equal length, g/kWh; what lies beyond 24 hours is left out."""

    step_s: float
    g_per_kwh: tuple[float, ...]

    @property
    def day(self) -> tuple[float, ...]:
        """The next 24 hours, or what is known of them."""
        return self.g_per_kwh[: max(1, int(DAY_S // self.step_s))]

    @property
    def enough(self) -> bool:
        """Whether it reaches far enough."""
        return len(self.day) * self.step_s >= LEAST_AHEAD_S


@dataclass(frozen=True, slots=True)
class Verdict:
    """What should run by a rule, why, and what would change it."""

    target: Candidate
    lowered: bool
    why: str
    would_change: str


def by_budget(most_g: float, running: Candidate, options: Sequence[Candidate]) -> Verdict:
    """Keep a unit within a budget of grams with the best quality that does."""
    current = next((one for one in options if one.label == running.label), running)
    top = max(one.goodness for one in options)
    low_g = max(SLACK * most_g, current.g_per_unit)  # what is better and weighs no more is always welcome
    better = [one for one in options if one.goodness > current.goodness and one.g_per_unit <= min(low_g, most_g)]
    budget = f"its budget of {mass(most_g)}"
    if better:
        best = min(better, key=lambda one: (-one.goodness, one.g_per_unit, one.label))
        why = f"restored: {best.label} weighs {mass(best.g_per_unit)} per {best.unit}, within {budget}"
        return Verdict(best, best.goodness < top, why, f"lowered above {best.intensity_at(most_g):.0f} g/kWh")
    if current.g_per_unit <= most_g:
        why = f"{current.label} weighs {mass(current.g_per_unit)} per {current.unit}, within {budget}"
        return Verdict(current, current.goodness < top, why, _change_of(current, options, most_g, top))
    within = [one for one in options if one.g_per_unit <= most_g]
    if within:
        best = min(within, key=lambda one: (-one.goodness, one.g_per_unit, one.label))
        why = (
            f"lowered: at {current.intensity_g_per_kwh:.0f} g/kWh {current.label} weighs {mass(current.g_per_unit)} "
            f"per {current.unit}, above {budget}; {best.label} {mass(best.g_per_unit)}"
        )
        return Verdict(best, True, why, _change_of(best, options, most_g, top))
    least = min(options, key=lambda one: (one.g_per_unit, -one.goodness, one.label))
    why = f"over budget: the leanest, {least.label}, weighs {mass(least.g_per_unit)} per {least.unit}, above {budget}"
    return Verdict(least, True, why, f"met below {least.intensity_at(most_g):.0f} g/kWh")


def by_day(
    running: Candidate, options: Sequence[Candidate], ahead: Ahead | None, *, lowered: bool, bound: float | None
) -> Verdict:
    """Run lean in the dirty hours of the next day, and the best quality in the others."""
    best = min(options, key=lambda one: (-one.goodness, one.g_per_unit, one.label))
    lean = min(options, key=lambda one: (one.g_per_unit, -one.goodness, one.label))
    if bound is None:
        return Verdict(best, False, "its owner states no min_quality, so it is never lowered", "a min_quality would")
    if lean.label == best.label:
        return Verdict(best, False, "no variant within its bounds weighs less", "a leaner variant would change it")
    now = running.intensity_g_per_kwh
    if ahead is None or not ahead.enough:
        why = f"{running.zone}: no forecast reaches {LEAST_AHEAD_S / 3600:.0f} h, so it is not lowered"
        return Verdict(best, False, why, "a forecast would change it")
    dirty, clean = (float(np.quantile(ahead.day, q)) for q in (LOWER_ABOVE, RESTORE_BELOW))
    dirty = max(dirty, UNEVEN * clean)
    grid = f"{running.zone} is at {now:.0f} g/kWh"
    if now > dirty:
        saved = 1 - lean.g_per_unit / best.g_per_unit if best.g_per_unit > 0 else 0.0
        why = f"lowered: {grid}, above {dirty:.0f} (dirtiest quarter of the next 24 h); {saved:.0%} fewer grams"
        return Verdict(lean, True, why, f"restored below {clean:.0f} g/kWh (their median)")
    if now < clean or not lowered:
        state = "restored" if lowered else "best quality"
        why = f"{state}: {grid}, {'below' if now < clean else 'not above'} {clean if now < clean else dirty:.0f}"
        return Verdict(best, False, why, f"lowered above {dirty:.0f} g/kWh")
    why = f"still lowered: {grid}, not below {clean:.0f} (median of the next 24 h)"
    return Verdict(lean, True, why, f"restored below {clean:.0f} g/kWh")


def _change_of(current: Candidate, options: Sequence[Candidate], most_g: float, top: float) -> str:
    lower = f"lowered above {current.intensity_at(most_g):.0f} g/kWh"
    better = [one for one in options if one.goodness > current.goodness]
    if current.goodness >= top or not better:
        return lower
    following = min(better, key=lambda one: (one.goodness, one.g_per_unit))
    return f"{following.label} comes back below {following.intensity_at(SLACK * most_g):.0f} g/kWh"
