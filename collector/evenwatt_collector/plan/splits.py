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
from evenwatt_collector.plan.windows import latest_ends
from evenwatt_collector.plan.work import Piece

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.problem import Floats
    from evenwatt_collector.plan.room import Room
    from evenwatt_collector.plan.runs import Prices
    from evenwatt_collector.plan.windows import Window

    Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

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
        self.high = latest_ends(grid, windows, self.owner, self.place, self.low, self.length)
        counts = np.bincount(self.owner, minlength=len(windows))
        self.first_row = np.concatenate(([0], np.cumsum(counts)))
        self.open_s = open_seconds(grid, self.low, self.high)
        watts = np.array([option.watts for option in self._options], dtype=np.float64)
        self.watts = watts
        slots = np.array([windows[j].work.job.slots for j, _ in rows], dtype=np.float64)
        self.rate = rates(grid, self.place, watts, slots, prices)
        self.order = self.rate.argsort(axis=1, kind="stable")
        self._transfer_j = np.array([option.transfer_j for option in self._options], dtype=np.float64)
        self.used_s, self.cost = self._filled(slice(0, len(rows)), self.open_s, self.order)

    def best(self) -> tuple[list[float], list[int]]:
        """Return weight and row of the best place of each job, room aside."""
        cost, row = np.full(len(self.windows), inf), np.zeros(len(self.windows), dtype=np.int64)
        if len(self.owner):
            order = np.lexsort((self.cost, self.owner))
            owners, firsts = np.unique(self.owner[order], return_index=True)
            cost[owners], row[owners] = self.cost[order[firsts]], order[firsts]
        return cost.tolist(), row.tolist()

    def weights_with_room(self, room: Room) -> list[float]:
        """Return weight of the best place of each job in what room there is now, for all at once."""
        found = np.full(len(self.windows), inf)
        if len(self.owner):
            slots = np.array([window.work.job.slots for window in self.windows], dtype=np.float64)[self.owner]
            open_s = np.where(room.blocked_rows(self.place, slots, self.watts), 0.0, self.open_s)
            np.minimum.at(found, self.owner, self._filled(slice(0, len(self.owner)), open_s, self.order)[1])
        return found.tolist()

    def pieces(self, row: int) -> tuple[Piece, ...]:
        """Return the pieces of a row."""
        return self._laid(row, self.used_s[row])

    def best_with_room(self, j: int, room: Room, *, soonest: bool = False) -> tuple[float, tuple[Piece, ...]] | None:
        """Return weight and pieces of the best (or the soonest to end) for which there is room."""
        rows = slice(int(self.first_row[j]), int(self.first_row[j + 1]))
        if rows.start == rows.stop:
            return None
        slots = np.full(rows.stop - rows.start, self.windows[j].work.job.slots)
        blocked = room.blocked_rows(self.place[rows], slots, self.watts[rows])
        open_s = np.where(blocked, 0.0, self.open_s[rows])
        order = np.broadcast_to(np.arange(open_s.shape[1]), open_s.shape) if soonest else self.order[rows]
        used, cost = self._filled(rows, open_s, order)
        keys = cost
        if soonest:  # the last slot used, and how far it is used
            last = open_s.shape[1] - 1 - (used[:, ::-1] > 0).argmax(axis=1)
            keys = np.where(np.isfinite(cost), last + used[np.arange(len(last)), last] / WHENEVER_S, inf)
        at = int(keys.argmin())
        if not keys[at] < inf:
            return None
        return float(cost[at]), self._laid(rows.start + at, used[at])

    def _laid(self, row: int, used: Floats) -> tuple[Piece, ...]:
        watts, low, high = float(self.watts[row]), float(self.low[row]), float(self.high[row])
        return laid(self._grid, int(self.place[row]), used, low, high, 1, watts)

    def _filled(self, rows: slice, open_s: Floats, order: Ints) -> tuple[Floats, Floats]:
        """Return seconds used of each slot, and what they weigh; infinite where the window is too short."""
        length = self.length[rows]
        if not len(length):
            return np.zeros_like(open_s), np.zeros(0)
        row = np.arange(len(length))[:, None]
        ordered = open_s[row, order]
        together = ordered.cumsum(axis=1)
        taken = np.minimum(np.maximum(length[:, None] - together + ordered, 0.0), ordered)
        used: Floats = np.zeros(taken.shape)
        used[row, order] = taken
        cost: Floats = (used * self.rate[rows]).sum(axis=1)
        cost += self._transfer_j[rows] * self._grid.weight[self.place[rows], (used > 0).argmax(axis=1)]
        cost[together[:, -1] < length - EPS_S] = inf
        return used, cost


def rates(grid: Grid, place: Ints, watts: Floats, slots: Floats, prices: Prices | None) -> Floats:
    """Return grams a second of rows in each slot; of equal slots the sooner weighs a hair less."""
    weight: Floats = grid.weight[place] if prices is None else grid.weight[place] + prices.joule[place]
    later = _SOONER * float(grid.weight.mean()) * np.arange(grid.slots + 1) / (grid.slots + 1)
    rate: Floats = (weight + later) * watts[:, None]
    if prices is not None:
        rate = rate + prices.slot_s[place] * slots[:, None]
    return rate


def open_seconds(grid: Grid, low: Floats, high: Floats) -> Floats:
    """Return how much of each slot lies within windows, s: (row, slot + 1)."""
    edges = grid.edges
    ends = np.append(edges[1:], WHENEVER_S)
    seconds: Floats = np.maximum(0.0, np.minimum(ends, high[:, None]) - np.maximum(edges, low[:, None]))
    return seconds


def laid(grid: Grid, place: int, used: Floats, low: float, high: float, width: int, watts: float) -> tuple[Piece, ...]:
    """Return seconds of slots as pieces: a slot used in part is joined to what is used beside it."""
    pieces: list[Piece] = []
    slot_s, last = grid.slot_s, grid.slots
    some = np.flatnonzero(used > EPS_S).tolist()
    amounts = used.tolist()
    start = end = -inf
    for i, t in enumerate(some):
        seconds, first = amounts[t], t * slot_s
        first = max(first, low)
        if end >= first - EPS_S:  # goes on from the slot before
            end += seconds
            continue
        if pieces or end > -inf:
            pieces.append(Piece(place, start, end, width, watts))
        start = first
        if i + 1 < len(some) and some[i + 1] == t + 1 and t < last:
            start = max(first, min(high, (t + 1) * slot_s) - seconds)
        end = start + seconds
    if end > -inf:
        pieces.append(Piece(place, start, end, width, watts))
    return tuple(pieces)
