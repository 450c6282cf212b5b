"""The plan of a fleet, made once and then kept up: it changes only where that is worth it. Pure.

A plan made anew is the best of what the ways to make one find. A plan kept up starts from the one before: what has
begun goes on, what is planned stays where it is unless it no longer can or moving saves more than
``Objective.least_gain`` of the job's grams. So the same problem gives the same plan, and a forecast that trembles moves
nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from evenwatt_collector.plan import grid as grids
from evenwatt_collector.plan import inner
from evenwatt_collector.plan import order as orders
from evenwatt_collector.plan import work as works
from evenwatt_collector.plan.improving import improve
from evenwatt_collector.plan.keeping import Changes, anew, compare, keep
from evenwatt_collector.plan.making import late_for_room, make, worth
from evenwatt_collector.plan.problem import Objective, Plan
from evenwatt_collector.plan.weighing import planned

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.placing import Placer
    from evenwatt_collector.plan.problem import Planned, Problem

_MOST_FINER: Final = 500
"""Jobs: plans of more are not cut finer while they are kept up, it would take too long."""


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
        self._parts = 1
        """Each slot is cut into so many."""

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
        self._parts = 1
        placer, solver = self._made(problem)
        if late_for_room(placer):
            self._parts = inner.parts(placer.grid, placer.works.values())
            if self._parts > 1:
                finer, how = self._made(problem)
                if worth(finer) < worth(placer):
                    placer, solver = finer, how
                else:
                    self._parts = 1
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
        placer = self._finer(problem, placer, plan)
        touched = set(placer.touched) | improve(placer, changes)
        again = placer.works if changes.weights or changes.clock else touched | changes.begun
        return self._done(problem, placer, plan.solver, plan.jobs, again)

    def _made(self, problem: Problem) -> tuple[Placer, str]:
        grid = grids.make(inner.cut(problem, self._parts))
        read = {name: works.read(grid, job) for name, job in problem.jobs.items()}
        return make(grid, read, orders.order(read), problem.objective)

    def _finer(self, problem: Problem, placer: Placer, plan: Plan) -> Placer:
        """Keep a plan up in finer slots where something new is late that need not be, if that helps."""
        new = {name for name in late_for_room(placer) if name not in plan.jobs or not plan.jobs[name].late}
        if self._parts > 1 or not new or len(placer.works) > _MOST_FINER:
            return placer
        count = inner.parts(placer.grid, placer.works.values())
        if count <= 1:
            return placer
        finer = anew(problem, grids.make(inner.cut(problem, count)), placer, plan)
        if worth(finer) >= worth(placer):
            return placer
        self._parts = count
        return finer

    def _grid(self, problem: Problem, before: Grid, changes: Changes) -> Grid:
        """Return the arrays; those of before, at another moment, if nothing else is new."""
        if changes.places or changes.clock:
            return grids.make(inner.cut(problem, self._parts))
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
