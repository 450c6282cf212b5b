"""Who gets how many watts, in zones inside zones. Pure functions on arrays.

Every zone serves the nodes in it, at any depth, in stages: floors; then class by class, from the most important, the
essential part of what a node did a moment ago; then class by class the rest of that and what it did a while ago; and
at last, for all alike, the room up to the ceilings. The essential part comes first because the last watts do little:
at 70 % of its power a board still does 87 % of its work, so no class goes short for the last percents of another. The
stages before the one in which a zone's watts run out are met in full; in that one the level decides: a share is
``level * weight`` between its low and its high mark (weighted max-min). So a node below the level has as much room for
a burst as the others, caps stand still while demands move, and one that has finished does not keep another short.

Zones are served from the innermost out: what a zone leaves a node becomes the most that it asks of the zone around.
That gives the max-min fair shares of the whole tree, because a zone's own shares, cut at the outer level, are what it
would have shared of the smaller sum.

The emergency cut is the same with present use as the only demand and equal weights: nothing rises, and the lowest
class falls first, its largest consumers before the others (Dynamo's high-bucket-first rule, solved exactly instead
of in 20 W steps).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.control.arrays import Bools, Floats, Ints
    from evenwatt_collector.control.tree import ZoneTree

CLASSES: Final = 10
SURPLUS: Final = 3 * CLASSES
"""The last stage. Class ``p`` has ``9 - p`` (essential), ``10 + 2 * (9 - p)`` (recent) and the next one (full)."""
_LEAST_WEIGHT: Final = 1e-6
_TURNS: Final = 80
_EXACT: Final = 1e-12
_SAME: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Claims:
    """What nodes may and want to draw, one position per node; each mark is at least the one before it."""

    floor_w: Floats
    essential_w: Floats
    """Of recent demand, what goes before everything else of any class."""
    recent_w: Floats
    """Demand that goes before the rest of its class's demand."""
    demand_w: Floats
    ceiling_w: Floats
    weight: Floats
    priority: Ints


@dataclass(frozen=True, slots=True)
class Allotment:
    """Shares, and what set them."""

    share_w: Floats
    bound: Ints
    """Per node: the outermost zone whose watts set its share; -1 where it may draw up to its ceiling."""
    stage: Ints
    """Per zone: the stage in which its watts ran out; -1 when the floors alone exceed them, beyond ``SURPLUS`` if they
    did not."""
    level: Floats
    """Per zone: watts per unit of weight in that stage."""


def allot(tree: ZoneTree, zone: Ints, claims: Claims, available_w: Floats, braking: Bools, use_w: Floats) -> Allotment:
    """Share every zone's watts among its nodes.

    Args:
        tree: The zones.
        zone: Index of each node's zone.
        claims: Of the nodes.
        available_w: Per zone, for its nodes and those of zones inside it; infinite where there is no limit.
        braking: Per zone: serve present use only.
        use_w: Present use per node.

    Returns:
        Shares whose sum in each zone is at most its watts, or the floors where those alone are more.
    """
    bound = np.full(len(zone), -1, dtype=np.int64)
    stage = np.full(len(tree), SURPLUS + 1, dtype=np.int64)
    level = np.full(len(tree), np.inf)
    for row in tree.around[::-1]:
        limited = (row >= 0) & np.isfinite(available_w)[row]
        members = np.flatnonzero(limited[zone])
        if len(members):
            mine = _of(claims, members)
            in_zone = row[zone[members]]
            share_w = _serve(mine, in_zone, available_w, braking, use_w[members], (stage, level))
            claims = _cut_off(claims, members, share_w)
            short = share_w < mine.ceiling_w * (1 - _SAME)
            bound[members[short]] = in_zone[short]
    return Allotment(claims.ceiling_w, bound, stage, level)


def fill(low: Floats, high: Floats, weight: Floats, group: Ints, total: Floats) -> tuple[Floats, Floats]:
    """Return ``clip(level * weight, low, high)`` with the sum ``total`` in each group, and each group's level.

    Below the sum of ``low`` everyone gets ``low``, above that of ``high`` everyone ``high``. The level is found by
    Newton's steps on a sum that rises in straight pieces, kept inside a bracket: exact once the piece is right.
    """
    weight = np.maximum(weight, _LEAST_WEIGHT)
    groups = len(total)
    bottom = np.zeros(groups)
    top = np.zeros(groups)
    np.maximum.at(top, group, high / weight)
    level = np.minimum(top, total / np.maximum(np.bincount(group, weights=weight, minlength=groups), _LEAST_WEIGHT))
    exact = _EXACT * np.maximum(1.0, np.abs(total))
    share = low
    for _ in range(_TURNS):
        wanted = level[group] * weight
        share = np.clip(wanted, low, high)
        error = total - np.bincount(group, weights=share, minlength=groups)
        if np.all((np.abs(error) <= exact) | (top - bottom <= _EXACT * top)):
            break
        moving = (wanted > low) & (wanted < high)
        slope = np.bincount(group, weights=weight * moving, minlength=groups)
        bottom = np.where(error > 0, level, bottom)
        top = np.where(error > 0, top, level)
        step = level + error / np.where(slope > 0, slope, np.inf)
        inside = (slope > 0) & (step > bottom) & (step < top)
        level = np.where(np.abs(error) <= exact, level, np.where(inside, step, 0.5 * (bottom + top)))
    return share, level


