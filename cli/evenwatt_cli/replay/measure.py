"""How a run is judged: from true power on the simulation's grid, never from one-second means.

Violation is the integral of what is above the hard budget; the other measures stand beside it because it is cheap to
keep a budget by doing no work, by capping a class away, or by moving caps all the time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evenwatt_cli.replay.plant import FleetSpec
    from evenwatt_collector.control.arrays import Floats, Ints

TARGET = 0.97
"""Settled is a fleet at or below this fraction of its budget: the hard budget less the 3 % for meters' errors."""
ROUNDING = 1e-9
"""A sum of caps that fills the budget exactly is not above it, whatever the last digits say."""
MOVED = 0.02
"""A cap has turned when it moved back by more than this fraction (and 5 W)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """One run's figures."""

    over_budget_ws: float
    """Integral of max(0, P - B) dt."""
    worst_overshoot_pct: float
    seconds_above: float
    work_lost_pct: float
    peak_to_average: float
    ramp_p99_w_per_s: float
    """99th percentile of how fast power rose within one second."""
    settle_s: float
    """The longest time from passing the budget to being at the target for a second."""
    jain: float
    """Fairness of (cap - floor) / (demand - floor) within a class, mean over classes and seconds."""
    reversals_per_h: float
    """How often a node's cap turned round, per node."""
    max_lease_to_budget: float
    """Highest sum of what nodes may draw to the budget: leases and fallbacks, or a rule's caps; uncapped, all."""
    energy_kwh: float
    peak_w: float

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name, rounded for people."""
        return {name: float(f"{value:.6g}") for name, value in asdict(self).items()}


class Judge:
    """Collects a run. ``power_w`` and ``budget_w`` grow a value a step."""

    def __init__(self, fleet: FleetSpec, dt_s: float) -> None:
        self._fleet, self._dt_s = fleet, dt_s
        self.power_w: list[float] = []
        self.budget_w: list[float] = []
        self._lease_share = 0.0
        self._turns = 0
        self._last_w: Floats | None = None
        self._way: Ints = np.zeros(len(fleet), dtype=np.int64)
        self._jain_sum = 0.0
        self._jain_count = 0
        self._steps = 0
        self._classes = [np.flatnonzero(fleet.priority == p) for p in np.unique(fleet.priority)]

    def take(self, power_w: float, budget_w: float) -> None:
        """Take the fleet's true power over a step."""
        self.power_w.append(power_w)
        self.budget_w.append(budget_w)

    def look(self, caps_w: Floats, load: Floats, most_w: float, budget_w: float) -> None:
        """Look at caps once a second."""
        fleet = self._fleet
        held_w = np.minimum(caps_w, fleet.max_w)
        allowed_w = float(held_w.sum()) if np.isnan(most_w) else most_w
        self._lease_share = max(self._lease_share, allowed_w / budget_w)
        if self._last_w is None:
            self._last_w = held_w.copy()
        moved_w = held_w - self._last_w
        turned = np.abs(moved_w) > np.maximum(5.0, MOVED * self._last_w)
        way = np.where(turned, np.sign(moved_w), 0).astype(np.int64)
        self._turns += int(((way != 0) & (self._way != 0) & (way != self._way)).sum())
        self._way = np.where(way != 0, way, self._way)
        self._last_w = np.where(turned, held_w, self._last_w)
        demand_w = fleet.idle_w + (fleet.max_w - fleet.idle_w) * load
        wants = demand_w > fleet.floor_w * 1.02
        for members in self._classes:
            mine = members[wants[members]]
            if len(mine) > 1:
                share = np.clip((held_w - fleet.floor_w)[mine] / (demand_w - fleet.floor_w)[mine], 0.0, 1.0)
                square = float((share**2).sum())
                self._jain_sum += float(share.sum()) ** 2 / (len(mine) * square) if square > 0 else 1.0
                self._jain_count += 1
        self._steps += 1

    def measures(self, done: float, demanded: float) -> Measures:
        """Return the figures of what was taken; work in seconds of full load."""
        power_w, budget_w, dt_s = np.array(self.power_w), np.array(self.budget_w), self._dt_s
        over_w = np.maximum(0.0, power_w - budget_w)
        over_w[over_w <= ROUNDING * budget_w] = 0.0
        second = max(1, round(1.0 / dt_s))
        rises = power_w[second:] - power_w[:-second]
        hours = len(power_w) * dt_s / 3600.0
        return Measures(
            over_budget_ws=float(over_w.sum() * dt_s),
            worst_overshoot_pct=float(100.0 * (over_w / budget_w).max(initial=0.0)),
            seconds_above=float((over_w > 0).sum() * dt_s),
            work_lost_pct=100.0 * (1.0 - done / demanded) if demanded else 0.0,
            peak_to_average=float(power_w.max() / power_w.mean()),
            ramp_p99_w_per_s=float(np.percentile(np.maximum(0.0, rises), 99)) if len(rises) else 0.0,
            settle_s=_settle_s(power_w, budget_w, dt_s),
            jain=self._jain_sum / self._jain_count if self._jain_count else 1.0,
            reversals_per_h=self._turns / len(self._fleet) / hours,
            max_lease_to_budget=self._lease_share,
            energy_kwh=float(power_w.sum() * dt_s / 3.6e6),
            peak_w=float(power_w.max()),
        )


def _settle_s(power_w: Floats, budget_w: Floats, dt_s: float) -> float:
    """Return the longest time from passing the budget to a whole second at or below the target."""
    above = power_w > budget_w * (1 + ROUNDING)
    inside = power_w <= TARGET * budget_w
    second = max(1, round(1.0 / dt_s))
    calm = np.convolve(inside, np.ones(second), mode="valid") >= second - 1e-9
    longest, k = 0.0, 0
    while k < len(above):
        starts = np.flatnonzero(above[k:])
        if not len(starts):
            break
        begin = k + int(starts[0])
        settled = np.flatnonzero(calm[begin:])
        end = begin + int(settled[0]) if len(settled) else len(above)
        longest = max(longest, (end - begin) * dt_s)
        k = end + 1
    return longest
