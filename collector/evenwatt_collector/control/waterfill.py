"""Who gets how many watts. Pure functions on lists of equal length, O(n log n).

One primitive, :func:`fill`, finds the water level: every share is ``level * weight``, kept between its own low and
high mark, and the shares add up to the total. Floors come first, then the priority classes in descending order by
weighted max-min up to each demand. What all demands leave over raises the level further, up to the ceilings; so
nodes below the level have equal room for a burst, and their caps stand still while their demands move. Inside a class
what a node did a moment ago goes before what it did a while ago, so one that has finished does not keep another short.

The emergency cut (:func:`cut`) is Dynamo's high-bucket-first rule with the level solved exactly instead of in 20 W
steps: nothing rises, and the lowest class falls first, its largest consumers before the others.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import fsum, inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEAST_WEIGHT = 1e-6


@dataclass(frozen=True, slots=True)
class Allotment:
    """Shares in the order of the claims, and the level per priority class (watts per unit of weight)."""

    shares_w: list[float]
    levels_w: dict[int, float]
    """``inf`` for a class whose demand is met in full."""
    surplus_w: float | None = None
    """Level that the surplus reached when every demand is met; ``inf`` when every ceiling is."""
    feasible: bool = True
    """False when the floors alone exceed what is there."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What the nodes may and want to draw, one position per node."""

    floor_w: Sequence[float]
    recent_w: Sequence[float]
    """Demand that goes before the rest of its class's demand."""
    demand_w: Sequence[float]
    ceiling_w: Sequence[float]
    weight: Sequence[float]
    priority: Sequence[int]


def fill(
    low: Sequence[float], high: Sequence[float], weight: Sequence[float], total: float
) -> tuple[list[float], float]:
    """Return ``clip(level * weight, low, high)`` with the sum ``total``, and the level.

    Below the sum of ``low`` everyone gets ``low`` (level 0), above that of ``high`` everyone ``high`` (level inf).
    The sum never exceeds ``total`` by more than the rounding of one addition.
    """
    if total <= fsum(low):
        return list(low), 0.0
    if total >= fsum(high):
        return list(high), inf
    weights = [max(w, _LEAST_WEIGHT) for w in weight]
    level = _level(low, high, weights, total)
    shares = [min(max(level * w, lo), hi) for lo, hi, w in zip(low, high, weights, strict=True)]
    excess = fsum(shares) - total
    if excess > 0:
        _give_back(shares, low, weights, excess)
    return shares, level


def _level(low: Sequence[float], high: Sequence[float], weights: Sequence[float], total: float) -> float:
    """Sweep over the levels at which a share starts or stops to rise."""
    turns = [(lo / w, w) for lo, w in zip(low, weights, strict=True)]
    turns += [(hi / w, -w) for hi, w in zip(high, weights, strict=True)]
    turns.sort()
    level, slope, reached = 0.0, 0.0, fsum(low)
    for at, change in turns:
        rise = slope * (at - level)
        if slope > 0 and reached + rise >= total:
            return min(at, level + (total - reached) / slope)
        reached += rise
        level = at
        slope += change
    return level


def _give_back(shares: list[float], low: Sequence[float], weights: Sequence[float], excess: float) -> None:
    """Take a rounding excess from the shares that stand above their low mark."""
    above = [i for i, share in enumerate(shares) if share > low[i]]
    weight = fsum(weights[i] for i in above)
    for i in above:
        shares[i] = max(low[i], shares[i] - excess * weights[i] / weight)


def allot(claims: Claims, available_w: float) -> Allotment:
    """Share ``available_w``: floors, then demands by class, then the surplus.

    When the floors do not fit, everyone gets the floor and ``feasible`` is False.
    """
    floors_w = fsum(claims.floor_w)
    if floors_w >= available_w:
        levels = dict.fromkeys(claims.priority, 0.0)
        return Allotment(list(claims.floor_w), levels, feasible=floors_w <= available_w * (1 + 1e-12))
    if fsum(claims.demand_w) <= available_w:
        shares, level = fill(claims.demand_w, claims.ceiling_w, claims.weight, available_w)
        return Allotment(shares, dict.fromkeys(claims.priority, inf), surplus_w=level)
    return _allot_by_class(claims, available_w - floors_w)


def _allot_by_class(claims: Claims, rest_w: float) -> Allotment:
    """Share what the floors leave among the classes, the most important first."""
    shares = list(claims.floor_w)
    levels: dict[int, float] = {}
    for priority, members in sorted(_classes(claims.priority).items(), reverse=True):
        low = [claims.floor_w[i] for i in members]
        high = [claims.recent_w[i] for i in members]
        total_w = fsum(low) + rest_w
        if fsum(high) <= total_w:
            low, high = high, [claims.demand_w[i] for i in members]
        filled, levels[priority] = fill(low, high, [claims.weight[i] for i in members], total_w)
        for i, share in zip(members, filled, strict=True):
            shares[i] = share
        rest_w = max(0.0, total_w - fsum(filled))
    return Allotment(shares, levels)


def cut(floor_w: Sequence[float], use_w: Sequence[float], priority: Sequence[int], available_w: float) -> Allotment:
    """Bring present use down to ``available_w``: ``max(floor, min(use, level))``, the lowest class first."""
    shares = [max(floor, use) for floor, use in zip(floor_w, use_w, strict=True)]
    classes = _classes(priority)
    levels = dict.fromkeys(classes, inf)
    excess_w = fsum(shares) - available_w
    for level_class, members in sorted(classes.items()):
        if excess_w <= 0:
            break
        low = [floor_w[i] for i in members]
        high = [shares[i] for i in members]
        filled, levels[level_class] = fill(low, high, [1.0] * len(members), fsum(high) - excess_w)
        for i, share in zip(members, filled, strict=True):
            shares[i] = share
        excess_w -= fsum(high) - fsum(filled)
    return Allotment(shares, levels, feasible=fsum(floor_w) <= available_w * (1 + 1e-12))


def _classes(priority: Sequence[int]) -> dict[int, list[int]]:
    classes: dict[int, list[int]] = defaultdict(list)
    for i, level in enumerate(priority):
        classes[level].append(i)
    return classes
