"""What to hold and what to try next, given all that is known. Pure.

A cap is tried if it saves more than ``tolerance`` with a probability of at least ``doubt``, or if it does not bind and
has not been measured; of those, what has not been measured first, then the one with the largest expected saving. A
cap is left out where the shape of the curve excludes it: once a cap binds and costs clearly
more than a higher one, everything below costs more still (energy per unit has one minimum in power where the cap binds:
idle power is spread over less work below it, voltage rises above it).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.tuning.admissible import limits, may_hold, may_try
from evenwatt_collector.tuning.records import Candidate, Estimate
from evenwatt_collector.tuning.surface import fit

if TYPE_CHECKING:
    from evenwatt_collector.tuning.admissible import Limits
    from evenwatt_collector.tuning.evidence import Evidence
    from evenwatt_collector.tuning.memory import Memory
    from evenwatt_collector.tuning.objective import Cost
    from evenwatt_collector.tuning.records import Context, Settings
    from evenwatt_collector.tuning.surface import Floats, Surface

_UNBOUND: Final = 0.85
"""A device that draws less of its cap than this on average is not held back by it."""
_BOUND: Final = 0.90
_PEAKS: Final = 0.75
"""A cap cuts the peaks of uneven work even though the mean is this low; it shows in that work is slower."""
_CLEARLY: Final = 0.05
"""Costs above the least by more than this (and by two standard errors) exclude what is below."""
_SWITCH: Final = 0.003
"""What is held is given up only for more than this."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is believed and what follows, at one moment."""

    cost: Cost
    bound: Limits
    allowed: list[int]
    """Caps within floor and ceiling, ascending; by index."""
    held: int | None
    """The best of those that may be held; None: nothing allowed has been measured."""
    runner_up: int | None
    promising: dict[int, float]
    """Caps worth trying, with their expected saving (relative); most first."""
    unknown: int
    """How many caps have not been measured and are not excluded."""
    surface: Surface | None


def survey(settings: Settings, context: Context, memory: Memory, now_s: float) -> Standing:
    """Weigh everything.

    Raises:
        Failure: as :meth:`~evenwatt_collector.tuning.objective.Objective.cost`.
    """
    caps_w = settings.caps_w
    cost = settings.objective.cost(caps_w[-1], context.intensity_g_per_kwh)
    bound = limits(settings, context, memory, now_s)
    allowed = [i for i, cap_w in enumerate(caps_w) if context.floor_w <= cap_w <= context.ceiling_w]
    measured = [i for i, each in enumerate(memory.caps) if each.known]
    if not measured or not allowed:
        return Standing(cost, bound, allowed, None, None, {}, len(allowed), None)
    surface = _surface(memory, measured, cost)
    mean = surface.mean
    least_w = _excluded_below(memory, measured, cost, surface.own)
    new = {i for i in allowed if caps_w[i] >= least_w and not memory.caps[i].known}
    drawn_w = _drawn(memory, measured)
    fit_to_hold = [i for i in measured if i in allowed and may_hold(memory.caps[i], bound, memory, now_s)]
    ranked = sorted(fit_to_hold, key=lambda i: float(mean[i]))
    held = _keep(ranked, mean, memory)
    promising: dict[int, float] = {}
    if held is not None:
        tried = may_try(bound, memory, caps_w[allowed[-1]], now_s)
        likely, saving = surface.gain(held, settings.tolerance)
        worth = {i for i in allowed if likely[i] >= settings.doubt}
        slack = {i for i in new if caps_w[i] > drawn_w}  # slows nothing down, and tells what no curve can
        found = [i for i in allowed if tried[i] and caps_w[i] >= least_w and (i in worth or i in slack)]
        # First what is not known; where nothing distinguishes caps, the lowest, to find where the cap begins to bind.
        order = sorted(found, key=lambda i: (i not in new, i not in worth, -round(float(saving[i]), 5), i))
        promising = {i: float(saving[i]) for i in order}
    if settings.slo.max_slowdown is not None and allowed[-1] > measured[-1]:
        promising = {allowed[-1]: 1.0}  # what "slow" means is measured at the ceiling
    runner_up = next((i for i in ranked if i != held), None)
    return Standing(cost, bound, allowed, held, runner_up, promising, len(new), surface)


