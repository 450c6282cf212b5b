"""What nodes publish, each second and when power jumps: the mean and the highest 100 ms bin since the last time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evenwatt_collector.control.arrays import Bools, Floats, Ints

PEAK_WINDOWS = 10
JUMP_W, JUMP_SHARE, JUMP_EVERY_S = 10.0, 0.05, 0.2
"""As in ``evenwatt_agent.meter``."""


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
    jump: bool
    """Some came before their second was over: power has jumped."""

    def part(self, rows: Bools) -> Windows:
        """Return some of the rows."""
        return Windows(
            self.at[rows], self.mean_w[rows], self.peak_w[rows], self.window_peak_w[rows], self.held_w[rows],
            self.paused[rows], self.jump,
        )  # fmt: skip


class Meters:
    """The nodes' aggregation, as the agent does it: a window a second, and at once when power jumps."""

    def __init__(self, nodes: int, dt_s: float, seed: int) -> None:
        self._steps = max(1, round(1.0 / dt_s))
        self._bin_steps = max(1, round(0.1 / dt_s))
        self._least_steps = max(1, round(JUMP_EVERY_S / dt_s))
        # Each node's second begins at a moment of its own, at the edge of a bin.
        phases = np.random.default_rng([seed, 7]).integers(0, max(1, self._steps // self._bin_steps), nodes)
        self._counted: Ints = phases * self._bin_steps
        self._sum_w: Floats = np.zeros(nodes)
        self._bin_w: Floats = np.zeros(nodes)
        self._last_bin_w: Floats = np.zeros(nodes)
        self._reported_w: Floats = np.full(nodes, np.inf)  # nothing jumps from where nothing was reported
        self._window_peak_w: Floats = np.zeros(nodes)
        self._peaks_w: Floats = np.zeros((nodes, PEAK_WINDOWS))
        self._turn = -1
        self._taken: Ints = np.zeros(nodes, dtype=np.int64)

    def take(self, k: int, power_w: Floats, held_w: Floats, paused: Bools) -> Windows | None:
        """Take the mean power of step ``k``; return the windows that end with it."""
        self._sum_w += power_w
        self._bin_w += power_w
        self._counted += 1
        self._taken += 1
        ends = self._counted >= self._steps
        if (k + 1) % self._bin_steps == 0:
            self._last_bin_w = self._bin_w / self._bin_steps
            np.maximum(self._window_peak_w, self._last_bin_w, out=self._window_peak_w)
            self._bin_w[:] = 0.0
            moved_w = np.abs(self._last_bin_w - self._reported_w)
            jumped = moved_w > np.maximum(JUMP_W, JUMP_SHARE * self._reported_w)
            ends |= jumped & (self._counted >= self._least_steps)
        turn = k // self._steps % PEAK_WINDOWS
        if turn != self._turn:
            self._turn = turn
            self._peaks_w[:, turn] = 0.0
        at = np.flatnonzero(ends)
        return self._close(at, held_w, paused) if len(at) else None

    def _close(self, at: Ints, held_w: Floats, paused: Bools) -> Windows:
        mean_w = self._sum_w[at] / np.maximum(1, self._taken[at])
        window_peak_w = np.maximum(self._window_peak_w[at], mean_w)
        self._peaks_w[at, self._turn] = np.maximum(self._peaks_w[at, self._turn], window_peak_w)
        self._reported_w[at] = self._last_bin_w[at]
        self._sum_w[at] = self._window_peak_w[at] = 0.0
        jump = bool((self._counted[at] < self._steps).any())
        self._counted[at] = self._taken[at] = 0
        return Windows(at, mean_w, self._peaks_w[at].max(axis=1), window_peak_w, held_w[at], paused[at], jump)
