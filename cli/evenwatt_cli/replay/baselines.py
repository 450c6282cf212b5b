"""Published rules for keeping a fleet under a budget, each with its published constants, in its strongest fair reading.

All of them hear what ours hears, over the same network, and their caps go to the same devices. Where a rule leaves
something open it gets the better choice: shares by what a node can draw, the least important first, no lost rounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_cli.replay.loops import Reading, Rule
    from evenwatt_cli.replay.plant import FleetSpec
    from evenwatt_collector.control.arrays import Bools, Floats


def _even_w(fleet: FleetSpec, total_w: float) -> Floats:
    """Return shares by what each node can draw, between its floor and its ceiling."""
    shares_w: Floats = np.clip(total_w * fleet.max_w / fleet.max_w.sum(), fleet.floor_w, fleet.max_w)
    return shares_w


class Uncapped:
    """Nobody controls anything."""

    name = "uncapped"
    period_s = 1e9

    def step(self, reading: Reading) -> Floats | None:
        """Leave everything alone."""
        del reading
        return None


class UniformStatic:
    """The budget shared once, by what nodes can draw. The usual advice to who has no controller."""

    name = "uniform-static"
    period_s = 5.0

    def __init__(self) -> None:
        self._caps_w: Floats | None = None

    def step(self, reading: Reading) -> Floats | None:
        """Return the shares of the first budget, again and again, so that a lost one comes."""
        if self._caps_w is None:
            self._caps_w = _even_w(reading.fleet, reading.budget_w)
        return self._caps_w


class Slurm:
    """Slurm's power balancing, its defaults (https://slurm.schedmd.com/power_mgmt.html).

    Every ``balance_interval`` of 30 s: a node below 90 % (``lower_threshold``) of its cap gives up to 50 %
    (``decrease_rate``) of its range, not below its use; what is free goes to nodes above 95 % (``upper_threshold``), at
    most 20 % (``increase_rate``) of their range each; the caps' sum never exceeds ``cap_watts``.
    """

    name = "slurm-50-20"
    period_s = 30.0

    def __init__(self) -> None:
        self._caps_w: Floats | None = None

    def step(self, reading: Reading) -> Floats | None:
        """Balance."""
        fleet = reading.fleet
        if self._caps_w is None:
            self._caps_w = _even_w(fleet, reading.budget_w)
            return self._caps_w
        range_w = fleet.max_w - fleet.floor_w
        use_w, caps_w = reading.power_w, self._caps_w
        low = use_w < 0.90 * caps_w
        fallen_w = np.maximum(np.maximum(use_w, caps_w - 0.5 * range_w), fleet.floor_w)
        caps_w = np.where(low, np.minimum(caps_w, fallen_w), caps_w)
        excess_w = caps_w.sum() - reading.budget_w
        if excess_w > 0:
            room_w = caps_w - fleet.floor_w
            caps_w -= room_w * min(1.0, excess_w / max(room_w.sum(), 1e-9))
        wants_w = np.where(use_w > 0.95 * self._caps_w, np.minimum(0.2 * range_w, fleet.max_w - caps_w), 0.0)
        free_w = max(0.0, reading.budget_w - caps_w.sum())
        if wants_w.sum() > 0:
            caps_w = caps_w + wants_w * min(1.0, free_w / wants_w.sum())
        self._caps_w = caps_w
        return caps_w


class EarSoft:
    """EAR's global manager, soft power capping (https://github.com/eas4dc/EAR: ``EARGMPowerCapMode`` soft).

    Above 90 % of the limit (``EARGMPowerCapSuspendLimit``) every node gets its share; below 40 %
    (``EARGMPowerCapResumeLimit``) all caps are lifted. Its period is given as up to 120 s; 60 s here.
    """

    name = "ear-soft-90-40"
    period_s = 60.0

    def __init__(self) -> None:
        self._on = False

    def step(self, reading: Reading) -> Floats | None:
        """Switch caps on or off."""
        total_w = reading.power_w.sum()
        if total_w > 0.90 * reading.budget_w:
            self._on = True
        elif total_w < 0.40 * reading.budget_w:
            self._on = False
        if self._on:
            return _even_w(reading.fleet, reading.budget_w)
        return np.full(len(reading.fleet), np.inf)


class Dynamo:
    """Dynamo's three bands (Wu et al., ISCA 2016).

    Every 3 s: above 99 % power is cut to 95 %, the least important class first, in it the highest bucket of 20 W
    first; below 90 % all caps are lifted; between them caps stay. Their servers took 2 s to settle at a cap (figure 9);
    here it gets the same devices as all others.
    """

    name = "dynamo-three-band"
    period_s = 3.0
    _BUCKET_W = 20.0

    def __init__(self) -> None:
        self._caps_w: Floats | None = None

    def step(self, reading: Reading) -> Floats | None:
        """Cut, lift or hold."""
        total_w = reading.power_w.sum()
        if self._caps_w is None:
            self._caps_w = np.full(len(reading.fleet), np.inf)
        if total_w > 0.99 * reading.budget_w:
            self._caps_w = np.minimum(self._caps_w, self._cut(reading, total_w - 0.95 * reading.budget_w))
        elif total_w < 0.90 * reading.budget_w:
            self._caps_w = np.full(len(reading.fleet), np.inf)
        return self._caps_w

    def _cut(self, reading: Reading, cut_w: float) -> Floats:
        caps_w = np.full(len(reading.fleet), np.inf)
        for priority in np.unique(reading.fleet.priority):
            mine = reading.fleet.priority == priority
            use_w, floor_w = reading.power_w[mine], reading.fleet.floor_w[mine]
            level_w = self._level_w(use_w, floor_w, cut_w)
            kept_w = np.maximum(np.minimum(use_w, level_w), np.minimum(floor_w, use_w))
            caps_w[mine] = np.where(kept_w < use_w, kept_w, np.inf)
            cut_w -= (use_w - kept_w).sum()
            if cut_w <= 0:
                break
        return caps_w

    def _level_w(self, use_w: Floats, floor_w: Floats, cut_w: float) -> float:
        level_w = float(use_w.max(initial=0.0))
        while level_w > 0:
            level_w -= self._BUCKET_W
            kept_w = np.maximum(np.minimum(use_w, level_w), np.minimum(floor_w, use_w))
            if (use_w - kept_w).sum() >= cut_w:
                break
        return level_w


class Polca:
    """POLCA's two thresholds and brake for LLM clusters (Patel et al., ASPLOS 2024).

    Above 80 % the low class is locked to 1275 of 1410 MHz; above 89 % it goes to 1110 and the high class to 1305; at
    100 % the brake takes all to 288 MHz. Each is lifted 5 % below its threshold. Clocks are set out of band, up to
    40 s; the brake takes 5 s. Power under a clock is taken as its share squared of the dynamic span. How little is
    drawn under the brake says nothing of the load, so until it is off again the classes' clocks stay where they are.
    """

    name = "polca-two-threshold"
    period_s = 1.0
    _CLOCK_TAKES_S, _BRAKE_TAKES_S = 40.0, 5.0

    def __init__(self) -> None:
        self._low = self._high = self._brake = False
        self._braked_s = -np.inf
        self._coming: list[tuple[float, Floats]] = []
        self._caps_w: Floats | None = None
        self._wanted = (False, False, False)

    def step(self, reading: Reading) -> Floats | None:
        """Move the thresholds' state, and let out what has taken its time."""
        share = reading.power_w.sum() / reading.budget_w
        self._brake = share >= 1.00 or (self._brake and share > 0.95)
        if self._brake:
            self._braked_s = reading.now_s
        blind = reading.now_s - self._braked_s <= self._BRAKE_TAKES_S + 2.0  # and two windows
        self._low = share > 0.80 or (self._low and (blind or share > 0.75))
        self._high = share > 0.89 or (self._high and (blind or share > 0.84))
        wanted = (self._low, self._high, self._brake)
        if wanted != self._wanted:
            slow = self._CLOCK_TAKES_S if wanted[2] == self._wanted[2] else self._BRAKE_TAKES_S
            self._coming = [entry for entry in self._coming if entry[0] < reading.now_s + slow]
            self._coming.append((reading.now_s + slow, self._caps(reading.fleet)))
            self._wanted = wanted
        while self._coming and self._coming[0][0] <= reading.now_s:
            self._caps_w = self._coming.pop(0)[1]
        return self._caps_w

    def _caps(self, fleet: FleetSpec) -> Floats:
        # Where all are alike, its operators would still have to name a low class: every second one.
        low: Bools = fleet.priority < fleet.priority.max()
        if not low.any():
            low = np.arange(len(fleet)) % 2 == 0
        mhz = np.full(len(fleet), 1410.0)
        if self._low:
            mhz[low] = 1275.0
        if self._high:
            mhz[low], mhz[~low] = 1110.0, 1305.0
        if self._brake:
            mhz[:] = 288.0
        caps_w = fleet.idle_w + (fleet.max_w - fleet.idle_w) * (mhz / 1410.0) ** 2
        return np.where(mhz < 1410.0, np.maximum(caps_w, fleet.floor_w), np.inf)


class Pi:
    """A PI controller on the fleet's power: every second, towards 95 %, anti-windup by clamping, shares by size."""

    name = "pi"
    period_s = 1.0
    _KP, _KI = 0.3, 0.2

    def __init__(self) -> None:
        self._sum_w: float | None = None

    def step(self, reading: Reading) -> Floats | None:
        """Move the total cap, and share it."""
        fleet = reading.fleet
        least_w, most_w = float(fleet.floor_w.sum()), float(fleet.max_w.sum())
        if self._sum_w is None:
            self._sum_w = 0.95 * reading.budget_w
        error_w = 0.95 * reading.budget_w - float(reading.power_w.sum())
        self._sum_w = min(most_w, max(least_w, self._sum_w + self._KI * error_w))
        return _even_w(fleet, min(most_w, max(least_w, self._sum_w + self._KP * error_w)))


BASELINES: tuple[Callable[[], Rule], ...] = (Uncapped, UniformStatic, Slurm, EarSoft, Dynamo, Polca, Pi)
"""Makers of the rules, in the order of reports."""
