"""The plan of a fleet, made once and then kept up: it changes only where that is worth it. Pure.

A plan made anew is the best of what the ways to make one find. A plan kept up starts from the one before: what has
begun goes on, what is planned stays where it is unless it no longer can or moving saves more than
``Objective.least_gain`` of the job's grams. So the same problem gives the same plan, and a forecast that trembles moves
nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from evenwatt_collector.plan import grid as grids
from evenwatt_collector.plan import order as orders
from evenwatt_collector.plan import work as works
from evenwatt_collector.plan.improving import improve
from evenwatt_collector.plan.keeping import Changes, compare, keep
from evenwatt_collector.plan.making import make
from evenwatt_collector.plan.problem import Objective, Plan
from evenwatt_collector.plan.weighing import planned

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.placing import Placer
    from evenwatt_collector.plan.problem import Planned, Problem


class Planner:
    """Plans, and remembers the last one.

    Args:
        objective: What is minimised; None: what each problem says.
    """

    def __init__(self, objective: Objective | None = None) -> None:
        self._objective = objective
        self._placer: Placer | None = None
        self._problem: Problem | None = None
        self._plan: Plan | None = None

    @property
    def current(self) -> Plan | None:
        """The last plan."""
        return self._plan

    def plan(self, problem: Problem) -> Plan:
        """Make a plan anew, whatever was planned before; only what runs and cannot stop stays.

        Raises:
            ValueError: the clock has no slots.
        """
        problem = self._with_objective(problem)
        grid = grids.make(problem)
        read = {name: works.read(grid, job) for name, job in problem.jobs.items()}
        placer, solver = make(grid, read, orders.order(read), problem.objective)
        return self._done(problem, placer, solver, {}, placer.works)

    def replan(self, problem: Problem) -> Plan:
        """Keep the plan of before up to what is new; without one, make one.

        Raises:
            ValueError: the clock has no slots.
        """
        before, placer, plan = self._problem, self._placer, self._plan
        if before is None or placer is None or plan is None:
            return self.plan(problem)
        problem = self._with_objective(problem)
        changes = compare(before, problem, placer)
        if changes.nothing:
            return plan
        grid = self._grid(problem, placer.grid, changes)
        placer = keep(placer, problem, grid, changes, plan)
        touched = set(placer.touched) | improve(placer, changes)
        again = placer.works if changes.weights or changes.clock else touched | changes.begun
        return self._done(problem, placer, plan.solver, plan.jobs, again)

    def _grid(self, problem: Problem, before: Grid, changes: Changes) -> Grid:
        """Return the arrays; those of before, at another moment, if nothing else is new."""
        if changes.places or changes.clock:
            return grids.make(problem)
        return replace(before, now=max(0.0, problem.clock.now_s - problem.clock.start_s))

    def _with_objective(self, problem: Problem) -> Problem:
        return problem if self._objective is None else replace(problem, objective=self._objective)

    def _done(
        self, problem: Problem, placer: Placer, solver: str, before: Mapping[str, Planned], again: Collection[str]
    ) -> Plan:
        """Weigh what is new or weighs something else now, and put the plan together."""
        names = [name for name in placer.works if name in again or name not in before]
        choices = [placer.choices[name] for name in names]
        found = planned(
            placer.grid,
            [placer.works[name] for name in names],
            [choice.pieces for choice in choices],
            [choice.late for choice in choices],
            [choice.why for choice in choices],
            [choice.segments for choice in choices],
        )
        for choice, one in zip(choices, found, strict=True):
            choice.segments = one.segments
        fresh = dict(zip(names, found, strict=True))
        jobs = {name: fresh[name] if name in fresh else before[name] for name in problem.jobs}
        placer.touched.clear()
        self._problem, self._placer = problem, placer
        self._plan = Plan(
            made_s=problem.clock.now_s,
            jobs=jobs,
            solver=solver,
            notes=(*placer.grid.notes, *placer.order.notes, *placer.notes),
        )
        return self._plan
