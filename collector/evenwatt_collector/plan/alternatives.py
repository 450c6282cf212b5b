"""What else could be done with a job, what that would come to, and what would change the decision. Pure."""

from __future__ import annotations

from dataclasses import replace
from math import erf, inf, sqrt
from typing import TYPE_CHECKING

import numpy as np

from evenwatt_collector.jobs.times import spelled
from evenwatt_collector.plan import grid as grids
from evenwatt_collector.plan import order as orders
from evenwatt_collector.plan import work as works
from evenwatt_collector.plan.choice import Choice
from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.placing import Placer
from evenwatt_collector.plan.problem import Alternative, Explained, Objective, Planned
from evenwatt_collector.plan.risk import baseline, gain, joules
from evenwatt_collector.plan.weighing import planned as weigh
from evenwatt_collector.plan.windows import Window
from evenwatt_collector.plan.work import Piece

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.plan.problem import Plan, Problem
    from evenwatt_collector.plan.work import Work

_HOURS_MORE = (1, 3, 6, 12, 24)
_WORTH_SAYING = 0.01
"""Of the job's grams: what gains less is not worth a sentence."""
_SIGMAS_90 = 1.645
"""The 95 % quantile of a normal distribution: half the width of a 90 % interval."""


def explain(problem: Problem, job_id: str, chosen: Planned, plan: Plan | None = None) -> Explained:
    """Return a job's decision beside what else could have been done.

    Args:
        problem: What the plan was made from.
        job_id: Which job.
        chosen: What is planned for it.
        plan: The whole plan: what the others take and when what it waits for ends; without it the job is alone.

    Raises:
        KeyError: the problem has no such job.
    """
    return _Asked(problem, job_id, chosen, plan).answer()


