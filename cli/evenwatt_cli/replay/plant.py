"""A fleet in arrays: the same physics as the twin's components, one device a node.

A device wants ``idle + span * load``; above its cap it works at ``speed(cap / wanted)`` of its pace; power follows with
a first-order lag; a new cap takes hold after the device's delay. Energy over a step is exact for the lag.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evenwatt_twin.speed import ZEUS_V100

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.control.arrays import Bools, Floats, Ints
    from evenwatt_twin.speed import SpeedCurve

TAU_S = 0.05
"""Power follows a changed load or cap with this lag: RAPL and GPU limiters act within tens of milliseconds."""
DELAY_S = 0.1
"""From writing a limit to its taking hold (GEOPM and NVML measure 10 to 100 ms)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSpec:
    """What the nodes are; one position each."""

    idle_w: Floats
    max_w: Floats
    floor_w: Floats
    """Least cap a device takes."""
    priority: Ints
    weight: Floats
    pausable: Bools
    zone: Ints
    kind: Ints
    """Index of each node's speed curve."""
    curves: Sequence[SpeedCurve] = (ZEUS_V100,)
    tau_s: float = TAU_S
    delay_s: float = DELAY_S

    def __len__(self) -> int:
        return len(self.idle_w)


class Plant:
    """The fleet in motion.

    Args:
        spec: Its nodes.
        dt_s: Step.
    """

    def __init__(self, spec: FleetSpec, dt_s: float) -> None:
        self.spec, self.dt_s = spec, dt_s
        self.power_w: Floats = spec.idle_w.copy()
        """At the end of the last step."""
        self.mean_w: Floats = spec.idle_w.copy()
        """Over the last step."""
        self.work_done: Floats = np.zeros(len(spec))
        """Seconds of full load that were served."""
        self.work_demanded: Floats = np.zeros(len(spec))
        self._span_w = spec.max_w - spec.idle_w
        self._decay = np.exp(-dt_s / spec.tau_s) if spec.tau_s > 0 else 0.0
        self._least_w = np.maximum(spec.idle_w, spec.floor_w)
        steps = max(0, round(spec.delay_s / dt_s))
        self._coming: deque[Floats] = deque([np.full(len(spec), np.inf)] * steps)
        self._knots = [(np.array([p for p, _ in curve]), np.array([s for _, s in curve])) for curve in spec.curves]

    def step(self, load: Floats, cap_w: Floats, paused: Bools) -> Floats:
        """Move on by one step under constant load and caps (infinite: none); return mean power."""
        self._coming.append(cap_w)
        in_force_w = np.maximum(self._coming.popleft(), self._least_w)
        served = np.where(paused, 0.0, load)
        wanted_w = self.spec.idle_w + self._span_w * served
        over = wanted_w > in_force_w
        if over.any():
            at = np.flatnonzero(over)
            served[at] *= self._speed(at, in_force_w[at] / wanted_w[at])
            wanted_w[at] = in_force_w[at]
        before_w = self.power_w
        self.power_w = wanted_w + (before_w - wanted_w) * self._decay
        self.mean_w = wanted_w + (before_w - self.power_w) * (self.spec.tau_s / self.dt_s)
        self.work_done += served * self.dt_s
        self.work_demanded += load * self.dt_s
        return self.mean_w

    def _speed(self, at: Ints, share: Floats) -> Floats:
        if len(self._knots) == 1:
            shares, speeds = self._knots[0]
            return np.asarray(np.interp(share, shares, speeds))
        speed = np.empty(len(at))
        for kind, knots in enumerate(self._knots):
            mine = self.spec.kind[at] == kind
            speed[mine] = np.interp(share[mine], *knots)
        return speed
