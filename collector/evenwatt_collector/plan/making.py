"""A plan made anew: one job after the other, under prices on room where that is scarce, exactly where few. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evenwatt_collector.plan import exact, prices
from evenwatt_collector.plan.improving import settle_better, weights
from evenwatt_collector.plan.placing import Placer

if TYPE_CHECKING:
    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.order import Order
    from evenwatt_collector.plan.problem import Objective
    from evenwatt_collector.plan.runs import Prices
    from evenwatt_collector.plan.work import Work

_PASSES: Final = ((10**9, 2500), (2000, 2000))
"""Over jobs placed under prices: in sets of up to so many jobs, so many of those that would gain most are tried."""

_MOST_PLACED: Final = 12_000
"""Jobs, all attempts of a plan together: another one is made only if it stays below."""


def make(grid: Grid, works: dict[str, Work], order: Order, objective: Objective) -> tuple[Placer, str]:
    """Return a plan and how it was made."""
    first = _settled(grid, works, order, objective)
    paid = None if first.room.unlimited else prices.find(first)
    if paid is None:
        first.place(works)
        simple = first.room.unlimited and not order.before
        if simple and not any(_has_restarts(work) for work in works.values()):
            return first, "exact"
        return _best([(first, "greedy"), (exact.solve(first), "exact")])
    found: list[tuple[Placer | None, str]] = []
    late: set[str] = set()
    for prices_now in (paid, paid, None):  # who was late goes first; at last, nothing counts but to be on time
        placer = first if not found else _settled(grid, works, order, objective)
        if found:
            placer.effort = first.effort
        late = _placed(placer, prices_now, late)
        first.effort = placer.effort
        found.append((placer, "prices" if prices_now else "greedy"))
        if not late or len(works) * (1 + len(found)) > _MOST_PLACED:
            break
    chosen, how = _best(found)
    for jobs, tries in _PASSES:
        if len(works) <= jobs and not settle_better(chosen, tries):
            break
    return _best([(chosen, how), (exact.solve(chosen), "exact")])


def _settled(grid: Grid, works: dict[str, Work], order: Order, objective: Objective) -> Placer:
    placer = Placer(grid, works, order, objective)
    placer.settle()
    return placer


def _placed(placer: Placer, paid: Prices | None, first: set[str]) -> set[str]:
    """Place all, some of them before the others; return who is late and might not be in another plan.

    Args:
        placer: With nothing placed.
        paid: What room costs; None: each goes where it ends soonest, the soonest deadline first.
        first: Those that go before the others.
    """
    placer.prices, placer.first, placer.hurry = paid, first, paid is None
    late = placer.place(placer.works)
    placer.prices, placer.first, placer.hurry = None, set(), False
    works = placer.works
    might = {name for name in late if name not in placer.proven
             and works[name].earliest + works[name].shortest() <= works[name].deadline}  # fmt: skip
    return might | first if might else set()


def late_for_room(placer: Placer) -> set[str]:
    """Return who is late although its window is long enough: for want of room."""
    works = placer.works
    return {name for name, choice in placer.choices.items()
            if choice.late and not works[name].fault and works[name].pinned is None and works[name].options
            and works[name].earliest + works[name].shortest() <= works[name].deadline}  # fmt: skip


def _best(found: list[tuple[Placer | None, str]]) -> tuple[Placer, str]:
    there = [(placer, how) for placer, how in found if placer is not None]
    return there[0] if len(there) == 1 else min(there, key=lambda one: worth(one[0]))


def _has_restarts(work: Work) -> bool:
    return work.job.interruptible and (work.job.restart_s > 0 or work.job.least_run_s > 0)


def worth(placer: Placer) -> tuple[float, float]:
    """Return what is compared: who is late, by priority, then what all weighs."""
    late = sum(1 + placer.works[name].job.priority for name, choice in placer.choices.items() if choice.late)
    names = [name for name, choice in placer.choices.items() if choice.pieces]
    costs = weights(placer, names)
    for name, cost in zip(names, costs, strict=True):
        placer.choices[name].cost = cost
    return late, sum(costs)
