"""The time and the places that a job may use in one attempt. Pure; numpy."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evenwatt_collector.plan.grid import EPS_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.problem import Floats
    from evenwatt_collector.plan.work import Option, Work

    Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


class Window(NamedTuple):
    """From when to when, where. Times from the start of the clock."""

    work: Work
    earliest: float
    """After what it waits for."""
    latest: float
    """It must have ended then; infinite: whenever."""
    options: tuple[Option, ...]
    beyond: bool = False
    """Whether it may go beyond what is forecast although it would fit before."""


def latest_ends(grid: Grid, windows: Sequence[Window], owner: Ints, place: Ints, low: Floats, length: Floats) -> Floats:
    """Return by when work must end, for rows of windows at places.

    A reserve for taking longer is kept before the deadline, as far as there is time; and what is not forecast is left
    alone if the work can end before.

    Args:
        grid: The arrays.
        windows: Of some jobs.
        owner: Number of the window, by row.
        place: By row.
        low: Earliest start by row, after the transfer.
        length: How long it takes at the least, s, by row.
    """
    latest = np.array([window.latest for window in windows], dtype=np.float64)[owner]
    reserve = np.array([max(0.0, window.work.job.reserve) for window in windows], dtype=np.float64)[owner]
    free = np.array([window.beyond for window in windows], dtype=np.bool_)[owner]
    soonest = low + length
    kept = np.maximum(latest - reserve * length, np.minimum(latest, soonest))
    known = grid.known_end[place]
    inside = np.where(soonest <= known + EPS_S, known, np.where(soonest <= grid.end + EPS_S, grid.end, inf))
    high: Floats = np.where(free, kept, np.minimum(kept, inside))
    return high