def candidate(standing: Standing, memory: Memory, index: int) -> Candidate:
    """Return a cap with what is expected of it: measured, or predicted from the others."""
    each = memory.caps[index]
    if each.known:
        energy = Estimate.of_log(each.log_energy, memory.energy_noise.error(each.seconds), measured=True)
        slow = Estimate.of_log(each.log_time, memory.time_noise.error(each.seconds), measured=True)
    else:
        measured = [i for i, other in enumerate(memory.caps) if other.known]
        if not measured:
            return Candidate(each.cap_w)
        energy, slow = (_predict(memory, measured, index, which) for which in ("energy", "time"))
    per = standing.cost
    return Candidate(
        each.cap_w,
        Estimate(
            per.of(energy.value, slow.value), per.of(energy.low, slow.low), per.of(energy.high, slow.high), each.known
        ),
        energy,
        Estimate(1 / slow.value, 1 / slow.high, 1 / slow.low, each.known),
    )


def log_cost(each: Evidence, memory: Memory, cost: Cost) -> tuple[float, float]:
    """Return the logarithm of a measured cap's cost, and its standard error."""
    energy_j, seconds = each.energy_j / each.units, each.seconds / each.units
    by_energy, by_time = cost.shares(energy_j, seconds)
    error = by_energy * memory.energy_noise.error(each.seconds) + by_time * memory.time_noise.error(each.seconds)
    return log(cost.of(energy_j, seconds)), error


def _surface(memory: Memory, measured: list[int], cost: Cost) -> Surface:
    rows = [log_cost(memory.caps[i], memory, cost) for i in measured]
    return fit(_power(memory, measured), measured, *(np.array(column) for column in zip(*rows, strict=True)))


def _predict(memory: Memory, measured: list[int], index: int, which: str) -> Estimate:
    known = [memory.caps[i] for i in measured]
    noise = memory.energy_noise if which == "energy" else memory.time_noise
    y = np.array([each.log_energy if which == "energy" else each.log_time for each in known])
    sd = np.array([noise.error(each.seconds) for each in known])
    made = fit(_power(memory, measured), measured, y, sd)
    return Estimate.of_log(float(made.mean[index]), float(made.sd[index]), measured=False)


def _power(memory: Memory, measured: list[int]) -> Floats:
    """Return the logarithm of the power that each cap means: above what the device can draw they are all alike."""
    most_w = _drawn(memory, measured)
    return np.log([min(each.cap_w, most_w) for each in memory.caps])


def _drawn(memory: Memory, measured: list[int]) -> float:
    """Return the cap above which the device is not held back; infinite if it may be at all that were measured."""
    highest = memory.caps[measured[-1]]
    return highest.power_w / _UNBOUND if highest.power_w < _UNBOUND * highest.cap_w else inf


def _keep(ranked: list[int], mean: Floats, memory: Memory) -> int | None:
    """Return the best cap, or the one held so far if that is hardly worse."""
    if not ranked:
        return None
    now = next((i for i in ranked if memory.caps[i].cap_w == memory.held_w), None)
    return now if now is not None and mean[now] - mean[ranked[0]] < _SWITCH else ranked[0]


def _excluded_below(memory: Memory, measured: list[int], cost: Cost, own: float) -> float:
    """Return the cap below which nothing is worth trying, by the shape of the curve; 0 if there is none."""
    rows = {i: log_cost(memory.caps[i], memory, cost) for i in measured}
    fastest = memory.caps[measured[-1]]
    for i in reversed(measured):
        each, (value, error) = memory.caps[i], rows[i]
        least, other = min(rows[j] for j in measured if j >= i)
        slower = each.log_time - fastest.log_time > log(1.05) + 2 * memory.time_noise.error(each.seconds)
        share = each.power_w / each.cap_w
        binds = share >= _BOUND or (slower and share >= _PEAKS)
        if binds and value - least > _CLEARLY + 2 * (own + error + other):
            return each.cap_w
    return 0.0
