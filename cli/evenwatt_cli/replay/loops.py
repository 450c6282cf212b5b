"""Ways to control the fleet, as the engine turns them: each hears windows, acts, and says what caps are in the devices.

``Direct`` sends caps of a rule (``baselines``) over the same network; a rule knows no leases, so the last cap that
arrived holds. ``ours`` has the other one. What ``faults`` can break is in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from evenwatt_cli.replay.network import Conditions, Pipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_cli.replay.plant import FleetSpec
    from evenwatt_cli.replay.telemetry import Windows
    from evenwatt_collector.control.arrays import Bools, Floats, Ints


@dataclass(slots=True)
class Reading:
    """What a rule has heard of the nodes."""

    power_w: Floats
    """Mean of the last window; idle power before the first."""
    peak_w: Floats
    """Highest 100 ms bin of the last ten seconds."""
    fleet: FleetSpec
    budget_w: float
    """Of the whole fleet, now."""
    now_s: float


class Rule(Protocol):
    """A published way to set caps."""

    name: str
    period_s: float
    """How often it looks."""

    def step(self, reading: Reading) -> Floats | None:
        """Return every node's cap (infinite: none), or None to leave all as they are."""


class Loop(Protocol):
    """What the engine needs of a way to control."""

    name: str
    size: int
    """Number of nodes."""

    def arrive(self, k: int, now_s: float) -> None:
        """Let messages arrive."""

    def act(self, k: int, now_s: float, budget_w: Floats) -> None:
        """Decide and send if it is time."""

    def hear(self, k: int, windows: Windows) -> None:
        """Send the nodes' windows on their way."""

    def caps_w(self, now_s: float) -> Floats:
        """Return the caps that the nodes ask of their devices now."""

    def paused(self, now_s: float) -> Bools:
        """Return whose work is paused."""

    def most_w(self) -> float:
        """Return the most that the fleet may draw as far as the loop knows, or NaN where it cannot know."""

    def kill_collector(self) -> None:
        """Whoever decides dies; what it knew is gone."""

    def start_collector(self, now_s: float) -> None:
        """Another starts."""

    def set_broker(self, *, up: bool) -> None:
        """The broker goes away or comes back."""

    def restart_nodes(self, at: Ints, now_s: float) -> None:
        """Agents restart."""

    def skew_clocks(self, at: Ints, skew_s: float) -> None:
        """Nodes' wall clocks jump."""


@dataclass(frozen=True, slots=True)
class _Caps:
    at: Ints
    cap_w: Floats

    def part(self, rows: Bools) -> _Caps:
        return _Caps(self.at[rows], self.cap_w[rows])


class Direct:
    """A rule at the centre of the network."""

    def __init__(
        self, rule: Callable[[], Rule], fleet: FleetSpec, dt_s: float, conditions: Conditions, seed: int
    ) -> None:
        self._make, self._rule, self._fleet = rule, rule(), fleet
        self.name, self.size = self._rule.name, len(fleet)
        self._alive = True
        self._forget()
        self._caps_w: Floats = np.full(len(fleet), np.inf)
        self._free: Bools = np.zeros(len(fleet), dtype=np.bool_)
        self._up: Pipe[Windows] = Pipe(conditions, dt_s, [seed, 21])
        self._down: Pipe[_Caps] = Pipe(conditions, dt_s, [seed, 23])
        self._due_s = 0.0

    def _forget(self) -> None:
        self._heard_w, self._peak_w = self._fleet.idle_w.copy(), self._fleet.idle_w.copy()

    def arrive(self, k: int, now_s: float) -> None:
        """Let windows and caps arrive."""
        del now_s
        for windows in self._up.arrived(k):
            self._heard_w[windows.at], self._peak_w[windows.at] = windows.mean_w, windows.peak_w
        for caps in self._down.arrived(k):
            self._caps_w[caps.at] = caps.cap_w

    def act(self, k: int, now_s: float, budget_w: Floats) -> None:
        """Ask the rule if it is time."""
        if not self._alive or now_s < self._due_s - 1e-9:
            return
        self._due_s = now_s + self._rule.period_s
        caps_w = self._rule.step(Reading(self._heard_w, self._peak_w, self._fleet, float(budget_w[0]), now_s))
        if caps_w is not None:
            every = np.arange(len(self._fleet))
            self._down.send(k, _Caps(every, caps_w), len(every))

    def hear(self, k: int, windows: Windows) -> None:
        """Send windows up."""
        self._up.send(k, windows, len(windows.at))

    def caps_w(self, now_s: float) -> Floats:
        """Return the last caps that arrived."""
        del now_s
        return self._caps_w

    def paused(self, now_s: float) -> Bools:
        """Return that nobody is: the rules do not pause."""
        del now_s
        return self._free

    def most_w(self) -> float:
        """Return NaN: a rule keeps no account."""
        return float("nan")

    def kill_collector(self) -> None:
        """Nobody decides any more; the last caps stay in the devices."""
        self._alive = False

    def start_collector(self, now_s: float) -> None:
        """Start the rule anew, once every node had a second to say what it draws."""
        self._rule, self._alive, self._due_s = self._make(), True, now_s + 1.5
        self._forget()

    def set_broker(self, *, up: bool) -> None:
        """The broker goes away or comes back."""
        self._up.up = self._down.up = up

    def restart_nodes(self, at: Ints, now_s: float) -> None:
        """Do nothing: a cap is in the device and stays there."""

    def skew_clocks(self, at: Ints, skew_s: float) -> None:
        """Do nothing: caps carry no times."""
