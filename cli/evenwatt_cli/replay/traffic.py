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
    """Models, each served by a pool of nodes.

    Requests come at a rate that swings from model to model: hot, warm or cold for a minute or so. Each request keeps
    its node busy for one or two samples.
    """

    _RATES_HZ = ((1.2, 2.5), (0.2, 0.8), (0.0, 0.02))

    def __init__(self, nodes: int, dt_s: float, seed: int, *, pools: int = 6, idle: float = 0.02) -> None:
        self.nodes, self._dt_s, self._idle = nodes, dt_s, idle
        self._rng = np.random.default_rng([seed, 1])
        self._pool = np.arange(nodes) * pools // max(nodes, 1)
        self._rate_hz = np.zeros(pools)
        self._left_s = np.zeros(pools)
        self._busy_s = np.zeros(nodes)

    def block(self, steps: int) -> Floats:
        """Return the next loads."""
        loads = np.full((steps, self.nodes), self._idle)
        for step in range(steps):
            self._left_s -= self._dt_s
            for pool in np.flatnonzero(self._left_s <= 0):
                self._left_s[pool] = self._rng.uniform(40, 120)
                self._rate_hz[pool] = self._rng.uniform(*self._RATES_HZ[self._rng.integers(len(self._RATES_HZ))])
            arrive = self._rng.random(self.nodes) < self._rate_hz[self._pool] * self._dt_s
            length_s = SAMPLE_S * self._rng.integers(1, 3, self.nodes)
            self._busy_s = np.maximum(self._busy_s - self._dt_s, np.where(arrive, length_s, 0.0))
            loads[step, self._busy_s > 0] = 1.0
        return loads


class Training:
    """Jobs of many nodes each, all in step: compute, exchange gradients, compute again.

    Each job writes a checkpoint now and then, and after some minutes gives its nodes back, which wait for the next one.
    """

    def __init__(
        self, nodes: int, dt_s: float, seed: int, *, jobs: int = 8, step_s: float = 1.2, dip: float = 0.25
    ) -> None:
        self.nodes, self._dt_s, self._step_s, self._dip = nodes, dt_s, step_s, dip
        rng = np.random.default_rng([seed, 2])
        self._job = np.arange(nodes) * jobs // max(nodes, 1)
        self._late_s = rng.uniform(0.0, 0.02, nodes)
        self._compute = 0.8 + rng.uniform(-0.02, 0.02, nodes)
        self._checkpoint_s = rng.uniform(0.0, 90.0, jobs)
        self._runs_s, self._waits_s = rng.uniform(150.0, 300.0, jobs), rng.uniform(30.0, 90.0, jobs)
        self._begin_s = rng.uniform(0.0, 300.0, jobs)
        self._k = 0

    def block(self, steps: int) -> Floats:
        """Return the next loads."""
        t_s = (self._k + np.arange(steps)[:, None]) * self._dt_s
        self._k += steps
        loads = np.where(((t_s + self._late_s) / self._step_s) % 1.0 < self._compute, 1.0, self._dip)
        saves = ((t_s + self._checkpoint_s) % 90.0 > 82.0)[:, self._job]
        waits = ((t_s + self._begin_s) % (self._runs_s + self._waits_s) > self._runs_s)[:, self._job]
        return np.where(waits, 0.02, np.where(saves, 0.1, loads))


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


class Intervals:
    """Nodes that are busy from one moment to another, in pools that all follow the same record, each a while later."""

    _APART_S = 97.0

    def __init__(
        self, nodes: int, dt_s: float, begin_s: Floats, end_s: Floats, which: Ints, pool: int, span_s: float
    ) -> None:
        self.nodes, self._dt_s, self._pool, self._span_s = nodes, dt_s, pool, span_s
        self._busy = []
        for node in range(pool):
            mine = which == node
            self._busy.append((begin_s[mine], end_s[mine]))
        self._k = 0

    def block(self, steps: int) -> Floats:
        """Return the next loads."""
        t_s = (self._k + np.arange(steps)) * self._dt_s
        self._k += steps
        loads = np.full((steps, self.nodes), 0.02)
        for node in range(self.nodes):
            begin_s, end_s = self._busy[node % self._pool]
            if len(begin_s):
                at_s = (t_s + (node // self._pool) * self._APART_S) % self._span_s
                last = np.searchsorted(begin_s, at_s, side="right") - 1
                loads[(last >= 0) & (at_s < end_s[last]), node] = 1.0
        return loads


class SideBySide:
    """Several sorts of work, each on nodes of its own."""

    def __init__(self, parts: Sequence[Traffic]) -> None:
        self.nodes = sum(part.nodes for part in parts)
        self._parts = parts

    def block(self, steps: int) -> Floats:
        """Return the next loads."""
        return np.concatenate([part.block(steps) for part in self._parts], axis=1)
