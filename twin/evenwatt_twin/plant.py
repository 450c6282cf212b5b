"""The physics: power that follows load with a lag, obeys a cap with a delay, and the work that gets done.

Pure: time steps, loads and caps are arguments. Beside every component runs its shadow, the same device under the same
load without any cap, so that what control saved and what it cost are both known.

Units: watts, joules, seconds. Work is in seconds of full load.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from evenwatt_twin.speed import ZEUS_V100, SpeedCurve, check_curve, speed_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Watts = Annotated[float, Meta(ge=0.0, le=100_000.0)]
Seconds = Annotated[float, Meta(ge=0.0, le=60.0)]
Kind = Literal["cpu-package", "dram", "gpu", "soc", "platform"]

# Kinds that do work; memory and the board only serve them.
_WORKERS = frozenset({"cpu-package", "gpu", "soc"})


class Component(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One thing that draws power."""

    kind: Kind
    idle_w: Watts
    max_w: Watts
    tau_s: Seconds = 0.015
    """Time constant of the first-order lag between load and power; a few scheduler and voltage-regulator periods."""
    cap_delay_s: Seconds = 0.02
    """A new limit takes hold this late."""
    min_cap_w: Watts = 0.0
    """The device regulates no lower than this, whatever the limit says."""
    max_cap_w: Watts | None = None
    """Highest limit; ``max_w`` by default."""
    load_gain: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0
    """Share of the machine's load that this component feels."""
    follows: str | None = None
    """The component whose delivered work is this one's load, as memory follows its processor."""
    metered: bool = True
    """Whether some counter of the machine sees it: what a perfect agent could count."""
    speed: SpeedCurve = ZEUS_V100

    def __post_init__(self) -> None:
        if self.max_w < self.idle_w:
            raise ValueError("max_w must not be below idle_w")
        if self.cap_ceiling_w < self.min_cap_w:
            raise ValueError("max_cap_w must not be below min_cap_w")
        check_curve(self.speed)

    @property
    def cap_ceiling_w(self) -> float:
        """Highest limit the device takes."""
        return self.max_w if self.max_cap_w is None else self.max_cap_w


class ComponentState:
    """One component in motion."""

    __slots__ = (
        "_asked",
        "_cap_w",
        "_curve",
        "_decay",
        "_delay_s",
        "_dt_s",
        "_floor_w",
        "_idle_w",
        "_pending",
        "_span_w",
        "_tau_s",
        "delivered",
        "elapsed_s",
        "energy_j",
        "frequency_share",
        "power_w",
        "quota_share",
        "spec",
        "uncapped_energy_j",
        "uncapped_power_w",
        "work_demanded",
        "work_done",
    )

    def __init__(self, spec: Component) -> None:
        self.spec = spec
        self.power_w = spec.idle_w
        """Power at the end of the last step."""
        self.energy_j = 0.0
        self.uncapped_power_w = spec.idle_w
        self.uncapped_energy_j = 0.0
        self.work_done = 0.0
        self.work_demanded = 0.0
        self.delivered = 0.0
        """Load that was served in the last step."""
        self.frequency_share = 1.0
        """Clock ceiling over the full clock, in force now."""
        self.quota_share = 1.0
        """Share of its time that the work may use."""
        self.elapsed_s = 0.0
        self._idle_w = spec.idle_w
        self._span_w = spec.max_w - spec.idle_w
        self._floor_w = max(spec.idle_w, spec.min_cap_w)
        self._tau_s = spec.tau_s
        self._delay_s = spec.cap_delay_s
        self._curve = spec.speed
        self._dt_s = -1.0
        self._decay = 0.0
        self._asked: float | None = None
        self._cap_w = math.inf
        self._pending: deque[tuple[float, float]] = deque()

    @property
    def cap_in_force_w(self) -> float:
        """The limit the device obeys now; infinite without one."""
        return self._cap_w

    def step(self, dt_s: float, load: float, cap_w: float | None, offered: float | None = None) -> float:
        """Move on under constant load and limit.

        Args:
            dt_s: How far.
            load: What the work asks for; the shadow serves all of it.
            cap_w: The limit that is set now; it takes hold ``cap_delay_s`` later.
            offered: What reaches the device where that differs: 0 while the job is paused, for a follower what its
                leader delivers.

        Returns:
            Power at the end.
        """
        if dt_s != self._dt_s:
            self._dt_s = dt_s
            self._decay = math.exp(-dt_s / self._tau_s) if self._tau_s > 0.0 else 0.0
        if cap_w != self._asked:
            self._asked = cap_w
            self._pending.append((self.elapsed_s + self._delay_s, math.inf if cap_w is None else cap_w))
        while self._pending and self._pending[0][0] <= self.elapsed_s + 1e-9:
            self._cap_w = max(self._pending.popleft()[1], self._floor_w)
        served = load if offered is None else offered
        clock = self.frequency_share
        served = min(served, clock, self.quota_share)
        # Dynamic power ~ utilisation * f * V^2, and utilisation * f is what is served; V^2 falls about as f does.
        target_w = self._idle_w + self._span_w * served * clock
        if target_w > self._cap_w:
            served *= speed_at(self._curve, self._cap_w / target_w)
            target_w = self._cap_w
        self._integrate(dt_s, target_w, self._idle_w + self._span_w * load)
        self.delivered = served
        self.work_done += served * dt_s
        self.work_demanded += load * dt_s
        return self.power_w

    def _integrate(self, dt_s: float, target_w: float, wanted_w: float) -> None:
        # Exact for a first-order lag towards a constant: E = target*dt + tau*(P_before - P_after).
        before = self.power_w
        self.power_w = after = target_w + (before - target_w) * self._decay
        self.energy_j += target_w * dt_s + (before - after) * self._tau_s
        before = self.uncapped_power_w
        self.uncapped_power_w = after = wanted_w + (before - wanted_w) * self._decay
        self.uncapped_energy_j += wanted_w * dt_s + (before - after) * self._tau_s
        self.elapsed_s += dt_s


