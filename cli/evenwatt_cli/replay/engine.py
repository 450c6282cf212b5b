"""Turns the clock: one loop for every way to control, the same plant, work and dice for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from evenwatt_cli.replay.faults import Fault, strike
from evenwatt_cli.replay.loops import Direct, Loop
from evenwatt_cli.replay.measure import Judge, Measures
from evenwatt_cli.replay.network import Conditions
from evenwatt_cli.replay.ours import Ours
from evenwatt_cli.replay.plant import Plant
from evenwatt_cli.replay.scenarios import WARM_S
from evenwatt_cli.replay.telemetry import Meters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evenwatt_cli.replay.loops import Rule
    from evenwatt_cli.replay.scenarios import Scenario
    from evenwatt_collector.control.arrays import Floats

BLOCK = 1_000


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one way to control."""

    name: str
    measures: Measures
    power_w: Floats
    """The fleet's true power, a value a step."""
    budget_w: Floats
    dt_s: float
    work_by_class: dict[int, float]
    """Percent of the demanded work that was lost, by priority."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How to run a scenario."""

    dt_s: float = 0.05
    seed: int = 1
    conditions: Conditions = field(default_factory=Conditions)
    faults: Sequence[Fault] = ()


def run(
    make: Callable[[], Scenario],
    rule: Callable[[], Rule] | None,
    setting: Setting,
    progress: Callable[[float], None] = lambda _share: None,
) -> Run:
    """Run a scenario under a rule, or with None under our control core.

    Args:
        make: Makes the scenario anew: its traffic is used up by a run.
        rule: Makes the rule.
        setting: How.
        progress: Is told the share that is done.

    Raises:
        InvariantError: our core broke its invariant.
    """
    scenario, dt_s = make(), setting.dt_s
    loop = _loop(scenario, rule, setting)
    plant, meters = Plant(scenario.fleet, dt_s), Meters(len(scenario.fleet), dt_s, setting.seed)
    judge = Judge(scenario.fleet, dt_s)
    warm, steps = round(WARM_S / dt_s), round((WARM_S + scenario.seconds) / dt_s)
    second = max(1, round(1.0 / dt_s))
    started = (plant.work_done.copy(), plant.work_demanded.copy())
    ours = rule is None
    faults = sorted(setting.faults, key=lambda fault: fault.at_s)
    for first in range(0, steps, BLOCK):
        loads = scenario.traffic.block(min(BLOCK, steps - first))
        for row, load in enumerate(loads):
            k = first + row
            now_s = k * dt_s
            budget_w = scenario.budget.at(now_s)
            told_w = scenario.budget.planned(now_s) if ours else budget_w
            faults = strike(loop, faults, now_s, WARM_S)
            loop.arrive(k, now_s)
            loop.act(k, now_s, scenario.limits_w(told_w))
            caps_w, paused = loop.caps_w(now_s), loop.paused(now_s)
            power_w = plant.step(load, caps_w, paused)
            windows = meters.take(k, power_w, caps_w, paused)
            if windows is not None:
                loop.hear(k, windows)
            if k >= warm:
                judge.take(float(power_w.sum()), budget_w)
                if k % second == 0:
                    judge.look(caps_w, load, loop.most_w(), budget_w)
            elif k == warm - 1:
                started = (plant.work_done.copy(), plant.work_demanded.copy())
        progress(min(1.0, (first + len(loads)) / steps))
    done, demanded = plant.work_done - started[0], plant.work_demanded - started[1]
    return Run(
        name=loop.name,
        measures=judge.measures(float(done.sum()), float(demanded.sum())),
        power_w=np.array(judge.power_w),
        budget_w=np.array(judge.budget_w),
        dt_s=dt_s,
        work_by_class=_by_class(scenario, done, demanded),
    )


def _loop(scenario: Scenario, rule: Callable[[], Rule] | None, setting: Setting) -> Loop:
    if rule is None:
        return Ours(
            scenario.fleet, scenario.tree, scenario.fallback_w(), setting.dt_s, setting.conditions, setting.seed
        )
    return Direct(rule, scenario.fleet, setting.dt_s, setting.conditions, setting.seed)


def _by_class(scenario: Scenario, done: Floats, demanded: Floats) -> dict[int, float]:
    lost = {}
    for priority in np.unique(scenario.fleet.priority):
        mine = scenario.fleet.priority == priority
        asked = float(demanded[mine].sum())
        lost[int(priority)] = 100.0 * (1.0 - float(done[mine].sum()) / asked) if asked else 0.0
    return lost
