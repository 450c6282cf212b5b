"""Work in one piece: what it weighs at every start that can be best, for many jobs at once. Pure; numpy.

What a run weighs is piecewise linear in its start and bends only where the start or the end lies on an edge between
slots. So the best start is an edge, an edge minus the length, the earliest or the latest: no other need be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.windows import latest_ends
from evenwatt_collector.plan.work import Piece

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.problem import Floats
    from evenwatt_collector.plan.room import Room
    from evenwatt_collector.plan.windows import Window

    Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    Ints = np.ndarray[tuple[int, ...], np.dtype[np.int32]]

SOONER: Final = 1e-7
"""Of two starts that weigh the same the sooner one: a slot of waiting weighs so much of the run."""

_FIRST_COLUMNS: Final = 2
"""Of the candidates: the earliest and the latest start."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What room costs, in grams, beside what a joule weighs: (place, slot + 1)."""

    slot_s: Floats
    """A job slot, a second."""
    joule: Floats


class Runs:
    """Runs of some jobs: a row for each place and width of each job, a column for each start."""

    def __init__(self, grid: Grid, windows: Sequence[Window], prices: Prices | None = None) -> None:
        self._grid = grid
        self.windows = windows
        rows = [(j, option, width + 1, speed) for j, window in enumerate(windows)
                for option in window.options for width, speed in enumerate(window.work.speedup)]  # fmt: skip
        self.owner = np.array([row[0] for row in rows], dtype=np.int64)
        self.place = np.array([row[1].place for row in rows], dtype=np.int64)
        self.width = np.array([row[2] for row in rows], dtype=np.int64)
        self.length = np.array([windows[j].work.job.length_s / (o.speed * s) for j, o, _, s in rows], dtype=np.float64)
        self.watts = np.array([row[1].watts for row in rows], dtype=np.float64) * self.width
        self.slots = np.array([windows[row[0]].work.job.slots for row in rows], dtype=np.float64) * self.width
        self._transfer_j = np.array([row[1].transfer_j for row in rows], dtype=np.float64)
        self.low = np.array([windows[j].earliest + o.transfer_s for j, o, _, _ in rows], dtype=np.float64)
        self.high = latest_ends(grid, windows, self.owner, self.place, self.low, self.length)
        counts = np.bincount(self.owner, minlength=len(windows))
        self.first_row = np.concatenate(([0], np.cumsum(counts)))
        self._touched: tuple[Ints, Ints] | None = None
        self.cost = self._weigh(prices)

    def rows(self, j: int) -> slice:
        """Return the rows of a job."""
        return slice(int(self.first_row[j]), int(self.first_row[j + 1]))

    def start(self, row: int, column: int) -> float:
        """Return the start that a column stands for."""
        grid, length = self._grid, float(self.length[row])
        if column < _FIRST_COLUMNS:
            return float(self.high[row]) - length if column else float(self.low[row])
        edge = column - _FIRST_COLUMNS
        if edge <= grid.slots:
            return edge * grid.slot_s
        return (edge - grid.slots) * grid.slot_s - length

    def piece(self, row: int, column: int) -> Piece:
        """Return the run that a row and a column stand for."""
        start = self.start(row, column)
        end = start + float(self.length[row])
        return Piece(int(self.place[row]), start, end, int(self.width[row]), float(self.watts[row]))

    def best(self) -> tuple[list[float], list[int], list[int]]:
        """Return weight, row and column of the best run of each job, room aside; infinite weight if there is none."""
        if not len(self.owner):
            return [inf] * len(self.windows), [0] * len(self.windows), [0] * len(self.windows)
        columns = self.cost.argmin(axis=1)
        costs = self.cost[np.arange(len(columns)), columns]
        order = np.lexsort((costs, self.owner))
        owners, firsts = np.unique(self.owner[order], return_index=True)
        cost, row = np.full(len(self.windows), inf), np.zeros(len(self.windows), dtype=np.int64)
        cost[owners], row[owners] = costs[order[firsts]], order[firsts]
        return cost.tolist(), row.tolist(), columns[row].tolist()

    def weights_with_room(self, room: Room) -> list[float]:
        """Return weight of the best run of each job in what room there is now, for all at once."""
        found = np.full(len(self.windows), inf)
        if len(self.owner):
            rows = slice(0, len(self.owner))
            np.minimum.at(found, self.owner, np.where(self._free(rows, room), self.cost, inf).min(axis=1))
        return found.tolist()

    def best_with_room(self, j: int, room: Room, *, soonest: bool = False) -> tuple[float, Piece] | None:
        """Return weight and run of the best (or the soonest to end) for which there is room."""
        rows = self.rows(j)
        if rows.start == rows.stop:
            return None
        keys = cost = np.where(self._free(rows, room), self.cost[rows], inf)
        if soonest:
            keys = np.where(np.isfinite(cost), self._starts(rows) + self.length[rows, None], inf)
        at = int(keys.argmin())
        if not keys.flat[at] < inf:
            return None
        if soonest:  # of those that end together the lightest
            at = int(np.where(keys <= keys.flat[at] + EPS_S, cost, inf).argmin())
        row, column = divmod(at, cost.shape[1])
        return float(cost[row, column]), self.piece(rows.start + row, column)

    def _starts(self, rows: slice) -> Floats:
        edges, length = self._grid.edges, self.length[rows, None]
        columns = (
            self.low[rows, None],
            self.high[rows, None] - length,
            np.broadcast_to(edges, (len(length), len(edges))),
        )
        found: Floats = np.concatenate((*columns, edges[1:] - length), axis=1)
        return found

    def _free(self, rows: slice, room: Room) -> Bools:
        """Return for each start whether there is room in every slot that is touched."""
        if self._touched is None:
            self._touched = self._touches()
        first, end = self._touched
        blocked = room.blocked_rows(self.place[rows], self.slots[rows], self.watts[rows])
        before = np.zeros((len(blocked), self._grid.slots + 2), dtype=np.int32)
        blocked.cumsum(axis=1, out=before[:, 1:])
        row = np.arange(len(blocked))[:, None]
        free: Bools = before[row, first[rows]] == before[row, end[rows]]
        return free

    def _touches(self) -> tuple[Ints, Ints]:
        """Return the first slot that each start touches, and the one after its last."""
        slots, slot_s = self._grid.slots, self._grid.slot_s
        starts = self._starts(slice(0, len(self.owner)))
        first = ((starts + EPS_S) / slot_s).clip(0, slots).astype(np.int32)
        end = np.ceil((starts + self.length[:, None] - EPS_S) / slot_s).clip(0, slots + 1).astype(np.int32)
        return first, np.maximum(first, end)

    def _weigh(self, prices: Prices | None) -> Floats:
        """Return (row, column): grams, infinite where the window does not allow it."""
        grid = self._grid
        slots, slot_s, place = grid.slots, grid.slot_s, self.place
        cost: Floats = np.full((len(place), _FIRST_COLUMNS + 2 * slots + 1), inf)
        if not len(place):
            return cost
        weight = grid.weight if prices is None else grid.weight + prices.joule
        self._fill(cost, weight, self.watts, self._transfer_j)
        if prices is not None:
            paid: Floats = np.zeros_like(cost)
            self._fill(paid, prices.slot_s, self.slots, np.zeros_like(self.slots))
            cost += paid
        scale = SOONER * self.watts * float(grid.weight.mean())
        edges = grid.edges
        cost[:, 0] += scale * self.low
        cost[:, 1] += scale * (self.high - self.length).clip(0, 2 * grid.end)
        cost[:, 2 : slots + 3] += scale[:, None] * edges
        cost[:, slots + 3 :] += scale[:, None] * edges[1:]
        self._forbid(cost, slot_s, slots)
        return cost

    def _forbid(self, cost: Floats, slot_s: float, slots: int) -> None:
        """Set to infinity what begins too soon or ends too late."""
        low, last = self.low - EPS_S, self.high - self.length + EPS_S
        cost[last < self.low] = inf
        cost[np.isinf(last), 1] = inf
        edges = np.arange(slots + 1) * slot_s
        early = edges < low[:, None]
        early |= edges > last[:, None]
        cost[:, 2 : slots + 3][early] = inf
        ends = edges[1:]
        late = ends < (low + self.length)[:, None]
        late |= ends > (last + self.length)[:, None]
        late |= (np.abs(self.length / slot_s - np.round(self.length / slot_s)) * slot_s < EPS_S)[:, None]  # the same
        cost[:, slots + 3 :][late] = inf

    def _fill(self, cost: Floats, weight: Floats, factor: Floats, transfer: Floats) -> None:
        """Set what runs weigh at all starts, by differences of what has come together until their two ends."""
        grid = self._grid
        slots, slot_s, place, length = grid.slots, grid.slot_s, self.place, self.length
        cumulated = grid.cumulated(weight)
        latest = np.maximum(0.0, np.where(np.isinf(self.high), self.low, self.high - length))
        for column, starts in enumerate((self.low, latest)):
            first = np.clip(starts / slot_s, 0, slots).astype(np.int64)
            cost[:, column] = transfer * weight[place, first] + factor * (
                grid.until(weight, cumulated, place, starts + length) - grid.until(weight, cumulated, place, starts)
            )
        whole = np.minimum(np.floor((length + EPS_S) / slot_s), 2.0 * slots).astype(np.int64)
        rest = np.maximum(0.0, length - whole * slot_s)
        # Rows of all slots and, after them, so many of what comes after that every end lies within.
        more = int(whole.max()) + 1
        long = np.concatenate((cumulated, cumulated[:, -1:] + weight[:, -1:] * slot_s * np.arange(1, more + 1)), axis=1)
        wide = np.concatenate((weight, np.repeat(weight[:, -1:], more, axis=1)), axis=1)
        columns = long.shape[1]
        ends = (place * columns + whole)[:, None] + np.arange(slots + 1)
        at_edges = long.take(ends)
        at_edges += wide.take(ends) * rest[:, None]
        at_edges -= cumulated[place]
        at_edges *= factor[:, None]
        if transfer.any():
            at_edges += transfer[:, None] * weight[place]
        cost[:, 2 : slots + 3] = at_edges
        some = np.flatnonzero(rest > EPS_S)
        if len(some):
            # Ends on edges: the start lies ``rest`` before an edge, in the slot before it.
            at = np.arange(1, slots + 1) - whole[some, None]
            before = np.maximum(at - 1, 0)
            row = place[some, None]
            until_start = cumulated[row, np.maximum(at, 0)] - weight[row, before] * rest[some, None]
            ended = (cumulated[place[some], 1:] - until_start) * factor[some, None]
            cost[some, slots + 3 :] = ended + transfer[some, None] * weight[row, before]
