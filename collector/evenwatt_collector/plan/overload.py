"""Whether work can be on time beside other work at all: what is due within some time against the room there is. Pure.

Whatever the plan, work whose window lies within an interval must be done in that interval, at places that it allows. So
where such work needs more slot-time or energy than its places have in the interval, some of it is late (the processor
demand criterion, Baruah, Rosier and Howell 1990). What this proves late need not be tried.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.plan.grid import EPS_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.problem import Floats
    from evenwatt_collector.plan.room import Room
    from evenwatt_collector.plan.work import Work

_MOST_SETS: Final = 6
"""Sets of places that are looked at, those that most jobs allow, beside the set of all."""

_MOST_EDGES: Final = 128
"""Intervals end on so many edges at the most; windows are widened to them."""

_PLENTY: Final = 1e30
"""Stands for room without a limit, so that differences are numbers."""

_SLACK: Final = 1e-9
"""Of what there is: sums of floats are not exact."""


class Overload:
    """Room left by interval when all that was added is done in its window.

    Args:
        grid: The arrays.
        works: All jobs that may be asked about.
        room: What is free beside what cannot move.
    """

    def __init__(self, grid: Grid, works: Iterable[Work], room: Room) -> None:
        works = list(works)
        self._grid = grid
        self._step = -(-grid.slots // _MOST_EDGES)
        self._edges = -(-grid.slots // self._step)
        counts = Counter(_places(work) for work in works if work.options)
        every = frozenset(range(len(grid.names)))
        self._sets = tuple(dict.fromkeys([some for some, _ in counts.most_common(_MOST_SETS)] + [every]))
        units = {work.job.slots for work in works if work.job.slots > 0}
        slots = room.slots
        if len(units) == 1:  # what all take alike fits a whole number of times
            unit = units.pop()
            finite = np.where(np.isfinite(slots), slots, 0.0)
            slots = np.where(np.isfinite(slots), np.floor(finite / unit + 1e-6) * unit, slots)
        self._left = [[self._capacity(values, some) for some in self._sets] for values in (slots, room.watts)]
        self._slack = [[_SLACK * (1 + np.abs(left)) for left in kind] for kind in self._left]

    def add(self, work: Work) -> None:
        """Count work that is to be on time."""
        span = self._span(work)
        if span is not None:
            for kind, need in zip(self._left, self._needs(work), strict=True):
                for some, left in zip(self._sets, kind, strict=True):
                    if _places(work) <= some:
                        left[: span[0] + 1, span[1] :] -= need

    def proven(self, work: Work) -> bool:
        """Whether work cannot be on time if all that was added is."""
        span = self._span(work)
        if span is None:
            return False
        places = _places(work)
        for kind, slacks, need in zip(self._left, self._slack, self._needs(work), strict=True):
            for some, left, slack in zip(self._sets, kind, slacks, strict=True):
                part = slice(0, span[0] + 1), slice(span[1], None)
                if places <= some and bool((left[part] + slack[part] < need).any()):
                    return True
        return False

    def _capacity(self, values: Floats, places: frozenset[int]) -> Floats:
        """Return room from edge to edge, (first edge, last edge), by seconds; what is negative is none."""
        grid = self._grid
        a_slot = np.maximum(0.0, values[sorted(places), : grid.slots]).sum(axis=0) * grid.slot_s
        a_slot = np.minimum(a_slot, _PLENTY)
        a_slot[: grid.first_slot(grid.now)] = 0.0
        together = np.append(0.0, a_slot.cumsum())[np.minimum(np.arange(self._edges + 1) * self._step, grid.slots)]
        left: Floats = together[None, :] - together[:, None]
        return np.where(left < 0, _PLENTY, left)

    def _span(self, work: Work) -> tuple[int, int] | None:
        """Return the edges around a window; None if it goes beyond the last slot."""
        grid = self._grid
        if work.deadline > grid.end + EPS_S or not work.options:
            return None
        first = grid.first_slot(max(0.0, work.earliest)) // self._step
        return first, -(-grid.end_slot(work.deadline) // self._step)

    def _needs(self, work: Work) -> tuple[float, float]:
        """Return slot-seconds and joules that work takes at the least, whole slots counted as ``room`` counts them."""
        slot_s, wide = self._grid.slot_s, len(work.speedup) > 1
        lengths = [work.length(option) for option in work.options]
        # On one slot at a time it takes the least of both; only then are whole slots known.
        taken = [length if wide else -(-(length - EPS_S) // slot_s) * slot_s for length in lengths]
        joules = min(t * option.watts for t, option in zip(taken, work.options, strict=True))
        return min(taken) * work.job.slots, joules


def _places(work: Work) -> frozenset[int]:
    return frozenset(option.place for option in work.options)