class Plant:
    """All components of one machine, in motion together."""

    def __init__(self, components: Mapping[str, Component]) -> None:
        self.components = {name: ComponentState(spec) for name, spec in components.items()}
        self.elapsed_s = 0.0
        workers = [(state, state.spec.max_w) for state in self.components.values() if state.spec.kind in _WORKERS]
        whole = sum(weight for _, weight in workers) or 1.0
        self._workers = [(state, weight / whole) for state, weight in workers]
        self._metered = [state for state in self.components.values() if state.spec.metered]
        self._steps = []
        for at, state in enumerate(self.components.values()):
            leader = self.components[state.spec.follows] if state.spec.follows else None
            gain = state.spec.load_gain
            demand_gain = gain * leader.spec.load_gain if leader else gain
            self._steps.append((at, state, gain, demand_gain, leader))
        # Leaders move first, so that a follower sees this step's delivered work, not the last one's.
        self._steps.sort(key=lambda entry: entry[4] is not None)

    def step(self, dt_s: float, load: float, caps_w: Sequence[float | None], *, paused: bool = False) -> None:
        """Move every component on.

        A paused job draws idle power and does no work, but its demand and its shadow go on.

        Args:
            dt_s: How far.
            load: What the work asks of the machine.
            caps_w: Limits in the order of ``components``.
            paused: Whether the job is stopped.
        """
        for at, state, gain, demand_gain, leader in self._steps:
            demand = load * demand_gain
            if leader is not None:
                state.step(dt_s, demand, caps_w[at], leader.delivered * gain)
            else:
                state.step(dt_s, demand, caps_w[at], 0.0 if paused else demand)
        self.elapsed_s += dt_s

    @property
    def energy_j(self) -> float:
        """Joules of what is metered."""
        return sum([state.energy_j for state in self._metered])

    @property
    def uncapped_energy_j(self) -> float:
        """Joules that the metered components would have drawn without any cap or pause."""
        return sum([state.uncapped_energy_j for state in self._metered])

    @property
    def served(self) -> float:
        """Load that the whole machine served in the last step, 0 to 1."""
        return sum([state.delivered * share for state, share in self._workers])

    @property
    def work_done(self) -> float:
        """Seconds of the whole machine's full load that were served."""
        return sum([state.work_done * share for state, share in self._workers])

    @property
    def work_demanded(self) -> float:
        """Seconds of the whole machine's full load that were asked for."""
        return sum([state.work_demanded * share for state, share in self._workers])
