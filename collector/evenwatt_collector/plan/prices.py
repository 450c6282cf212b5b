"""Prices on room, so that who gains least by a clean slot leaves it to who gains most. Pure; numpy.

A subgradient method on the Lagrangian dual (Held, Wolfe, Crowder 1974): room that all jobs together would overdraw gets
dearer, room that they leave free gets cheaper, until what each takes for itself fits about into what there is. What
they then take is rounded by placing them one after the other (``placing``), under these prices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.plan.placing import kind
from evenwatt_collector.plan.runs import Prices, Runs
from evenwatt_collector.plan.splits import Fills

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.plan.placing import Placer
    from evenwatt_collector.plan.problem import Floats
    from evenwatt_collector.plan.windows import Window

_ROUNDS: Final = 12

_SAMPLE: Final = 400
"""Jobs that stand for all: prices need no more."""


def find(placer: Placer) -> Prices | None:
    """Return prices for the room of a plan's places, from the jobs that wait for no other; None if there is enough."""
    names = [name for name in placer.works
             if name not in placer.order.before and _counts(placer, name)]  # fmt: skip
    stride = max(1, len(names) // _SAMPLE)
    sample = names[::stride]
    windows = [window for name in sample if (window := placer.window(name)) is not None]
    grid = placer.grid
    slots, joule = np.zeros_like(grid.weight), np.zeros_like(grid.weight)
    if not windows:
        return None
    scale = len(names) / len(windows)
    room_slots, room_w = placer.settled_room()
    # What a slot, or a watt, is worth: the spread of what it weighs over time, by what a job draws on a slot.
    watts = np.array([w.options[0].watts for w in windows])
    units = np.array([max(1e-9, w.work.job.slots) for w in windows])
    spread = float(grid.weight.std()) or float(grid.weight.mean())
    best_slots, best_joule = slots, joule
    least_over = np.inf
    for i in range(_ROUNDS):
        used_slots, used_w = _wanted(placer, windows, Prices(slots, joule))
        over_slots, over_w = _over(used_slots * scale, room_slots), _over(used_w * scale, room_w)
        over = float(np.maximum(over_slots, 0).sum() + np.maximum(over_w, 0).sum())
        if i == 0 and over <= 0:
            return None
        if over < least_over:
            least_over, best_slots, best_joule = over, slots, joule
        step = spread / (1 + i) ** 0.6
        slots = np.maximum(0.0, slots + step * float(watts.mean() / units.mean()) * over_slots)
        joule = np.maximum(0.0, joule + step * over_w)
    return Prices(best_slots, best_joule)


def _counts(placer: Placer, name: str) -> bool:
    work = placer.works[name]
    return not work.fault and work.pinned is None and work.job.length_s > 0


def _over(used: Floats, room: Floats) -> Floats:
    """Return by which share room is overdrawn, at the most by its double; where there is no limit, nothing."""
    limited = np.isfinite(room)
    share = np.where(limited, (used - room) / np.where(limited, np.maximum(room, 1e-9), 1.0), 0.0)
    return np.clip(share, -1.0, 2.0)


def _wanted(placer: Placer, windows: Sequence[Window], prices: Prices) -> tuple[Floats, Floats]:
    """Return job slots and watts in use, (place, slot + 1), if each job took what is best for it alone."""
    grid = placer.grid
    slots, watts = np.zeros_like(grid.weight), np.zeros_like(grid.weight)
    plain = [w for w in windows if kind(w.work) != "run"]
    runs = Runs(grid, [w for w in windows if kind(w.work) == "run"], prices)
    for cost, row, column in zip(*runs.best(), strict=True):
        if cost < np.inf:
            piece = runs.piece(row, column)
            span = slice(grid.first_slot(piece.start), grid.end_slot(piece.end))
            slots[piece.place, span] += runs.slots[row]
            watts[piece.place, span] += piece.watts
    fills = Fills(grid, plain, prices)  # restarts are left out: prices need not be exact
    weighs, best = fills.best()
    rows = np.array(best, dtype=np.int64)[np.isfinite(weighs)]
    if len(rows):
        touched = fills.used_s[rows] > 0
        units = np.array([plain[j].work.job.slots for j in fills.owner[rows].tolist()])
        np.add.at(slots, fills.place[rows], touched * units[:, None])
        np.add.at(watts, fills.place[rows], touched * fills.watts[rows, None])
    return slots, watts
