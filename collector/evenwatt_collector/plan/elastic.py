"""Work that is faster on more slots at once and may change its width: marginal allocation. Pure; numpy.

A slot on one more unit of width adds the speed that the width adds. The cheapest joule a unit of work comes first,
until the work is done; with concave speeds, a slot's widths come in order by themselves (CarbonScaler, algorithm 1).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.splits import open_seconds, rates
from evenwatt_collector.plan.windows import latest_ends
from evenwatt_collector.plan.work import Piece

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.problem import Floats
    from evenwatt_collector.plan.room import Room
    from evenwatt_collector.plan.runs import Prices
    from evenwatt_collector.plan.windows import Window
    from evenwatt_collector.plan.work import Option


MOST_WIDE: Final = 8
"""Widths: work that can use more is looked at alone, arrays of many would be large."""


class Elastics:
    """Elastic, interruptible work of some jobs: a row for each place of each job, a column for each step of width.

    Args:
        grid: The arrays.
        windows: Of the jobs.
        prices: On room; None: room costs nothing.
    """

    def __init__(self, grid: Grid, windows: Sequence[Window], prices: Prices | None = None) -> None:
        self._grid, self.windows = grid, windows
        rows = [(j, option) for j, window in enumerate(windows) for option in window.options]
        works = [windows[j].work for j, _ in rows]
        self._options = [option for _, option in rows]
        self.owner = np.array([j for j, _ in rows], dtype=np.int64)
        self.place = np.array([option.place for _, option in rows], dtype=np.int64)
        self._need = np.array(
            [work.job.length_s / o.speed for work, (_, o) in zip(works, rows, strict=True)],
            dtype=np.float64,
        )
        self._low = np.array([windows[j].earliest + option.transfer_s for j, option in rows], dtype=np.float64)
        shortest = self._need / np.array([work.speedup[-1] for work in works], dtype=np.float64)
        high = latest_ends(grid, windows, self.owner, self.place, self._low, shortest)
        open_s = open_seconds(grid, self._low, high)
        open_s[:, -1] = np.minimum(open_s[:, -1], self._need)
        self._open_s = open_s
        self._widths = widths = max((len(work.speedup) for work in works), default=1)
        self._adds = np.zeros((len(rows), widths))  # a width that a job cannot use adds nothing
        for i, work in enumerate(works):
            self._adds[i, : len(work.speedup)] = np.diff(np.array((0.0, *work.speedup)))
        self._watts = np.array([option.watts for _, option in rows], dtype=np.float64)
        self._slots = np.array([work.job.slots for work in works], dtype=np.float64)
        self._rate = rates(grid, self.place, self._watts, self._slots, prices)
        with np.errstate(divide="ignore", invalid="ignore"):
            worth = np.where(self._adds[:, None, :] > 0, self._rate[:, :, None] / self._adds[:, None, :], inf)
        self._order = worth.reshape(len(rows), (grid.slots + 1) * widths).argsort(axis=1, kind="stable")
        self._transfer_j = np.array([option.transfer_j for _, option in rows], dtype=np.float64)
        self._first = np.concatenate(([0], np.cumsum(np.bincount(self.owner, minlength=len(windows)))))

    def best(self, room: Room | None = None) -> list[float]:
        """Return the weight of the best place of each job, in what room there is now; infinite where there is none."""
        found = np.full(len(self.windows), inf)
        if len(self.owner):
            np.minimum.at(found, self.owner, self._filled(slice(0, len(self.owner)), room)[1])
        return found.tolist()

    def best_with_room(self, j: int, room: Room) -> tuple[float, tuple[Piece, ...]] | None:
        """Return weight and pieces of a job's best place for which there is room."""
        rows = slice(int(self._first[j]), int(self._first[j + 1]))
        if rows.start == rows.stop:
            return None
        seconds, cost = self._filled(rows, room)
        at = int(cost.argmin())
        if not cost[at] < inf:
            return None
        widths = len(self.windows[j].work.speedup)
        i = rows.start + at
        return float(cost[at]), tuple(_laid(self._grid, self._options[i], seconds[at, :, :widths], float(self._low[i])))

    def _filled(self, rows: slice, room: Room | None) -> tuple[Floats, Floats]:
        """Return seconds by slot and width, and what they weigh; infinite where they are too few."""
        there: Floats = np.repeat(self._open_s[rows][:, :, None], self._widths, axis=2)
        if room is not None:
            for width in range(1, self._widths + 1):
                need = self._slots[rows] * width, self._watts[rows] * width
                there[:, :, width - 1][room.blocked_rows(self.place[rows], *need)] = 0.0
        adds, order, need_s = self._adds[rows], self._order[rows], self._need[rows, None]
        sizes = np.take_along_axis((there * adds[:, None, :]).reshape(order.shape), order, axis=1)
        together = sizes.cumsum(axis=1)
        taken = np.clip(need_s - together + sizes, 0.0, sizes)
        used = np.zeros_like(taken)
        np.put_along_axis(used, order, taken, axis=1)
        seconds: Floats = used.reshape(there.shape) / np.where(adds > 0, adds, 1.0)[:, None, :]
        cost: Floats = (seconds.sum(axis=2) * self._rate[rows]).sum(axis=1)
        cost += self._transfer_j[rows] * self._grid.weight[self.place[rows], seconds[:, :, 0].argmax(axis=1)]
        cost[together[:, -1] < need_s[:, 0] - EPS_S] = inf
        return seconds, cost


