"""What the logs of a live run say. Pure: true power and confirmed caps in, seconds and watts out.

All on one grid of ``GRID_S``; moments are nanoseconds of CLOCK_MONOTONIC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evenwatt_collector.control.types import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evenwatt_twin.truth import Truth

GRID_S = 0.01
_GRID_NS = round(GRID_S * 1e9)
_LIMITS = Limits()
TARGET = (1 - _LIMITS.margin) * _LIMITS.bands.target
"""Where a zone that needs capping is held, of the hard budget."""
INSIDE = (1 - _LIMITS.margin) * _LIMITS.bands.cap_at * 1.001
"""Up to here a zone is inside its target band: above, the controller itself says that capping must begin ...

The thousandth is rounding: a device takes limits in steps of an eighth of a watt, or of whole watts."""
FROM = (1 - _LIMITS.margin) * 0.95
"""... and from here on (Dynamo's target): below, a step of the load does not get what the budget has."""
_GRAIN_W = 1.0
_GRAIN = 0.01


class Power:
    """True power of every machine between two moments, with caps and, for the fleet, without."""

    def __init__(self, truths: Mapping[str, Truth], t0_ns: int, t1_ns: int) -> None:
        self.t0_ns = t0_ns
        self.node_w = {name: np.array(truth.grid_w(t0_ns, t1_ns, _GRID_NS)) for name, truth in truths.items()}
        self.fleet_w = sum(self.node_w.values(), np.zeros(1))
        shadows = [np.array(truth.grid_w(t0_ns, t1_ns, _GRID_NS, control=False)) for truth in truths.values()]
        self.uncapped_w = sum(shadows, np.zeros(1))

    def at(self, t_ns: float) -> int:
        """Return the grid position of a moment."""
        return max(0, min(len(self.fleet_w), int((t_ns - self.t0_ns) // _GRID_NS)))


@dataclass(frozen=True)
class Settled:
    """One step of the load."""

    rise: float
    """Of the uncapped power, from just before the step to its end, as a fraction."""
    above_s: float
    """From the uncapped power crossing the budget until neither true power nor the sum of the caps that the nodes have
    read back is above the target band any more."""
    below_s: float
    """The same until the mean of each second from there on is not below the band any more: watts on their way from one
    node to another leave a gap of 100 ms, for the decrease is confirmed before the raise is sent."""
    below_strictly_s: float
    """The same without the mean: until no 10 ms are below the band any more."""
    used: float
    """Mean true power of the last second, of the target."""

    @property
    def settle_s(self) -> float:
        """Inside the band, from both sides and for good."""
        return max(self.above_s, self.below_s)


def settled(power: Power, caps_w: np.ndarray, budget_w: float, up_ns: float, down_ns: float) -> Settled:
    """Judge the step between two moments; ``caps_w`` is the sum of the confirmed caps on the grid."""
    start, end = power.at(up_ns), power.at(down_ns)
    crossing = np.flatnonzero(power.uncapped_w[start:end] > budget_w)
    if not len(crossing):
        raise AssertionError("the step of the load does not cross the budget: the bench's own plan is wrong")
    first = start + int(crossing[0])
    second = round(1 / GRID_S)
    most_w = np.maximum(power.fleet_w, caps_w)[first:end]
    return Settled(
        rise=float(power.uncapped_w[end - second : end].mean() / power.uncapped_w[start - second : start].mean()) - 1,
        above_s=_outside_s(most_w > INSIDE * budget_w),
        below_s=_outside_s(_means(power.fleet_w[first:end], second) < FROM * budget_w),
        below_strictly_s=_outside_s(power.fleet_w[first:end] < FROM * budget_w),
        used=float(power.fleet_w[end - second : end].mean() / (TARGET * budget_w)),
    )


def caps_on_grid(power: Power, confirmed: Sequence[tuple[int, float]]) -> np.ndarray:
    """Return the latest confirmed cap of a node at every grid position; infinite before the first."""
    caps_w = np.full(len(power.fleet_w), np.inf)
    for when_ns, cap_w in confirmed:
        caps_w[power.at(when_ns) :] = cap_w
    return caps_w


def over_lease_s(power_w: np.ndarray, caps_w: np.ndarray) -> float:
    """Return the longest time that a node's true power stood above its confirmed cap, 1 % and 1 W aside."""
    over = np.concatenate(([0], (power_w > (1 + _GRAIN) * caps_w + _GRAIN_W).astype(np.int8), [0]))
    edges = np.diff(over)
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    return float(lengths.max(initial=0) * GRID_S)


def held_from_s(power: Power, node: str, limit_w: float, from_ns: int, to_ns: int) -> float:
    """Return how long after ``from_ns`` a node's true power was last above a limit (1 % and 1 W aside)."""
    start, end = power.at(from_ns), power.at(to_ns)
    return _outside_s(power.node_w[node][start:end] > (1 + _GRAIN) * limit_w + _GRAIN_W)


def _means(power_w: np.ndarray, length: int) -> np.ndarray:
    """Return at each position the mean of ``length`` from there on, at the end of the last ``length``."""
    sums = np.concatenate(([0.0], np.cumsum(power_w)))
    ends = np.minimum(np.arange(len(power_w)) + length, len(power_w))
    begins = np.minimum(np.arange(len(power_w)), len(power_w) - length)
    return (sums[ends] - sums[begins]) / (ends - begins)


def _outside_s(outside: np.ndarray) -> float:
    where = np.flatnonzero(outside)
    return float((where[-1] + 1) * GRID_S) if len(where) else 0.0
