"""What is wrong with a zone's control, in words. Pure. Nodes are named by their slots: the caller knows the names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evenwatt_collector.control.arrays import Floats
    from evenwatt_collector.control.survey import Survey
    from evenwatt_collector.control.tree import ZoneTree


def alarms(
    tree: ZoneTree, found: Survey, usable_w: Floats, budget_w: Floats, floors_w: Floats, least_w: Floats
) -> tuple[tuple[str, ...], ...]:
    """Return every zone's alarms.

    Args:
        tree: The zones.
        found: The count.
        usable_w: Budgets after the margin.
        budget_w: Hard budgets.
        floors_w: Sums of the steered nodes' floors.
        least_w: The same with what cannot be steered, and of paused nodes what they draw.
    """
    other_w, most_w = found.unsteered_w, found.most_w
    excess_w = floors_w + other_w - usable_w
    infeasible = excess_w > usable_w * 1e-9
    over = most_w > usable_w * (1 + 1e-9) + 1e-6
    blind = found.blind
    said: list[list[str]] = [[] for _ in tree.names]
    for z in np.flatnonzero((infeasible | over | blind) & np.isfinite(usable_w)):
        if infeasible[z]:
            word = "infeasible" if least_w[z] > usable_w[z] else "kept by paused work"
            said[z].append(
                f"{word}: floors {floors_w[z]:.0f} W and {other_w[z]:.0f} W that cannot be steered exceed "
                f"{usable_w[z]:.0f} W ({budget_w[z]:.0f} W less margin) by {excess_w[z]:.0f} W"
            )
        elif over[z]:
            said[z].append(
                f"leases, fallbacks and unmanaged power allow {most_w[z]:.0f} W of {usable_w[z]:.0f} W; "
                "decreases are on their way"
            )
        if blind[z]:
            said[z].append(
                f"{found.silent[z]:.0f} of {found.managed[z]:.0f} nodes are silent, more than 20 %: "
                "caps only fall or hold"
            )
    return tuple(tuple(words) for words in said)
