"""Work in pieces that cost a restart or must have a length. Pure; numpy.

With a price on work (its Lagrangian multiplier), whether to run in a slot is a dynamic program over slots with two
states, running or not; the price is bisected until the work gets done (vectorised over rows). What is then too much is
cut off the ends of pieces, the dirtiest first. That is the optimum wherever the work done is a step of the price, and
within the cost of a part of a slot otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.splits import laid, open_seconds, rates
from evenwatt_collector.plan.windows import latest_ends

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.problem import Floats
    from evenwatt_collector.plan.room import Room
    from evenwatt_collector.plan.runs import Prices
    from evenwatt_collector.plan.windows import Window
    from evenwatt_collector.plan.work import Option, Piece

    Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

_PRICES: Final = 24
"""Tried at once: a program over all of them costs little more than one over one."""

_FEW: Final = 16  # jobs: in so few, every place and width is looked at closely

_ROUNDS: Final = 3
"""Each narrows the price to a part in _PRICES."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A job at a place on a constant width."""

    owner: int
    option: Option
    width: int
    need_s: float
    """Seconds of running without any restart."""
    low: float


class Pieces:
    """Interruptible work of some jobs with restarts: the best pieces of each, in what room there is for each alone."""

    def __init__(
        self, grid: Grid, windows: Sequence[Window], prices: Prices | None = None, room: Room | None = None
    ) -> None:
        self._grid, self.windows = grid, windows
        self._rows = [
            _Row(j, option, width, window.work.length(option, width), window.earliest + option.transfer_s)
            for j, window in enumerate(windows)
            for option in window.options
            for width in range(1, len(window.work.speedup) + 1)
        ]
        rows = self._rows
        works = [windows[row.owner].work for row in rows]
        watts = np.array([row.option.watts * row.width for row in rows], dtype=np.float64)
        slots = np.array([work.job.slots * row.width for work, row in zip(works, rows, strict=True)], dtype=np.float64)
        place = np.array([row.option.place for row in rows], dtype=np.int64)
        low = np.array([row.low for row in rows], dtype=np.float64)
        self._need = np.array([row.need_s for row in rows], dtype=np.float64)
        owner = np.array([row.owner for row in rows], dtype=np.int64)
        self._high = high = latest_ends(grid, windows, owner, place, low, self._need)
        self._restart = np.array([max(0.0, work.job.restart_s) for work in works], dtype=np.float64)
        self._least = np.array([max(0.0, work.job.least_run_s) for work in works], dtype=np.float64)
        goes_on = [work.continues == row.option.place and row.low <= grid.now + EPS_S
                   for work, row in zip(works, rows, strict=True)]  # fmt: skip
        self._continues = np.array(goes_on, dtype=np.bool_)
        begun = np.array([work.continues >= 0 for work in works], dtype=np.bool_)
        # The first piece is free of a restart.
        self._target = np.where(begun, self._need, self._need - self._restart)
        self.rate = rates(grid, place, watts, slots, prices)
        self.open_s = open_seconds(grid, low, high)
        self.open_s[:, -1] = np.minimum(self.open_s[:, -1], self._need + 2 * self._restart)
        if room is not None:
            for i, row in enumerate(rows):
                if room.limited[row.option.place]:
                    self.open_s[i, room.blocked(row.option.place, float(slots[i]), float(watts[i]))] = 0.0
        self._least_bound: dict[int, int] = {}
        self.used_s = self._solve()
        self.cost = (self.used_s * self.rate).sum(axis=1)
        for i, row in enumerate(rows):
            if row.option.transfer_j:
                self.cost[i] += row.option.transfer_j * grid.weight[row.option.place, (self.used_s[i] > 0).argmax()]
        self.cost[~self.used_s.any(axis=1) & (self._need > 0)] = inf

    def best(self, j: int) -> tuple[float, tuple[Piece, ...]] | None:
        """Return weight and pieces of a job; None where there is no way."""
        rows = [i for i, row in enumerate(self._rows) if row.owner == j]
        i = min(rows, key=self.cost.__getitem__, default=-1)
        if i < 0 or not self.cost[i] < inf:
            return None
        return float(self.cost[i]), self._laid(i)

    def by_job(self) -> list[tuple[float, tuple[Piece, ...]] | None]:
        """Return weight and pieces of each job."""
        best: dict[int, int] = {}
        for i, (row, cost) in enumerate(zip(self._rows, self.cost.tolist(), strict=True)):
            if cost < inf and (row.owner not in best or cost < self.cost[best[row.owner]]):
                best[row.owner] = i
        return [
            (float(self.cost[best[j]]), self._laid(best[j])) if j in best else None for j in range(len(self.windows))
        ]

    def _laid(self, i: int) -> tuple[Piece, ...]:
        row = self._rows[i]
        return laid(self._grid, row.option.place, self.used_s[i], row.low, float(self._high[i]), row.width,
                    row.option.watts * row.width)  # fmt: skip

    def _solve(self) -> Floats:
        """Return seconds used of each slot; nothing in rows that cannot be done."""
        used: Floats = np.zeros_like(self.open_s)
        steps = np.ceil(self._least / self._grid.slot_s - EPS_S).astype(np.int64).clip(1, self._grid.slots)
        for step in np.unique(steps).tolist():
            rows = np.flatnonzero(steps == step)
            more, less, done, bound = self._bisected(rows, step)
            for k, i in enumerate(rows.tolist()):
                if not self._promising(rows, bound, k) or done[k] < self._target[i] - EPS_S:
                    continue
                ways = [self._cut(i, np.where(more[k], self.open_s[i], 0.0))]
                if less[k].any():
                    ways.append(self._grown(i, np.where(less[k], self.open_s[i], 0.0)))
                ways = [way for way in ways if self._missing(i, way) <= EPS_S]
                if ways:
                    used[i] = min(ways, key=lambda way: float(way @ self.rate[i]))
        return used

    def _bisected(self, rows: Ints, step: int) -> tuple[Bools, Bools, Floats, Floats]:
        """Return in which slots to run at the least price that gets the work done, and at the most that does not.

        And the seconds of work that come of the first, and what the work weighs at the least (the dual's bound).
        """
        low = np.zeros(len(rows))
        high = self.rate[rows].max(axis=1) * 1.001 + 1e-30
        if not len(rows):
            nothing = np.zeros((0, self.open_s.shape[1]), dtype=np.bool_)
            return nothing, nothing, low, low
        share = np.arange(1, _PRICES + 1) / _PRICES
        every = np.arange(len(rows))
        for _ in range(_ROUNDS):
            tried = low[:, None] + (high - low)[:, None] * share
            did = self._program(np.repeat(rows, _PRICES), tried.ravel(), step)[0].reshape(tried.shape)
            enough = did >= self._target[rows, None]
            enough[:, -1] = True  # the dearest always counts as enough: what it cannot do, cannot be done
            first = enough.argmax(axis=1)
            low = np.where(first > 0, tried[every, first - 1], low)
            high = tried[every, first]
        done, value, choices = self._program(rows, high, step, keep=True)
        if (done < self._target[rows]).any():
            # Work that is worth more than it ever weighs is all run that can be; restarts may ask for still more.
            high = np.where(done < self._target[rows], high * 1e3, high)
            done, value, choices = self._program(rows, high, step, keep=True)
        less = _traced(self._program(rows, low, step, keep=True)[2], step)
        return _traced(choices, step), less, done, value + high * self._target[rows]

    def _program(self, rows: Ints, price: Floats, step: int, *, keep: bool = False) -> tuple[Floats, Floats, _Choices]:
        """Run the dynamic program; return seconds of work (restarts taken off), its value, and what was chosen."""
        open_s, restart = self.open_s[rows], self._restart[rows]
        gain = np.where(open_s > 0, (self.rate[rows] - price[:, None]) * open_s, inf)
        begin = price * restart
        count, slots = open_s.shape
        off, off_s = np.zeros(count), np.zeros(count)
        on = np.where(self._continues[rows], 0.0, inf)
        on_s = np.zeros(count)
        offs, offs_s = [off], [off_s]
        chosen = _Choices([], [], np.zeros(count, dtype=np.bool_))
        for t in range(slots):
            first = t - step + 1
            if first >= 0:
                block = gain[:, first : t + 1].sum(axis=1) if step > 1 else gain[:, t]
                started = offs[first] + begin + block
                started_s = (
                    offs_s[first] - restart + (open_s[:, first : t + 1].sum(axis=1) if step > 1 else open_s[:, t])
                )
            else:
                started, started_s = np.full(count, inf), on_s
            going = on + gain[:, t]
            starts = started < going
            new_on, new_on_s = np.where(starts, started, going), np.where(starts, started_s, on_s + open_s[:, t])
            stays = off <= on
            off, off_s = np.where(stays, off, on), np.where(stays, off_s, on_s)
            on, on_s = new_on, new_on_s
            offs.append(off)
            offs_s.append(off_s)
            if keep:
                chosen.starts.append(starts)
                chosen.stays.append(stays)
        ends_on = on < off
        chosen.ends_on = ends_on
        return np.where(ends_on, on_s, off_s), np.where(ends_on, on, off), chosen

    def _promising(self, rows: Ints, bound: Floats, k: int) -> bool:
        """Whether a row is looked at closely: in large sets, only that of each job whose bound is the least."""
        if len(self.windows) <= _FEW:
            return True
        owner = self._rows[int(rows[k])].owner
        first = self._least_bound.get(owner)
        if first is None:
            for j, i in enumerate(rows.tolist()):
                mine = self._rows[i].owner
                if mine not in self._least_bound or bound[j] < bound[self._least_bound[mine]]:
                    self._least_bound[mine] = j
            first = self._least_bound[owner]
        return first == k

    def _missing(self, i: int, used: Floats) -> float:
        """Return seconds that are yet to be run, restarts counted; below 0 if it is too much."""
        pieces = _spans(used)
        goes_on = bool(self._continues[i]) and used[int((self.open_s[i] > 0).argmax())] > 0
        return float(self._target[i]) + float(self._restart[i]) * (len(pieces) - goes_on) - float(used.sum())

    def _grown(self, i: int, used: Floats) -> Floats:
        """Add to pieces what is missing: the cleanest slot beside one, as much of it as it takes."""
        open_s, rate = self.open_s[i], self.rate[i]
        for _ in range(len(used)):
            missing = self._missing(i, used)
            if missing <= EPS_S:
                break
            running = used > 0
            beside = np.zeros(len(used), dtype=np.bool_)
            beside[:-1] |= running[1:]
            beside[1:] |= running[:-1]
            some = np.flatnonzero(beside & ~running & (open_s > 0))
            if not len(some):
                break
            t = int(some[rate[some].argmin()])
            used[t] = open_s[t]
        return self._cut(i, used)

    def _cut(self, i: int, used: Floats) -> Floats:
        """Take off what is too much: from ends of pieces, the dirtiest first, leaving each its least length."""
        rate, least, restart = self.rate[i], float(self._least[i]), float(self._restart[i])
        for _ in range(4 * len(used)):
            excess = -self._missing(i, used)
            if excess <= EPS_S:
                break
            pieces = _spans(used)
            ends = []
            for k, (first, last) in enumerate(pieces):
                length = float(used[first : last + 1].sum())
                spare = length - (least if k < len(pieces) - 1 else 0.0)
                if len(pieces) > 1 and length - restart <= excess and not (k == 0 and self._continues[i]):
                    worth = float(rate[first : last + 1] @ used[first : last + 1]) / max(EPS_S, length - restart)
                    ends.append((worth, first, last, length))
                if spare > EPS_S:
                    ends += [(float(rate[t]), t, t, min(spare, excess, float(used[t]))) for t in {first, last}]
            if not ends:
                break
            _, first, last, seconds = max(ends)
            if first == last and seconds < float(used[first]):
                used[first] -= seconds
            else:
                used[first : last + 1] = 0.0
        return used


@dataclass(slots=True)
class _Choices:
    starts: list[Bools]
    stays: list[Bools]
    ends_on: Bools


def _traced(choices: _Choices, step: int) -> Bools:
    """Walk the choices back; return (row, slot) whether it runs."""
    slots = len(choices.starts)
    runs = np.zeros((len(choices.ends_on), slots), dtype=np.bool_)
    on = choices.ends_on.copy()
    forced = np.zeros(len(runs), dtype=np.int64)
    for t in range(slots - 1, -1, -1):
        runs[:, t] = on
        begins = on & (forced == 0) & choices.starts[t]
        forced = np.where(begins, step, forced)
        ended = forced == 1  # the block that began the piece is walked through
        forced = np.maximum(0, forced - 1)
        on = np.where(on, ~ended, ~choices.stays[t])
    return runs


def _spans(used: Floats) -> list[tuple[int, int]]:
    """Return first and last slot of each piece."""
    some = np.flatnonzero(used > 0)
    if not len(some):
        return [(0, 0)]
    breaks = np.flatnonzero(np.diff(some) > 1)
    firsts, lasts = some[np.concatenate(([0], breaks + 1))], some[np.concatenate((breaks, [len(some) - 1]))]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
