"""A plan made anew. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenwatt_collector.plan.placing import Placer

if TYPE_CHECKING:
    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.order import Order
    from evenwatt_collector.plan.problem import Objective
    from evenwatt_collector.plan.work import Work


def make(grid: Grid, works: dict[str, Work], order: Order, objective: Objective) -> tuple[Placer, str]:
    """Return a plan and how it was made."""
    placer = Placer(grid, works, order, objective)
    placer.settle()
    placer.place(works)
    return placer, "exact" if placer.room.unlimited else "greedy"
