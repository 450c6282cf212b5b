"""Work that is faster on more slots at once and may change its width: marginal allocation. Pure; numpy.

A slot on one more unit of width adds the speed that the width adds. The cheapest joule a unit of work comes first,
until the work is done; with concave speeds, a slot's widths come in order by themselves (CarbonScaler, algorithm 1).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.splits import open_seconds, rates
from evenwatt_collector.plan.windows import latest_ends
from evenwatt_collector.plan.work import Piece

if TYPE_CHECKING:
    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.problem import Floats
    from evenwatt_collector.plan.room import Room
    from evenwatt_collector.plan.runs import Prices
    from evenwatt_collector.plan.windows import Window
    from evenwatt_collector.plan.work import Option


def best(
    grid: Grid, window: Window, room: Room, prices: Prices | None = None
) -> tuple[float, tuple[Piece, ...]] | None:
    """Return weight and pieces of the best place for elastic, interruptible work; None where there is no way."""
    found: tuple[float, tuple[Piece, ...]] | None = None
    for option in window.options:
        one = _at(grid, window, option, room, prices)
        if one is not None and (found is None or one[0] < found[0]):
            found = one
    return found


def _at(
    grid: Grid, window: Window, option: Option, room: Room, prices: Prices | None
) -> tuple[float, tuple[Piece, ...]] | None:
    work = window.work
    widths = len(work.speedup)
    need = work.job.length_s / option.speed
    low = window.earliest + option.transfer_s
    nought, shortest = np.zeros(1, dtype=np.int64), np.array([need / work.speedup[-1]])
    high = latest_ends(grid, [window], nought, nought + option.place, np.array([low]), shortest)
    open_s = open_seconds(grid, np.array([low]), high)[0]
    open_s[-1] = min(open_s[-1], need)
    adds = np.diff(np.array((0.0, *work.speedup)))
    there: Floats = np.repeat(open_s[:, None], widths, axis=1)
    if room.limited[option.place]:
        for width in range(1, widths + 1):
            there[room.blocked(option.place, work.job.slots * width, option.watts * width), width - 1 :] = 0.0
    rate = rates(grid, np.array([option.place]), np.array([option.watts]), np.array([work.job.slots]), prices)[0]
    order = (rate[:, None] / adds).ravel().argsort(kind="stable")
    sizes = (there * adds).ravel()[order]
    before = sizes.cumsum() - sizes
    taken = np.clip(need - before, 0.0, sizes)
    if taken.sum() < need - EPS_S:
        return None
    used = np.zeros(len(taken))
    used[order] = taken
    seconds = used.reshape(there.shape) / adds
    cost = float((seconds.sum(axis=1) * rate).sum())
    cost += option.transfer_j * float(grid.weight[option.place, int(seconds[:, 0].argmax())])
    return cost, tuple(_laid(grid, option, seconds, low))


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
