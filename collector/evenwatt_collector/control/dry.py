"""What a zone in dry run would be given. Pure.

Nothing is sent to its nodes, so nothing limits them and nothing hides their demand: this shares the zone's target by
what they show, as the controller would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evenwatt_collector.control.demand import ESSENTIAL, HEADROOM, HEADROOM_W
from evenwatt_collector.control.waterfill import Claims, allot

if TYPE_CHECKING:
    from evenwatt_collector.control.arrays import Bools, Floats
    from evenwatt_collector.control.tree import ZoneTree
    from evenwatt_collector.control.types import Limits, Observations


def would_share_w(
    tree: ZoneTree, limits: Limits, seen: Observations, dry: Bools, budget_w: Floats, fixed_w: Floats
) -> Floats:
    """Return per slot the cap that it would get; NaN where its zone is not in dry run.

    Args:
        tree: The zones.
        limits: Margin and bands.
        seen: The nodes.
        dry: Slots whose zone is in dry run.
        budget_w: Hard budgets per zone.
        fixed_w: Per zone: load that no node reports, with that of zones inside it.
    """
    at = np.flatnonzero(dry & seen.present & seen.online & seen.controllable)
    others = seen.present & seen.online
    others[at] = False
    other_w = tree.totals(seen.zone, np.where(others, np.maximum(seen.power_w, seen.peak_w), 0.0)) + fixed_w
    available_w = limits.bands.target * (1 - limits.margin) * budget_w - other_w
    floor_w, ceiling_w = seen.floor_w[at], np.maximum(seen.floor_w[at], seen.ceiling_w[at])
    demand_w = np.clip(HEADROOM * seen.peak_w[at] + HEADROOM_W, floor_w, ceiling_w)
    claims = Claims(
        floor_w,
        np.clip(ESSENTIAL * demand_w, floor_w, demand_w),
        demand_w,
        demand_w,
        ceiling_w,
        seen.weight[at] * ceiling_w,
        seen.priority[at],
    )
    calm = np.zeros(len(tree), dtype=np.bool_)
    share_w = np.full(len(seen), np.nan)
    share_w[at] = allot(tree, seen.zone[at], claims, available_w, calm, seen.power_w[at]).share_w
    return share_w
