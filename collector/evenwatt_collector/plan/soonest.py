"""Work in pieces that ends as soon as it can, whatever it weighs: for deadlines that nothing else meets. Pure."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.splits import laid, open_seconds

if TYPE_CHECKING:
    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.problem import Floats
    from evenwatt_collector.plan.room import Room
    from evenwatt_collector.plan.windows import Window
    from evenwatt_collector.plan.work import Piece


def pieces(grid: Grid, window: Window, room: Room) -> tuple[float, tuple[Piece, ...]] | None:
    """Return the pieces that end soonest: every slot is used in which there is room, on the greatest width."""
    found: tuple[float, float, tuple[Piece, ...]] | None = None
    work = window.work
    for option in window.options:
        for width in range(1, len(work.speedup) + 1):
            need, low = work.length(option, width), window.earliest + option.transfer_s
            open_s = open_seconds(grid, np.array([low]), np.array([inf]))[0]
            if room.limited[option.place]:
                open_s[room.blocked(option.place, work.job.slots * width, option.watts * width)] = 0.0
            used = _in_order(open_s, need, work.job.restart_s)
            parts = laid(grid, option.place, used, low, inf, width, option.watts * width)
            if not parts or parts[-1].end > window.latest + EPS_S:
                continue
            rate = grid.weight[option.place] * option.watts * width
            key = parts[-1].end, float(rate @ used)
            if found is None or key < found[:2]:
                found = *key, parts
    return None if found is None else (found[1], found[2])


def _in_order(open_s: Floats, need: float, restart_s: float) -> Floats:
    """Return seconds used of slots, from the first on; each gap costs a restart."""
    used: Floats = np.zeros_like(open_s)
    left, before = need, -1
    for t in np.flatnonzero(open_s > EPS_S).tolist():
        if before >= 0 and t > before + 1:
            left += max(0.0, restart_s)
        used[t] = min(left, float(open_s[t]))
        left -= float(used[t])
        before = t
        if left <= EPS_S:
            break
    return used
