"""What work asks of each node over time: loads from 0 to 1, made from a seed, block by block.

The shapes are those that fleets are known for: inference that is idle or at full power for one or two samples of
250 ms about once a second, with request rates that swing; training in steps that all nodes take together; batch jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.control.arrays import Floats, Ints

SAMPLE_S = 0.25
"""A100 serving draws full power for one or two samples of this length."""


class Traffic(Protocol):
    """A source of loads."""

    nodes: int

    def block(self, steps: int) -> Floats:
        """Return the next loads, an array of steps x nodes."""


class Inference:
    """Requests that come at a rate which swings for the whole fleet; each keeps its node busy for one or two samples."""

    def __init__(
        self, nodes: int, dt_s: float, seed: int, *, rate_hz: tuple[float, float] = (0.3, 1.6), idle: float = 0.02
    ) -> None:
        self.nodes, self._dt_s, self._idle = nodes, dt_s, idle
        self._rng = np.random.default_rng([seed, 1])
        self._rates, self._rate = rate_hz, rate_hz[0]
        self._own = self._rng.uniform(0.6, 1.4, nodes)
        self._busy_s = np.zeros(nodes)
        self._swing_s = 0.0

    def block(self, steps: int) -> Floats:
        """Return the next loads."""
        loads = np.full((steps, self.nodes), self._idle)
        for step in range(steps):
            self._swing_s -= self._dt_s
            if self._swing_s <= 0:
                self._swing_s = self._rng.uniform(15, 60)
                self._rate = self._rng.uniform(*self._rates)
            arrive = self._rng.random(self.nodes) < self._rate * self._own * self._dt_s
            length_s = SAMPLE_S * self._rng.integers(1, 3, self.nodes)
            self._busy_s = np.maximum(self._busy_s - self._dt_s, np.where(arrive, length_s, 0.0))
            loads[step, self._busy_s > 0] = 1.0
        return loads


class Training:
    """All nodes compute, exchange gradients, and compute again, in step; now and then they write a checkpoint."""

    def __init__(self, nodes: int, dt_s: float, seed: int, *, step_s: float = 1.2, dip: float = 0.25) -> None:
        self.nodes, self._dt_s, self._step_s, self._dip = nodes, dt_s, step_s, dip
        rng = np.random.default_rng([seed, 2])
        self._late_s = rng.uniform(0.0, 0.02, nodes)
        self._compute = 0.8 + rng.uniform(-0.02, 0.02, nodes)
        self._k = 0

    def block(self, steps: int) -> Floats:
        """Return the next loads."""
        t_s = (self._k + np.arange(steps)[:, None]) * self._dt_s + self._late_s
        self._k += steps
        loads = np.where((t_s / self._step_s) % 1.0 < self._compute, 1.0, self._dip)
        return np.where(t_s % 90.0 > 84.0, 0.1, loads)


class Batch:
    """Jobs of half a minute to two minutes at nearly full load, with gaps between them."""

    def __init__(self, nodes: int, dt_s: float, seed: int, *, busy: float = 0.8) -> None:
        self.nodes, self._dt_s, self._busy = nodes, dt_s, busy
        self._rng = np.random.default_rng([seed, 3])
        self._left_s = self._rng.uniform(0, 60, nodes)
        self._load = np.where(self._rng.random(nodes) < busy, self._rng.uniform(0.85, 1.0, nodes), 0.05)

    def block(self, steps: int) -> Floats:
        """Return the next loads."""
        loads = np.empty((steps, self.nodes))
        for step in range(steps):
            self._left_s -= self._dt_s
            done = self._left_s <= 0
            if done.any():
                works = self._rng.random(self.nodes) < self._busy
                self._load = np.where(done, np.where(works, self._rng.uniform(0.85, 1.0, self.nodes), 0.05), self._load)
                self._left_s = np.where(done, self._rng.uniform(30, 120, self.nodes), self._left_s)
            loads[step] = self._load
        return loads


class Surge:
    """Work that idles, and then comes to the whole fleet at once: from 40 % to full within a quarter of a second."""

    def __init__(self, nodes: int, dt_s: float, seed: int, *, low: float = 0.25, period_s: float = 120.0) -> None:
        self.nodes, self._dt_s, self._low, self._period_s = nodes, dt_s, low, period_s
        self._late_s = np.random.default_rng([seed, 4]).uniform(0.0, 0.25, nodes)
        self._k = 0

    def block(self, steps: int) -> Floats:
        """Return the next loads."""
        t_s = (self._k + np.arange(steps)[:, None]) * self._dt_s - self._late_s
        self._k += steps
        return np.where(t_s % self._period_s > 0.5 * self._period_s, 1.0, self._low)


class Table:
    """Loads that a trace says, straight between its rows, repeated; column ``j`` of it serves every node ``j + k*m``.

    Nodes that share a column follow it shifted by a few seconds each, so that a short table makes no choir of them.
    """

    def __init__(self, nodes: int, dt_s: float, times_s: Floats, loads: Floats, *, shift_s: float = 7.0) -> None:
        self.nodes, self._dt_s, self._times_s, self._loads = nodes, dt_s, times_s - times_s[0], loads
        self._column: Ints = np.arange(nodes) % loads.shape[1]
        self._shift_s = (np.arange(nodes) // loads.shape[1]) * shift_s
        self._k = 0

    def block(self, steps: int) -> Floats:
        """Return the next loads."""
        t_s = (self._k + np.arange(steps)) * self._dt_s
        self._k += steps
        length_s = self._times_s[-1]
        out = np.empty((steps, self.nodes))
        for node in range(self.nodes):
            at_s = (t_s + self._shift_s[node]) % length_s
            out[:, node] = np.interp(at_s, self._times_s, self._loads[:, self._column[node]])
        return out


class SideBySide:
    """Several sorts of work, each on nodes of its own."""

    def __init__(self, parts: Sequence[Traffic]) -> None:
        self.nodes = sum(part.nodes for part in parts)
        self._parts = parts

    def block(self, steps: int) -> Floats:
        """Return the next loads."""
        return np.concatenate([part.block(steps) for part in self._parts], axis=1)