class _Asked:
    """One job, with everything else where the plan has it."""

    def __init__(self, problem: Problem, job_id: str, chosen: Planned, plan: Plan | None) -> None:
        job = problem.jobs[job_id]
        self._grid = grid = grids.make(problem)
        read = {name: works.read(grid, other) for name, other in problem.jobs.items()} if plan else {}
        self._work = work = read.setdefault(job_id, works.read(grid, job))
        self._placer = Placer(grid, read, orders.order(read), problem.objective)
        self._chosen = chosen
        if plan is not None:
            for name, planned in plan.jobs.items():
                if name != job_id and name in read:
                    self._placer.put(name, _choice(grid, read[name], planned))
        window = self._placer.window(job_id)
        self._earliest = work.earliest if window is None else window.earliest
        self._latest = work.latest

    def answer(self) -> Explained:
        """Weigh everything."""
        work = self._work
        at_once = baseline(self._grid, work, self._earliest)
        if at_once is None or work.fault:
            return Explained(chosen=self._chosen, baseline=self._chosen, alternatives=(),
                             would_change=(work.fault or "it can run nowhere",))  # fmt: skip
        base = self._weighed(at_once, "at once, at home, at full power")
        found = [self._alternative("now", at_once, "the baseline")]
        found.append(Alternative(name="chosen", planned=self._chosen, feasible=not self._chosen.late,
                                 why=self._saving(base, at_once)))  # fmt: skip
        if work.pinned is None:
            found += self._shapes()
            found += [self._best(f"place:{self._grid.names[option.place]}", replace_options=(option,))
                      for option in work.options if len(work.options) > 1]  # fmt: skip
            found += [self._wide(width) for width in range(1, len(work.speedup) + 1) if len(work.speedup) > 1]
        return Explained(chosen=self._chosen, baseline=base, alternatives=tuple(found),
                         would_change=tuple(self._changes(base, at_once)))  # fmt: skip

    def _shapes(self) -> list[Alternative]:
        job = self._work.job
        one_piece = self._best("contiguous", as_job={"interruptible": False, "running": None})
        split = self._best("split", as_job={"interruptible": True})
        if not job.interruptible:
            split = replace(split, feasible=False, why="it cannot be interrupted")
        return [one_piece, split]

    def _wide(self, width: int) -> Alternative:
        work, job = self._work, self._work.job
        speed = work.speedup[width - 1]
        at = {name: replace(one, power_w=one.power_w * width, speed=one.speed * speed) for name, one in job.at.items()}
        found = self._best(f"width:{width}", as_job={"at": at, "speedup": (1.0,), "slots": job.slots * width})
        segments = tuple(replace(segment, width=width) for segment in found.planned.segments)
        return replace(found, planned=replace(found.planned, segments=segments))

    def _best(
        self,
        name: str,
        *,
        replace_options: tuple[works.Option, ...] | None = None,
        as_job: dict[str, object] | None = None,
        latest: float | None = None,
    ) -> Alternative:
        """Return the best there is under a condition; where it finds no room on time, the soonest."""
        work = self._work
        if as_job:
            job = replace(work.job, **as_job)  # type: ignore[arg-type]
            work = works.read(self._grid, job)
        options = work.options if replace_options is None else replace_options
        window = Window(work, self._earliest, self._latest if latest is None else latest, options)
        found = self._placer.find(window) or self._placer.find(window._replace(beyond=True))
        if found is None:
            found = self._placer.find(window._replace(latest=inf, beyond=True), soonest=True)
        if found is None:
            nothing = weigh(self._grid, [work], [()], [True], ["no room"])[0]
            return Alternative(name=name, planned=nothing, feasible=False, why="there is never room for it")
        return self._alternative(name, found[1], "", work, latest)

    def _alternative(
        self, name: str, pieces: Sequence[Piece], why: str, work: Work | None = None, latest: float | None = None
    ) -> Alternative:
        work = work or self._work
        one = self._weighed(pieces, why, work)
        due = work.deadline if latest is None else latest
        late = bool(pieces) and pieces[-1].end > due + EPS_S
        room = self._placer.room.fits(work, pieces)
        if late:
            words = f"it would end {spelled(pieces[-1].end - due)} after the deadline"
        elif not room:
            words = "there is no room for it then"
        else:
            words = why or self._compared(one)
        return Alternative(name=name, planned=one, feasible=room and not late, why=words)

    def _compared(self, one: Planned) -> str:
        more = self._value(one) - self._value(self._chosen)
        if one.segments == self._chosen.segments:
            return "the same as chosen"
        if abs(more) <= 1e-6 * max(1.0, self._value(one)):
            return "weighs the same"
        unit = "g" if not one.cost else "g, cost included"
        if more > 0:
            return f"{more:.3g} {unit} more"
        return f"{-more:.3g} {unit} less, too little to change the plan or not sure enough"

    def _value(self, one: Planned) -> float:
        price = self._placer.objective.price_per_g
        return one.grams + (one.cost / price if price > 0 else 0.0)

    def _weighed(self, pieces: Sequence[Piece], why: str, work: Work | None = None) -> Planned:
        work = work or self._work
        late = bool(pieces) and pieces[-1].end > work.deadline + EPS_S
        return weigh(self._grid, [work], [tuple(pieces)], [late], [why])[0]

    def _saving(self, base: Planned, at_once: tuple[Piece, ...]) -> str:
        """Say what is saved by waiting, and how surely."""
        pieces = _choice(self._grid, self._work, self._chosen).pieces
        saved = base.grams - self._chosen.grams
        if not pieces or pieces == at_once or saved <= 0:
            return "chosen"
        return _certainty(self._grid, self._work, at_once, pieces, saved)

    def _changes(self, base: Planned, at_once: tuple[Piece, ...]) -> list[str]:
        """Say what would change the decision, in figures."""
        chosen, words = self._chosen, []
        pieces = _choice(self._grid, self._work, chosen).pieces
        waits = bool(pieces) and pieces != at_once
        saved = base.grams - chosen.grams
        if self._work.pinned is not None:
            return ["nothing before it ends: it runs and cannot be interrupted"]
        if waits and saved > 0:
            length_s = sum(piece.end - piece.start for piece in at_once)
            mean = base.grams / base.energy_kwh if base.energy_kwh else 0.0
            limit = mean * chosen.grams / base.grams if base.grams else 0.0
            words.append(f"at {limit:.0f} g/kWh or less over the next {spelled(length_s)} (expected: {mean:.0f}) it "
                         "would have run at once")  # fmt: skip
        elif not waits:
            words += self._would_wait(base)
        words += self._later_deadlines()
        return words

    def _would_wait(self, base: Planned) -> list[str]:
        """It runs at once: above which intensity it would have waited."""
        later = replace(self._work.job, earliest_s=self._grid.start_s + self._earliest + base.end_s - base.start_s)
        work = works.read(self._grid, later)
        found = self._placer.find(Window(work, work.earliest, self._latest, work.options))
        if found is None:
            return ["it cannot wait: its deadline leaves no time"]
        other = self._weighed(found[1], "", work)
        mean = base.grams / base.energy_kwh if base.energy_kwh else 0.0
        limit = mean * other.grams / base.grams if base.grams else 0.0
        words = (f"above {limit:.0f} g/kWh now (expected: {mean:.0f}) it would have waited, to begin "
                 f"{spelled(other.start_s - base.start_s)} later")  # fmt: skip
        return [words]

    def _later_deadlines(self) -> list[str]:
        if not self._latest < inf:
            return []
        words, least = [], self._chosen.grams
        for hours in _HOURS_MORE:
            latest = self._latest + hours * 3600
            if latest > self._grid.end:
                break
            found = self._best("later", latest=latest)
            saves = least - found.planned.grams
            if found.feasible and saves > _WORTH_SAYING * max(1e-9, self._chosen.grams):
                words.append(f"a deadline {hours} h later would save {self._chosen.grams - found.planned.grams:.3g} g")
                least = found.planned.grams
        return words


def _choice(grid: grids.Grid, work: Work, planned: Planned) -> Choice:
    watts = {option.place: option.watts for option in work.options}
    pieces = tuple(
        Piece(place, s.start_s - grid.start_s, s.end_s - grid.start_s, s.width, watts[place] * s.width)
        for s in planned.segments if (place := grid.index.get(s.place, -1)) in watts
    )  # fmt: skip
    return Choice(pieces, planned.grams, late=planned.late)


def _certainty(grid: grids.Grid, work: Work, at_once: Sequence[Piece], pieces: Sequence[Piece], saved: float) -> str:
    """Say how sure the saving is, by the 90 % interval of the forecast where both do not use the same slots."""
    least = gain(grid, work, at_once, pieces, Objective(risk=1.0))
    difference = joules(grid, work, at_once) - joules(grid, work, pieces)
    # Errors of hours near each other go together: they are added, not their squares. Sides are taken as independent.
    sides = [float((np.maximum(sign * difference, 0.0) * (grid.high - grid.low)).sum()) / 2 for sign in (1, -1)]
    sigma = sqrt(sides[0] ** 2 + sides[1] ** 2) / _SIGMAS_90
    chance = 0.5 * (1 + erf(saved / sigma / sqrt(2))) if sigma > 0 else 1.0
    words = (
        f"it saves {saved:.3g} g against running at once, {least:.3g} g if the forecast errs to its worst on both sides"
    )
    return f"{words}; estimated chance that it saves at all: {100 * chance:.0f} %"
