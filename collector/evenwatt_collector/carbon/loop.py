"""The carbon loop: a day's grams become the power limit of the next interval. Pure: wall time is an argument.

With what is left, C, spread over the N intervals of length D that the day still has, the plan that maximises the sum
of log B_k gives each interval the same grams, B_k = 3.6e6 C / (N D PUE I_k): power goes where the grid is clean.
Clipped to what the zone needs and may draw, what clipping leaves over goes to the others: B_k = clip(level / I_k), with
the level at which the grams are used up (water-filling). A limit may move by 5 % of the zone's largest an interval, so
the plan is the highest path under those levels that climbs and falls no faster, and it falls ahead of a dirty hour.

It is solved again every interval, with the grams that were really used and the intensities known by then.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from math import floor, inf, isfinite
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

from evenwatt_collector.carbon.emissions import JOULES_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RAMP: Final = 0.05
"""Largest change from one interval to the next, as a fraction of the most the zone may draw (our choice)."""
STALE_S: Final = 3600.0
"""A value of the intensity stands for so long, if no newer one has come."""
ANNUAL_FACTOR: Final = 1.5
"""An annual average times this is the conservative guess where nothing was ever heard (our choice: over 2020 and 2021
the 95th percentile of hourly values was 1.11 times their mean in Poland, 1.44 in California and 1.49 in Germany, by
CarbonCast's data; in France 1.6 times a mean of 57 g/kWh)."""
_SHORTEST_S: Final = 1.0
"""What is shorter belongs to the interval before it."""
_PERCENTILE: Final = 95.0
_HALVINGS: Final = 80
"""The level is found by halving its logarithm: that often leaves less than the rounding of its exponent."""


class Intensities:
    """A grid's intensity over time, g CO2e/kWh, as far as it is known; points ahead of now are a forecast.

    Args:
        points: (Unix time, value) in any order; each stands until the next, for an hour at the most.
        annual_g_per_kwh: The grid's annual average, for when there is no point at all.

    Raises:
        ValueError: a time or value is not a finite number, or a value is negative.
    """

    def __init__(self, points: Sequence[tuple[float, float]], annual_g_per_kwh: float) -> None:
        for at_s, value in points:
            if not (isfinite(at_s) and isfinite(value) and value >= 0):
                raise ValueError(f"intensity of {value} g/kWh at {at_s}: expected a finite time and 0 or more")
        ordered = sorted(dict(points).items())
        self._times = [at_s for at_s, _ in ordered]
        self._values = [value for _, value in ordered]
        self._annual = annual_g_per_kwh

    def over(self, walls_s: Floats, now_s: float) -> Floats:
        """Return the intensity to count with at every one of some moments; see :meth:`at`."""
        cautious, _ = self.cautious(now_s)
        if not self._times:
            return np.full(len(walls_s), cautious)
        times = np.array(self._times)
        i = np.searchsorted(times, walls_s, side="right") - 1
        fresh = (i >= 0) & (walls_s - times[i] <= STALE_S)
        return np.where(fresh, np.array(self._values)[i], cautious)

    def at(self, wall_s: float, now_s: float) -> tuple[float, str]:
        """Return the intensity to count with at a moment, and what it is.

        Args:
            wall_s: The moment, Unix time.
            now_s: The present; what came before it has been seen.
        """
        i = bisect_right(self._times, wall_s) - 1
        if i >= 0 and wall_s - self._times[i] <= STALE_S:
            return self._values[i], "forecast" if self._times[i] > now_s else "measured"
        return self.cautious(now_s)

    def cautious(self, now_s: float) -> tuple[float, str]:
        """Return the conservative guess for a time that nothing is known of."""
        seen = self._values[: bisect_right(self._times, now_s)]
        if seen:
            return float(np.percentile(seen, _PERCENTILE)), "95th percentile of what was seen"
        return ANNUAL_FACTOR * self._annual, f"{ANNUAL_FACTOR:g} times the annual average"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneNeed:
    """What a zone needs and may draw. Watts count the same power as the grams do, before the PUE."""

    floors_w: float
    """The least it can be brought to: its nodes' floors and unmanaged load."""
    most_w: float
    """The most it may draw at any time, B_phys."""
    pue: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What bounds a plan."""

    left_g: float
    """Grams that may still be emitted."""
    zone: ZoneNeed
    before_w: float
    """The limit of the interval that has just ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Limits of the intervals that are left of a day."""

    budget_w: Floats
    """One an interval; the first is the one to set."""
    grams: float
    """What would be emitted if every limit were used up."""
    feasible: bool
    """Whether that is within what is left."""
    bound: bool
    """Whether the grams hold anything back; False: the zone may draw all it physically may."""


def plan(need: Need, length_s: Floats, intensity: Floats) -> Plan:
    """Spread what is left of a day's grams over its intervals.

    Args:
        need: What bounds the plan.
        length_s: Of each interval.
        intensity: Of each interval, g CO2e/kWh.

    Raises:
        ValueError: there is no interval, or a bound makes no sense.
    """
    _check(need, length_s, intensity)
    weight = intensity * length_s * need.zone.pue / JOULES_PER_KWH

    def path_w(level: float) -> Floats:
        return _path_w(need, intensity, level)

    def weigh(level: float) -> float:
        return float(weight @ path_w(level))

    if weigh(inf) <= need.left_g:
        return _made(path_w(inf), weight, need, bound=False)
    if weigh(0.0) > need.left_g:
        return _made(path_w(0.0), weight, need, bound=True)
    return _made(path_w(_level(need, intensity, weigh)), weight, need, bound=True)


def _check(need: Need, length_s: Floats, intensity: Floats) -> None:
    if len(intensity) == 0 or len(intensity) != len(length_s) or not (length_s > 0).all():
        raise ValueError("a plan needs at least one interval, and a length above 0 s and an intensity for each")
    if not (need.zone.pue >= 1 and need.zone.floors_w >= 0 and isfinite(need.zone.most_w) and isfinite(need.before_w)):
        raise ValueError(f"{need}: expected pue >= 1, floors_w >= 0, finite most_w and before_w")


def _made(budget_w: Floats, weight: Floats, need: Need, *, bound: bool) -> Plan:
    grams = float(weight @ budget_w)
    return Plan(budget_w=budget_w, grams=grams, feasible=grams <= max(0.0, need.left_g), bound=bound)


def _level(need: Need, intensity: Floats, weigh: Callable[[float], float]) -> float:
    """Return the highest level (watts times g/kWh) whose path stays within the grams."""
    dirty = intensity[intensity > 0]
    low = float(dirty.min()) * max(need.zone.floors_w, 1e-6 * need.zone.most_w) / 2
    high = float(dirty.max()) * need.zone.most_w * 2
    if weigh(low) > need.left_g:
        return 0.0
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        if weigh(middle) <= need.left_g:
            low = middle
        else:
            high = middle
    return low


def _path_w(need: Need, intensity: Floats, level: float) -> Floats:
    """Return the highest path under ``level / I`` that moves no faster than the ramp and begins at ``before_w``."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        wish_w = np.where(intensity > 0, level / intensity, need.zone.most_w)
    floors_w = min(need.zone.floors_w, need.zone.most_w)
    wish_w = np.clip(wish_w, floors_w, need.zone.most_w)
    step_w = RAMP * need.zone.most_w
    slope_w = step_w * np.arange(len(wish_w))
    climbing_w = np.minimum.accumulate(wish_w - slope_w) + slope_w
    falling_w = np.minimum.accumulate((climbing_w + slope_w)[::-1])[::-1] - slope_w
    before_w = min(max(need.before_w, floors_w), need.zone.most_w)
    reach_w = slope_w + step_w
    path_w: Floats = np.clip(falling_w, before_w - reach_w, before_w + reach_w)
    return path_w


class CarbonLoop:
    """One zone's carbon budget over the days.

    Args:
        grams_per_day: What may be emitted between two midnights.
        interval_s: How often it is planned anew; intervals count from midnight.
        timezone: Where the day begins, by its IANA name.
        before_w: The limit to begin from; None: the most that the zone may draw.
    """

    def __init__(self, grams_per_day: float, interval_s: float, timezone: str, before_w: float | None = None) -> None:
        self._grams_per_day, self._interval_s, self._zone = grams_per_day, interval_s, ZoneInfo(timezone)
        self._due_s = -inf
        self._before_w = before_w

    def day(self, wall_s: float) -> tuple[float, float]:
        """Return the midnights around a moment, Unix time; a day of a change of clocks has 23 or 25 hours."""
        today = datetime.fromtimestamp(wall_s, self._zone).date()
        midnights = (datetime.combine(day, time(), self._zone) for day in (today, today + timedelta(days=1)))
        start, end = (midnight.timestamp() for midnight in midnights)
        return start, end

    def due(self, wall_s: float) -> bool:
        """Whether a new interval has begun, or the clock was set back."""
        return wall_s >= self._due_s or wall_s < self._due_s - 2 * self._interval_s

    def step(self, wall_s: float, used_g: float, zone: ZoneNeed, known: Intensities) -> Plan:
        """Plan the rest of the day; ``budget_w[0]`` holds until the next step.

        Args:
            wall_s: Unix time.
            used_g: Emitted since midnight, of all power that the limit counts.
            zone: What the zone needs and may draw now.
            known: The grid's intensity.
        """
        _, end_s = self.day(wall_s)
        starts_s = self._starts(wall_s)
        length_s = np.diff(np.append(starts_s, end_s))
        intensity = known.over(starts_s, wall_s)
        need = Need(
            left_g=self._grams_per_day - used_g,
            zone=zone,
            before_w=zone.most_w if self._before_w is None else self._before_w,
        )
        made = plan(need, length_s, intensity)
        self._before_w = float(made.budget_w[0])
        self._due_s = float(starts_s[1]) if len(starts_s) > 1 else end_s
        return made

    def _starts(self, wall_s: float) -> Floats:
        """Return where the intervals that are left begin, now being the first."""
        start_s, end_s = self.day(wall_s)
        past = floor((wall_s - start_s) / self._interval_s)
        later_s = np.arange(start_s + (past + 1) * self._interval_s, end_s - _SHORTEST_S, self._interval_s)
        return np.concatenate(([wall_s], later_s))
