"""What happens in a replay: the fleet, its work, and its budget over time.

Each scenario is one that budgets break on: bursts of inference, training steps that the whole fleet takes together,
classes of work that are not equally important, a demand-response event that is announced, a budget that sags without
a word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_cli.replay.plant import FleetSpec
from evenwatt_cli.replay.traffic import Batch, Inference, SideBySide, Surge, Training
from evenwatt_collector.control import ZoneSpec, ZoneTree
from evenwatt_twin.speed import ZEUS_V100

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_cli.replay.traffic import Traffic
    from evenwatt_collector.control.arrays import Floats
    from evenwatt_twin.speed import SpeedCurve

WARM_S: Final = 60.0
"""Left out of the figures: every way to control may find its feet first."""
HIGH, LOW = 8, 2
"""Priorities of inference and of batch work where both are there."""


@dataclass(frozen=True, slots=True)
class Change:
    """The budget moves in a straight line from ``start_s`` to ``end_s``, to a share of the base budget."""

    start_s: float
    end_s: float
    share: float


@dataclass(frozen=True, slots=True)
class Announced:
    """A demand-response event that the operator has entered beforehand."""

    start_s: float
    end_s: float
    share: float
    lead_s: float = 15.0
    """Our limit glides down over this time before the start, so that it is met at the start."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The fleet's hard budget over time."""

    base_w: float
    changes: tuple[Change, ...] = ()
    events: tuple[Announced, ...] = ()

    def at(self, t_s: float) -> float:
        """Return what holds: what every rule is told, and is judged by."""
        share = 1.0
        for change in self.changes:
            if t_s >= change.end_s:
                share = change.share
            elif t_s >= change.start_s:
                share += (change.share - share) * (t_s - change.start_s) / (change.end_s - change.start_s)
        for event in self.events:
            if event.start_s <= t_s < event.end_s:
                share = min(share, event.share)
        return self.base_w * share

    def planned(self, t_s: float) -> float:
        """Return what our policy sets: the same, and ahead of an announced event the glide down to it."""
        budget_w = self.at(t_s)
        for event in self.events:
            ahead_s = event.start_s - t_s
            if 0 < ahead_s < event.lead_s:
                glide = event.share + (1.0 - event.share) * ahead_s / event.lead_s
                budget_w = min(budget_w, self.base_w * glide)
        return budget_w


@dataclass(frozen=True, slots=True)
class Scenario:
    """A replay's world."""

    name: str
    fleet: FleetSpec
    traffic: Traffic
    budget: Budget
    seconds: float
    tree: ZoneTree = field(default_factory=lambda: ZoneTree.of([ZoneSpec("fleet")]))
    zone_share: Floats | None = None
    """Limits of the zones, as shares of the fleet's budget; None: only the first, the whole fleet, has one."""

    def limits_w(self, budget_w: float) -> Floats:
        """Return every zone's budget."""
        if self.zone_share is None:
            limits = np.full(len(self.tree), np.inf)
            limits[0] = budget_w
            return limits
        return np.asarray(self.zone_share * budget_w)

    def fallback_w(self) -> Floats:
        """Return each node's own fallback: together they stay below any budget of the scenario, if floors let them."""
        least = min([self.budget.at(t) for t in np.arange(0.0, self.seconds + WARM_S, 1.0)])
        share = 0.9 * least / self.fleet.max_w.sum()
        return np.asarray(np.maximum(self.fleet.floor_w, share * self.fleet.max_w))


def make_fleet(
    nodes: int, seed: int, *, high: int | None = None, curves: Sequence[SpeedCurve] = (ZEUS_V100,)
) -> FleetSpec:
    """Return servers of 400 to 700 W, idle at 80 to 110 W, that can be capped down to 35 %.

    Args:
        nodes: How many.
        seed: Of their sizes.
        high: So many are important, the others may be paused; None: all alike.
        curves: How fast devices work under a cap, dealt out in turn.
    """
    rng = np.random.default_rng([seed, 5])
    max_w = rng.uniform(400.0, 700.0, nodes)
    idle_w = rng.uniform(80.0, 110.0, nodes)
    important = np.arange(nodes) < (nodes if high is None else high)
    return FleetSpec(
        idle_w=idle_w,
        max_w=max_w,
        floor_w=np.maximum(1.05 * idle_w, 0.35 * max_w),
        priority=np.where(important, 5 if high is None else HIGH, LOW),
        weight=np.ones(nodes),
        pausable=~important,
        zone=np.zeros(nodes, dtype=np.int64),
        kind=np.arange(nodes) % len(curves),
        curves=tuple(curves),
    )


def _mixed(nodes: int, dt_s: float, seed: int, curves: Sequence[SpeedCurve]) -> tuple[FleetSpec, Traffic]:
    high = round(0.4 * nodes)
    traffic = SideBySide([Inference(high, dt_s, seed), Batch(nodes - high, dt_s, seed)])
    return make_fleet(nodes, seed, high=high, curves=curves), traffic


def make_scenario(
    name: str,
    nodes: int,
    dt_s: float,
    seed: int,
    *,
    seconds: float = 600.0,
    curves: Sequence[SpeedCurve] = (ZEUS_V100,),
) -> Scenario:
    """Return a scenario by name.

    Raises:
        KeyError: there is none of that name; ``NAMES`` has all.
    """
    at = WARM_S
    if name == "inference":
        fleet = make_fleet(nodes, seed, curves=curves)
        return Scenario(name, fleet, Inference(nodes, dt_s, seed), Budget(0.50 * fleet.max_w.sum()), seconds)
    if name == "training":
        fleet = make_fleet(nodes, seed, curves=curves)
        return Scenario(name, fleet, Training(nodes, dt_s, seed), Budget(0.65 * fleet.max_w.sum()), seconds)
    if name == "surge":
        fleet = make_fleet(nodes, seed, curves=curves)
        return Scenario(name, fleet, Surge(nodes, dt_s, seed), Budget(0.70 * fleet.max_w.sum()), seconds)
    fleet, traffic = _mixed(nodes, dt_s, seed, curves)
    base_w = 0.62 * fleet.max_w.sum()
    if name == "mixed-priorities":
        return Scenario(name, fleet, traffic, Budget(base_w), seconds)
    if name == "demand-response":
        event = Announced(at + 0.4 * seconds, at + 0.7 * seconds, 0.80)
        return Scenario(name, fleet, traffic, Budget(base_w, events=(event,)), seconds)
    if name == "sagging-budget":
        steps = (
            Change(at + 0.2 * seconds, at + 0.2 * seconds + 0.001, 0.90),
            Change(at + 0.35 * seconds, at + 0.4 * seconds, 1.0),
            Change(at + 0.5 * seconds, at + 0.55 * seconds, 0.80),
            Change(at + 0.8 * seconds, at + 0.85 * seconds, 0.95),
        )
        return Scenario(name, fleet, traffic, Budget(base_w, steps), seconds)
    raise KeyError(name)


NAMES: Final = ("inference", "training", "surge", "mixed-priorities", "demand-response", "sagging-budget")