def _laid(grid: Grid, option: Option, seconds: Floats, low: float) -> list[Piece]:
    """Return pieces of constant width; a slot that runs on its widest for a part does so first."""
    pieces: list[Piece] = []
    for t in np.flatnonzero(seconds[:, 0] > EPS_S).tolist():
        at = max(low, t * grid.slot_s)
        row = seconds[t].tolist()
        ends_before = bool(pieces) and abs(pieces[-1].end - at) < EPS_S
        open_s = (t + 1) * grid.slot_s - at
        follows = t + 1 < len(seconds) and seconds[t + 1, 0] > EPS_S
        if not ends_before and follows and t < grid.slots and row[0] < open_s:
            at += open_s - row[0]  # joined to what comes next
        for width, longest in reversed(list(enumerate(row, start=1))):
            wider = row[width] if width < len(row) else 0.0
            if longest - wider > EPS_S:
                end = at + longest - wider
                if pieces and pieces[-1].width == width and abs(pieces[-1].end - at) < EPS_S:
                    pieces.append(pieces.pop()._replace(end=end))
                else:
                    pieces.append(Piece(option.place, at, end, width, option.watts * width))
                at = end
    return pieces


def soonest(grid: Grid, window: Window, room: Room) -> tuple[float, tuple[Piece, ...]] | None:
    """Return the pieces that end soonest: the greatest width that there is room for, from the first slot on."""
    found: tuple[float, float, tuple[Piece, ...]] | None = None
    work = window.work
    for option in window.options:
        low, left = window.earliest + option.transfer_s, work.job.length_s / option.speed
        open_s = open_seconds(grid, np.array([low]), np.array([inf]))[0]
        widest = np.zeros(len(open_s), dtype=np.int64)
        for width in range(1, len(work.speedup) + 1):
            blocked = (
                room.blocked(option.place, work.job.slots * width, option.watts * width)
                if room.limited[option.place] else np.zeros(len(open_s), dtype=np.bool_)
            )  # fmt: skip
            widest[~blocked & (widest == width - 1)] = width
        seconds = np.zeros((len(open_s), len(work.speedup)))
        for t in np.flatnonzero((open_s > EPS_S) & (widest > 0)).tolist():
            speed = work.speedup[int(widest[t]) - 1]
            runs_s = min(float(open_s[t]), left / speed)
            seconds[t, : int(widest[t])] = runs_s
            left -= runs_s * speed
            if left <= EPS_S:
                break
        pieces = _laid(grid, option, seconds, low)
        if left > EPS_S or not pieces or pieces[-1].end > window.latest + EPS_S:
            continue
        cost = float((seconds.sum(axis=1) * grid.weight[option.place]).sum()) * option.watts
        if found is None or (pieces[-1].end, cost) < found[:2]:
            found = pieces[-1].end, cost, tuple(pieces)
    return None if found is None else (found[1], found[2])
