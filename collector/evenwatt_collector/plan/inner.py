"""Finer slots within slots, where whole ones are too coarse for the work: the same problem, counted more closely. Pure.

A piece takes its room for the whole of each slot that it touches. Six jobs of five minutes then take six half-hours,
although one would do. Where that makes work late, slots are cut into parts that fit its lengths, starts and deadlines
better. What is free and what a joule weighs is constant within a slot, so nothing else changes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.plan.grid import EPS_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.problem import Floats, Place, Problem
    from evenwatt_collector.plan.work import Work

_PARTS: Final = (2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60)

_MOST_CELLS: Final = 60_000
"""Jobs by inner slots: more would take too long."""

_MOST_SLOTS: Final = 2_000

_NEAR: Final = 1.05
"""Parts that waste hardly more than the best are as good: the fewest are taken."""


def parts(grid: Grid, works: Iterable[Work]) -> int:
    """Return into how many parts slots are best cut; 1 if that gains nothing or would take too long."""
    works = [work for work in works if work.options and not work.fault]
    most = min(_MOST_SLOTS // grid.slots, _MOST_CELLS // max(1, len(works) * grid.slots))
    moments = [grid.now]
    for work in works:
        moments += [work.length(option) for option in work.options]
        moments += [work.earliest, *((work.deadline,) if work.deadline < grid.end else ())]
    values = np.array(moments, dtype=np.float64)
    wasted = {count: _wasted(values, grid.slot_s / count) for count in (1, *_PARTS) if count <= max(1, most)}
    least = min(wasted.values())
    return min(count for count, waste in wasted.items() if waste <= _NEAR * least + len(values) * EPS_S)


def _wasted(values: Floats, slot_s: float) -> float:
    return float((np.ceil(values / slot_s - EPS_S) * slot_s - values).clip(0.0).sum())


def cut(problem: Problem, count: int) -> Problem:
    """Return the same problem with each slot cut into so many."""
    if count <= 1:
        return problem
    clock = replace(problem.clock, slot_s=problem.clock.slot_s / count, slots=problem.clock.slots * count)
    return replace(problem, clock=clock, places={name: _cut(place, count) for name, place in problem.places.items()})


def _cut(place: Place, count: int) -> Place:
    def each(values: Floats | None) -> Floats | None:
        return None if values is None else np.repeat(np.asarray(values, dtype=np.float64).ravel(), count)

    return replace(
        place,
        intensity_g_per_kwh=np.repeat(np.asarray(place.intensity_g_per_kwh, dtype=np.float64).ravel(), count),
        low_g_per_kwh=np.repeat(np.asarray(place.low_g_per_kwh, dtype=np.float64).ravel(), count),
        high_g_per_kwh=np.repeat(np.asarray(place.high_g_per_kwh, dtype=np.float64).ravel(), count),
        slots_free=each(place.slots_free),
        power_free_w=each(place.power_free_w),
        price_per_kwh=each(place.price_per_kwh),
        known_slots=place.known_slots * count,
    )
