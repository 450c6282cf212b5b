"""Work in pieces. Pure; numpy.

Where pieces cost nothing, filling the cleanest slots of the window until the work is done is optimal, the last one in
part. On more than one slot at once, what is filled are steps of width, each with the speed that it adds: the cheapest
joule a unit of work first (marginal allocation; Hanafy et al., CarbonScaler, SIGMETRICS 2024, algorithm 1), optimal for
concave speeds. Where pieces cost a restart or must have a length, ``pieces`` decides.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.work import Piece

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.problem import Floats
    from evenwatt_collector.plan.room import Room
    from evenwatt_collector.plan.runs import Prices
    from evenwatt_collector.plan.windows import Window
    from evenwatt_collector.plan.work import Option

WHENEVER_S = 1e9
"""What comes after the last slot is so long."""

_SOONER = 1e-9


class Fills:
    """Plain interruptible work of some jobs: a row for each place of each job, a column for each slot."""

    def __init__(self, grid: Grid, windows: Sequence[Window], prices: Prices | None = None) -> None:
        self._grid, self.windows, self._prices = grid, windows, prices
        rows = [(j, option) for j, window in enumerate(windows) for option in window.options]
        self._options = [option for _, option in rows]
        self.owner = np.array([j for j, _ in rows], dtype=np.int64)
        self.place = np.array([option.place for _, option in rows], dtype=np.int64)
        self.length = np.array([windows[j].work.length(option) for j, option in rows], dtype=np.float64)
        self.low = np.array([windows[j].earliest + option.transfer_s for j, option in rows], dtype=np.float64)
        self.high = np.array([latest_end(grid, windows[j], option) for j, option in rows], dtype=np.float64)
        counts = np.bincount(self.owner, minlength=len(windows))
        self.first_row = np.concatenate(([0], np.cumsum(counts)))
        self.open_s = open_seconds(grid, self.low, self.high)
        watts = np.array([option.watts for option in self._options], dtype=np.float64)
        self._watts = watts
        slots = np.array([windows[j].work.job.slots for j, _ in rows], dtype=np.float64)
        self.rate = rates(grid, self.place, watts, slots, prices)
        self.order = self.rate.argsort(axis=1, kind="stable")
        self.used_s, self.cost = self._fill(np.arange(len(rows)), self.open_s)

    def best(self) -> tuple[list[float], list[int]]:
        """Return weight and row of the best place of each job, room aside."""
        cost, row = np.full(len(self.windows), inf), np.zeros(len(self.windows), dtype=np.int64)
        if len(self.owner):
            order = np.lexsort((self.cost, self.owner))
            owners, firsts = np.unique(self.owner[order], return_index=True)
            cost[owners], row[owners] = self.cost[order[firsts]], order[firsts]
        return cost.tolist(), row.tolist()

    def pieces(self, row: int) -> tuple[Piece, ...]:
        """Return the pieces of a row."""
        return laid(self._grid, int(self.place[row]), self.used_s[row], float(self.low[row]), float(self.high[row]))

    def best_with_room(self, j: int, room: Room, *, soonest: bool = False) -> tuple[float, tuple[Piece, ...]] | None:
        """Return weight and pieces of the best (or the soonest to end) for which there is room."""
        found: tuple[float, float, tuple[Piece, ...]] | None = None
        for row in range(int(self.first_row[j]), int(self.first_row[j + 1])):
            option = self._options[row]
            open_s = self.open_s[row]
            if room.limited[option.place]:
                blocked = room.blocked(option.place, self.windows[j].work.job.slots, option.watts)
                open_s = np.where(blocked, 0.0, open_s)
            order = np.arange(open_s.shape[0]) if soonest else self.order[row]
            ordered = open_s[order]
            before = ordered.cumsum() - ordered
            taken = np.minimum(np.maximum(self.length[row] - before, 0.0), ordered)
            if taken.sum() < self.length[row] - EPS_S:
                continue
            used: Floats = np.zeros_like(taken)
            used[order] = taken
            cost = float(used @ self.rate[row]) + self._transfer(row, used)
            pieces = laid(self._grid, option.place, used, float(self.low[row]), float(self.high[row]))
            key = (pieces[-1].end if pieces else 0.0) if soonest else cost
            if found is None or (key, cost) < found[:2]:
                found = key, cost, pieces
        return None if found is None else (found[1], found[2])

    def _transfer(self, row: int, used: Floats) -> float:
        option = self._options[row]
        return option.transfer_j * float(self._grid.weight[option.place, int((used > 0).argmax())])

    def _fill(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]], open_s: Floats) -> tuple[Floats, Floats]:
        """Return seconds used of each slot, and what they weigh; infinite where the window is too short."""
        if not len(rows):
            return np.zeros_like(open_s), np.zeros(0)
        ordered = np.take_along_axis(open_s, self.order[rows], axis=1)
        together = ordered.cumsum(axis=1)
        taken = np.clip(self.length[rows, None] - (together - ordered), 0.0, ordered)
        used: Floats = np.zeros_like(taken)
        np.put_along_axis(used, self.order[rows], taken, axis=1)
        cost: Floats = (used * self.rate[rows]).sum(axis=1)
        transfer_j = np.array([option.transfer_j for option in self._options], dtype=np.float64)
        cost += transfer_j * self._grid.weight[self.place, (used > 0).argmax(axis=1)]
        cost[together[:, -1] < self.length[rows] - EPS_S] = inf
        return used, cost


def rates(grid: Grid, place: object, watts: Floats, slots: Floats, prices: Prices | None) -> Floats:
    """Return grams a second of rows in each slot; of equal slots the sooner weighs a hair less."""
    weight: Floats = grid.weight[place] if prices is None else grid.weight[place] + prices.joule[place]
    later = _SOONER * float(grid.weight.mean()) * np.arange(grid.slots + 1) / (grid.slots + 1)
    rate: Floats = (weight + later) * watts[:, None]
    return rate if prices is None else rate + prices.slot_s[place] * slots[:, None]


def open_seconds(grid: Grid, low: Floats, high: Floats) -> Floats:
    """Return how much of each slot lies within windows, s: (row, slot + 1)."""
    edges = grid.edges
    ends = np.append(edges[1:], WHENEVER_S)
    return np.maximum(0.0, np.minimum(ends, high[:, None]) - np.maximum(edges, low[:, None]))


def latest_end(grid: Grid, window: Window, option: Option, length: float | None = None) -> float:
    """Return by when work must end at a place; a reserve is kept, and what is not forecast is left alone if it can be.

    Args:
        grid: The arrays.
        window: Whose.
        option: The place.
        length: How long it takes there at the least, s; None: on one slot.
    """
    length = window.work.length(option) if length is None else length
    soonest = window.earliest + option.transfer_s + length
    high = window.latest
    if high < inf:
        high = max(high - max(0.0, window.work.job.reserve) * length, min(high, soonest))
    if window.beyond:
        return high
    known = float(grid.known_end[option.place])
    if soonest <= known + EPS_S:
        return min(high, known)
    return min(high, grid.end) if soonest <= grid.end + EPS_S else high


def laid(grid: Grid, place: int, used: Floats, low: float, high: float, width: int = 1) -> tuple[Piece, ...]:
    """Return seconds of slots as pieces: a slot used in part is joined to what is used beside it."""
    pieces: list[Piece] = []
    slot_s, last = grid.slot_s, grid.slots
    some = np.flatnonzero(used > EPS_S).tolist()
    for i, t in enumerate(some):
        seconds = float(used[t])
        first = max(low, t * slot_s)
        end = min(high, (t + 1) * slot_s) if t < last else first + seconds
        joins_before = bool(pieces) and pieces[-1].end >= first - EPS_S
        joins_after = i + 1 < len(some) and some[i + 1] == t + 1
        start = first if joins_before or not joins_after else max(first, end - seconds)
        end = start + seconds if joins_before or not joins_after else end
        if joins_before:
            before = pieces.pop()
            pieces.append(Piece(place, before.start, end, width))
        else:
            pieces.append(Piece(place, start, end, width))
    return tuple(pieces)
