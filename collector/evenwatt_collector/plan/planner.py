"""The plan of a fleet, made once and then kept up: it changes only where that is worth it. Pure.

A plan made anew is the best of what the ways to make one find. A plan kept up starts from the one before: what has
begun goes on, what is planned stays where it is unless it no longer can or moving saves more than
``Objective.least_gain`` of the job's grams. So the same problem gives the same plan, and a forecast that trembles moves
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenwatt_collector.plan import grid as grids
from evenwatt_collector.plan import order as orders
from evenwatt_collector.plan import work as works
from evenwatt_collector.plan.carrying import carried
from evenwatt_collector.plan.placing import Choice, Placer
from evenwatt_collector.plan.problem import Objective, Plan
from evenwatt_collector.plan.weighing import planned

if TYPE_CHECKING:
    from evenwatt_collector.plan.problem import Problem


class Planner:
    """Plans, and remembers the last one.

    Args:
        objective: What is minimised; None: what each problem says.
    """

    def __init__(self, objective: Objective | None = None) -> None:
        self._objective = objective
        self._before: Plan | None = None

    @property
    def current(self) -> Plan | None:
        """The last plan."""
        return self._before

    def plan(self, problem: Problem) -> Plan:
        """Make a plan anew, whatever was planned before; only what runs and cannot stop stays.

        Raises:
            ValueError: the clock has no slots.
        """
        placer = self._placer(problem)
        placer.settle()
        placer.place(placer.works)
        return self._done(problem, placer, "greedy")

    def replan(self, problem: Problem) -> Plan:
        """Keep the plan of before up to what is new; without one, make one.

        Raises:
            ValueError: the clock has no slots.
        """
        if self._before is None:
            return self.plan(problem)
        placer = self._placer(problem)
        placer.settle()
        carried(placer, self._before)
        placer.place(placer.works)
        return self._done(problem, placer, "greedy")

    def _placer(self, problem: Problem) -> Placer:
        objective = self._objective or problem.objective
        grid = grids.make(problem if self._objective is None else _with(problem, objective))
        read = {name: works.read(grid, job) for name, job in problem.jobs.items()}
        return Placer(grid, read, orders.order(read), objective)

    def _done(self, problem: Problem, placer: Placer, solver: str) -> Plan:
        names = list(placer.works)
        choices: list[Choice] = [placer.choices[name] for name in names]
        found = planned(
            placer.grid,
            [placer.works[name] for name in names],
            [choice.pieces for choice in choices],
            [choice.late for choice in choices],
            [choice.why for choice in choices],
        )
        self._before = Plan(
            made_s=problem.clock.now_s,
            jobs=dict(zip(names, found, strict=True)),
            solver=solver,
            notes=(*placer.grid.notes, *placer.order.notes),
        )
        return self._before


def _with(problem: Problem, objective: Objective) -> Problem:
    from dataclasses import replace  # noqa: PLC0415

    return replace(problem, objective=objective)
