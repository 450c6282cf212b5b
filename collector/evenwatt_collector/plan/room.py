"""Room by place and slot: what planned pieces take of it, and whether one more fits. Pure; numpy.

A piece takes its room in every slot that it touches, for the whole of the slot. So the sum never exceeds what is free
at any moment, wherever in their slots the pieces lie. Where that is too strict to meet a deadline, ``inner`` cuts
slots finer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evenwatt_collector.plan.grid import EPS_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.problem import Floats
    from evenwatt_collector.plan.work import Piece, Work

    Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

_SLACK = 1e-9
"""Of what there is at all: sums of floats are not exact."""


class Room:
    """What is left."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self.slots = grid.room_slots.copy()
        self.watts = grid.room_w.copy()
        limited = np.isfinite(grid.room_slots) | np.isfinite(grid.room_w)
        self.limited: list[bool] = [bool(row.any()) for row in limited]
        self._slack_slots = _SLACK * np.where(np.isfinite(grid.room_slots), 1 + grid.room_slots, 1)
        self._slack_w = _SLACK * np.where(np.isfinite(grid.room_w), 1 + grid.room_w, 1)

    @property
    def unlimited(self) -> bool:
        """Whether there is room for all, everywhere."""
        return not any(self.limited)

    def take(self, work: Work, pieces: Iterable[Piece], sign: int = 1) -> None:
        """Take what pieces need, or give it back (``sign`` -1)."""
        for place, start, end, slots, watts in self._needs(work, pieces):
            self.slots[place, start:end] -= sign * slots
            self.watts[place, start:end] -= sign * watts

    def over(self) -> set[tuple[int, int]]:
        """Return (place, slot) where more is taken than there is."""
        short = (self.slots < -self._slack_slots) | (self.watts < -self._slack_w)
        return {(int(place), int(t)) for place, t in np.argwhere(short)}

    def fits(self, work: Work, pieces: Iterable[Piece]) -> bool:
        """Whether there is room for pieces."""
        for place, start, end, slots, watts in self._needs(work, pieces):
            if (self.slots[place, start:end] + self._slack_slots[place, start:end] < slots).any():
                return False
            if (self.watts[place, start:end] + self._slack_w[place, start:end] < watts).any():
                return False
        return True

    def blocked(self, place: int, slots: float, watts: float) -> Bools:
        """Return in which slots of a place there is not so much left."""
        missing = self.slots[place] + self._slack_slots[place] < slots
        missing |= self.watts[place] + self._slack_w[place] < watts
        return np.asarray(missing)

    def blocked_rows(self, place: Ints, slots: Floats, watts: Floats) -> Bools:
        """Return the same for many at once, (row, slot + 1)."""
        missing = self.slots[place] + self._slack_slots[place] < slots[:, None]
        missing |= self.watts[place] + self._slack_w[place] < watts[:, None]
        return np.asarray(missing)

    def _needs(self, work: Work, pieces: Iterable[Piece]) -> list[tuple[int, int, int, float, float]]:
        """Return place, first slot, slot after the last, job slots and watts; no slot is counted twice for a job."""
        found: list[tuple[int, int, int, float, float]] = []
        grid, done = self._grid, -1
        last: tuple[int, float, float] = (-1, 0.0, 0.0)
        for piece in pieces:
            if not self.limited[piece.place] or piece.end <= grid.now + EPS_S:
                continue
            start, end = grid.first_slot(max(piece.start, grid.now)), grid.end_slot(piece.end)
            watts = piece.watts
            slots = work.job.slots * piece.width
            if piece.place == last[0] and start < done:  # two pieces in one slot: the greater of both counts
                more_slots, more_w = max(0.0, slots - last[1]), max(0.0, watts - last[2])
                found.append((piece.place, start, done, more_slots, more_w))
                start = done
            if start < end:
                found.append((piece.place, start, end, slots, watts))
            done, last = end, (piece.place, slots, watts)
        return found


def used(grid: Grid, works: Iterable[tuple[Work, Iterable[Piece]]]) -> tuple[Floats, Floats]:
    """Return job slots and watts in use, (place, slot + 1): what pieces take by the same rule, whatever is free."""
    unlimited = Room(grid)
    unlimited.limited = [True] * len(grid.names)
    unlimited.slots[:], unlimited.watts[:] = 0.0, 0.0
    for work, pieces in works:
        unlimited.take(work, pieces)
    return -unlimited.slots, -unlimited.watts