def _serve(
    claims: Claims,
    zone: Ints,
    available_w: Floats,
    braking: Bools,
    use_w: Floats,
    found: tuple[Ints, Floats],
) -> Floats:
    """Return the shares in one ring of zones that do not overlap."""
    if braking[zone].any():
        claims = _present_use(claims, braking[zone], use_w)
    zones = len(available_w)
    rest_w = available_w - np.bincount(zone, weights=claims.floor_w, minlength=zones)
    marks = (claims.floor_w, claims.essential_w, claims.recent_w, claims.demand_w, claims.ceiling_w)
    rank = CLASSES - 1 - claims.priority
    stages = (rank, CLASSES + 2 * rank, CLASSES + 2 * rank + 1, np.full(len(rank), SURPLUS))
    up_to_w = _served_w(zone, zones, marks, stages).cumsum(axis=1)
    ended = np.where(rest_w < 0, -1, (up_to_w <= rest_w[:, None]).sum(axis=1))
    before_w = np.where(ended > 0, np.take_along_axis(up_to_w, np.maximum(ended - 1, 0)[:, None], 1)[:, 0], 0.0)
    stage, level = found
    present = np.bincount(zone, minlength=zones) > 0
    stage[present] = ended[present]
    mine = ended[zone]
    share_w, high_w, here = marks[0], marks[0], np.zeros(len(zone), dtype=np.bool_)
    for step, top_w in zip(stages, marks[1:], strict=True):
        now = mine == step
        here |= now
        high_w = np.where(now, top_w, high_w)
        share_w = np.where(mine > step, top_w, share_w)
    at = np.flatnonzero(here)
    if len(at):
        low_w = share_w[at]
        total_w = np.bincount(zone[at], weights=low_w, minlength=zones) + rest_w - before_w
        groups = np.bincount(zone[at], minlength=zones) > 0
        group = (np.cumsum(groups) - 1)[zone[at]]
        filled_w, levels = fill(low_w, high_w[at], claims.weight[at], group, total_w[groups])
        share_w[at] = filled_w
        level[groups] = levels
    return share_w


def _served_w(zone: Ints, zones: int, marks: Sequence[Floats], stages: Sequence[Ints]) -> Floats:
    """Return what each stage of each zone takes to be met in full."""
    cells = zones * (SURPLUS + 1)
    taken_w = np.zeros(cells)
    for step, low_w, top_w in zip(stages, marks, marks[1:], strict=False):
        taken_w += np.bincount(zone * (SURPLUS + 1) + step, weights=top_w - low_w, minlength=cells)
    return taken_w.reshape(zones, SURPLUS + 1)


def _present_use(claims: Claims, braking: Bools, use_w: Floats) -> Claims:
    most_w = np.where(braking, np.maximum(claims.floor_w, use_w), np.inf)
    ceiling_w = np.minimum(claims.ceiling_w, most_w)
    used_w = np.where(braking, ceiling_w, np.nan)
    return replace(
        claims,
        essential_w=np.where(braking, claims.floor_w, claims.essential_w),
        recent_w=np.fmin(np.where(braking, used_w, claims.recent_w), ceiling_w),
        demand_w=np.fmin(np.where(braking, used_w, claims.demand_w), ceiling_w),
        ceiling_w=ceiling_w,
        weight=np.where(braking, 1.0, claims.weight),
    )


def _of(claims: Claims, members: Ints) -> Claims:
    return Claims(
        claims.floor_w[members],
        claims.essential_w[members],
        claims.recent_w[members],
        claims.demand_w[members],
        claims.ceiling_w[members],
        claims.weight[members],
        claims.priority[members],
    )


def _cut_off(claims: Claims, members: Ints, share_w: Floats) -> Claims:
    """Return the claims with ``share_w`` as the most that ``members`` ask for."""
    ceiling_w = claims.ceiling_w.copy()
    ceiling_w[members] = share_w
    return replace(
        claims,
        essential_w=np.minimum(claims.essential_w, ceiling_w),
        recent_w=np.minimum(claims.recent_w, ceiling_w),
        demand_w=np.minimum(claims.demand_w, ceiling_w),
        ceiling_w=ceiling_w,
    )
