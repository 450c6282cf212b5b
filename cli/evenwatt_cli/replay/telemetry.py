"""What nodes publish: once a second each, at its own moment, the mean and the highest 100 ms bin of the last second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evenwatt_collector.control.arrays import Bools, Floats, Ints

BINS = 10
PEAK_WINDOWS = 10
NODE_STATE = ("paused", "held_w")


@dataclass(frozen=True, slots=True)
class Windows:
    """Live windows of some nodes, closed at the same moment."""

    at: Ints
    mean_w: Floats
    peak_w: Floats
    """Of the last ten windows."""
    window_peak_w: Floats
    held_w: Floats
    paused: Bools

    def part(self, rows: Bools) -> Windows:
        """Return some of the rows."""
        return Windows(
            self.at[rows], self.mean_w[rows], self.peak_w[rows], self.window_peak_w[rows], self.held_w[rows],
            self.paused[rows],
        )  # fmt: skip


class Meters:
    """The nodes' aggregation, on a grid of steps that divides 100 ms or is a multiple of it."""

    def __init__(self, nodes: int, dt_s: float, seed: int) -> None:
        self._steps = max(1, round(1.0 / dt_s))
        self._bin_steps = max(1, round(0.1 / dt_s))
        self._phase = np.random.default_rng([seed, 7]).integers(0, self._steps, nodes)
        self._sum_w: Floats = np.zeros(nodes)
        self._bin_w: Floats = np.zeros(nodes)
        self._window_peak_w: Floats = np.zeros(nodes)
        self._peaks_w: Floats = np.zeros((nodes, PEAK_WINDOWS))
        self._counted: Ints = np.zeros(nodes, dtype=np.int64)

    def take(self, k: int, power_w: Floats, held_w: Floats, paused: Bools) -> Windows | None:
        """Take the mean power of step ``k``; return the windows that end with it."""
        self._sum_w += power_w
        self._bin_w += power_w
        self._counted += 1
        if (k + 1) % self._bin_steps == 0:
            np.maximum(self._window_peak_w, self._bin_w / self._bin_steps, out=self._window_peak_w)
            self._bin_w[:] = 0.0
        at = np.flatnonzero((k - self._phase) % self._steps == self._steps - 1)
        if not len(at):
            return None
        mean_w = self._sum_w[at] / self._counted[at]
        window_peak_w = np.maximum(self._window_peak_w[at], mean_w)
        turn = (k // self._steps) % PEAK_WINDOWS
        self._peaks_w[at, turn] = window_peak_w
        self._sum_w[at] = self._window_peak_w[at] = 0.0
        self._counted[at] = 0
        return Windows(at, mean_w, self._peaks_w[at].max(axis=1), window_peak_w, held_w[at], paused[at])
