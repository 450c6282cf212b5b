"""The plan of before under what is new: what still holds stays, the rest is placed into the room that is left. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.plan import order as orders
from evenwatt_collector.plan import work as works
from evenwatt_collector.plan.choice import Choice
from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.placing import Placer
from evenwatt_collector.plan.work import Piece

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.problem import Place, Plan, Planned, Problem
    from evenwatt_collector.plan.work import Work


_MOST_LATE: Final = 4
"""Jobs, each time: room for one takes some hundredths of a second."""

_MOST_PROGRAMS: Final = 30
"""For single jobs, each time a plan is kept up."""


_MOST_IN_SETS: Final = 60
"""The same for jobs that are looked at together."""

_MOST_EFFORT: Final = 100_000
"""Steps, each time."""

_MOST_PRESSED: Final = 32
"""Jobs that hurry for who waits for them, each time."""


@dataclass(slots=True)
class Changes:
    """What is new since the plan of before."""

    places: bool = False
    """Intensities, prices, or room."""
    clock: bool = False
    """The slots are others."""
    moved: bool = False
    """Time has passed."""
    jobs: set[str] = field(default_factory=set)
    """New, or said to be otherwise than before."""
    gone: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    """Planned to have begun by now; nobody said anything new about them."""
    objective: bool = False

    @property
    def nothing(self) -> bool:
        """Whether all is as it was."""
        return not (self.places or self.clock or self.moved or self.objective or self.jobs or self.gone)

    @property
    def weights(self) -> bool:
        """Whether plans weigh something else than they did."""
        return self.places or self.objective


def compare(before: Problem, problem: Problem, placer: Placer) -> Changes:
    """Find what is new."""
    old, new = before.clock, problem.clock
    changes = Changes(
        places=_places_differ(before, problem),
        clock=(old.start_s, old.slot_s, old.slots) != (new.start_s, new.slot_s, new.slots),
        moved=old.now_s != new.now_s,
        objective=before.objective != problem.objective,
    )
    known = before.jobs
    for name, job in problem.jobs.items():
        other = known.get(name)
        if other is not job and other != job:
            changes.jobs.add(name)
    changes.gone = set(known) - set(problem.jobs) if len(known) + len(changes.jobs) else set()
    if changes.moved:
        now = new.now_s - old.start_s - EPS_S
        changes.begun = {
            name for name, choice in placer.choices.items()
            if choice.pieces and choice.pieces[0].start < now and name not in changes.jobs and name not in changes.gone
        }  # fmt: skip
    return changes


def _places_differ(before: Problem, problem: Problem) -> bool:
    if list(before.places) != list(problem.places):
        return True
    return any(
        place is not before.places[name] and not _same(place, before.places[name])
        for name, place in problem.places.items()
    )


def _same(place: Place, other: Place) -> bool:
    scalars = (place.pue, place.known_slots) == (other.pue, other.known_slots)
    arrays = ("intensity_g_per_kwh", "low_g_per_kwh", "high_g_per_kwh", "slots_free", "power_free_w", "price_per_kwh")
    return scalars and all(_equal(getattr(place, name), getattr(other, name)) for name in arrays)


def _equal(one: object, other: object) -> bool:
    if one is other:
        return True
    if one is None or other is None:
        return False
    return bool(np.array_equal(np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64), equal_nan=True))


def keep(placer: Placer, problem: Problem, grid: Grid, changes: Changes, plan: Plan) -> Placer:
    """Return a plan under what is new, nothing improved yet; ``touched`` are the jobs that are not as they were."""
    if (changes.places and grid.names != placer.grid.names) or (changes.clock and grid.slot_s != placer.grid.slot_s):
        return anew(problem, grid, placer, plan)
    old_grid, again = placer.grid, changes.jobs | changes.begun
    for name in (changes.gone | again) & placer.choices.keys():
        placer.lift(name)
    for name in changes.gone:
        del placer.works[name]
    placer.grid, placer.objective = grid, problem.objective
    placer.programs, placer.in_sets, placer.effort = _MOST_PROGRAMS, _MOST_IN_SETS, _MOST_EFFORT
    placer.proven.clear()
    if changes.clock:
        _shift(placer, grid.start_s - old_grid.start_s)
    for name in again:
        placer.works[name] = works.read(grid, problem.jobs[name])
    if changes.moved or changes.clock:
        for work in placer.works.values():
            work.earliest = max(work.earliest, grid.now)
    if changes.jobs or changes.gone or changes.clock:
        placer.reorder(orders.order(placer.works))
        again |= _pressed(placer, changes.jobs)
    again |= _late(placer, again)
    if changes.clock or not old_grid.same_room(grid):
        placer.rebuild_room()
        _evict(placer)
    placer.settle(again)
    _carry(placer, again, plan)
    placer.place([name for name in problem.jobs if name not in placer.choices])
    _cascade(placer)
    placer.touched |= again
    return placer


def _late(placer: Placer, but: set[str]) -> set[str]:
    """Lift some that are late and might not be: each time, room is looked for anew."""
    found = [
        name
        for name, choice in placer.choices.items()
        if choice.late and choice.pieces and name not in but and placer.works[name].pinned is None
        and placer.works[name].earliest + placer.works[name].shortest() <= placer.works[name].deadline
        and name not in placer.order.waiting
    ]  # fmt: skip
    for name in (found := sorted(found, key=placer.urgency)[:_MOST_LATE]):
        placer.lift(name)
    return set(found)


def _pressed(placer: Placer, new: set[str]) -> set[str]:
    """Lift some that would now keep others from being on time, and could end sooner; return which.

    Those come first for which something new waits.
    """
    found = []
    for name, others in placer.order.waiting.items():
        choice, work = placer.choices.get(name), placer.works[name]
        if choice is None or not choice.pieces or work.pinned is not None or choice.late:
            continue
        if choice.pieces[-1].end > work.latest + EPS_S and work.earliest + work.shortest() <= work.latest:
            found.append((new.isdisjoint(others), placer.urgency(name), name))
    lifted = [name for *_, name in sorted(found)[:_MOST_PRESSED]]
    for name in lifted:
        placer.lift(name)
    return set(lifted)


def anew(problem: Problem, grid: Grid, before: Placer, plan: Plan) -> Placer:
    """Other places, or slots of another length: read everything again, and carry what can be."""
    read = {name: works.read(grid, job) for name, job in problem.jobs.items()}
    placer = Placer(grid, read, orders.order(read), problem.objective)
    placer.notes = before.notes
    placer.settle()
    _carry(placer, read, plan)
    placer.place(read)
    placer.touched |= set(read)
    return placer


def _shift(placer: Placer, shift: float) -> None:
    """Count all times from another start."""
    for work in placer.works.values():
        work.earliest -= shift
        work.deadline -= shift
        work.latest -= shift
        if work.pinned is not None:
            work.pinned = work.pinned._replace(start=work.pinned.start - shift, end=work.pinned.end - shift)
    for choice in placer.choices.values():
        choice.pieces = tuple(p._replace(start=p.start - shift, end=p.end - shift) for p in choice.pieces)


def _carry(placer: Placer, names: Iterable[str], plan: Plan) -> None:
    """Put down what was planned before and still holds, as far as there is room."""
    wanted = {name for name in names if name not in placer.choices and name in plan.jobs}
    if not wanted:
        return
    for level in placer.order.levels:
        for name in level:
            if name not in wanted:
                continue
            pieces = still(placer, name, plan.jobs[name])
            if pieces is not None and placer.room.fits(placer.works[name], pieces):
                late = pieces[-1].end > placer.works[name].deadline + EPS_S
                if not late:  # what is late is looked at anew each time
                    placer.put(name, Choice(pieces, -inf, why=plan.jobs[name].why))


def _cascade(placer: Placer) -> None:
    """Place again what begins before that for which it waits has ended."""
    before = placer.order.before
    for level in placer.order.levels[1:]:
        moved = []
        for name in level:
            choice = placer.choices[name]
            ends = [placer.choices[o].pieces[-1].end for o in before[name] if placer.choices[o].pieces]
            fixed = not choice.pieces or placer.works[name].pinned is not None
            if not fixed and choice.pieces[0].start < max(ends, default=-inf) - EPS_S:
                placer.lift(name)
                moved.append(name)
        if moved:
            placer.place(moved)
            placer.touched |= set(moved)


def _evict(placer: Placer) -> None:
    """Where there is less room than is taken, take back what is least urgent and does not run."""
    over = placer.room.over()
    if not over:
        return
    for name in sorted(placer.choices, key=placer.urgency, reverse=True):
        choice, work = placer.choices[name], placer.works[name]
        if not choice.pieces or work.pinned is not None or not placer.touches(choice, over):
            continue
        placer.lift(name)
        placer.touched.add(name)
        over = placer.room.over()
        if not over:
            return


def still(placer: Placer, name: str, planned: Planned) -> tuple[Piece, ...] | None:
    """Return what is left of a job's segments; None if they do not fit what is left of the job any more."""
    work, grid = placer.works[name], placer.grid
    window = placer.window(name)
    if not planned.segments or window is None or work.fault:
        return None
    place = grid.index.get(planned.segments[0].place, -1)
    option = next((option for option in work.options if option.place == place), None)
    if option is None or any(s.place != planned.segments[0].place or s.width > len(work.speedup)
                             for s in planned.segments):  # fmt: skip
        return None
    spans = [(s.start_s - grid.start_s, s.end_s - grid.start_s, s.width) for s in planned.segments]
    begun = spans[0][0] < grid.now - EPS_S
    pieces = tuple(
        Piece(place, max(start, grid.now), end, width, option.watts * width)
        for start, end, width in spans
        if end > grid.now + EPS_S
    )
    fits = work.earliest + work.shortest() <= work.latest + EPS_S
    latest = work.latest if fits else work.deadline
    if not pieces or pieces[-1].end > latest + EPS_S or (begun and work.continues != place):
        return None  # it ended, ends too late, or should run by now and does not
    if pieces[0].start < window.earliest + (0.0 if begun else option.transfer_s) - EPS_S:
        return None
    lacks = _lacking(work, pieces, option.speed, continues=begun)
    last = pieces[-1]
    stretched = last._replace(end=last.end + lacks / (option.speed * work.speedup[last.width - 1]))
    return (*pieces[:-1], stretched) if abs(lacks) <= 1.0 and stretched.end > stretched.start else None


def _lacking(work: Work, pieces: tuple[Piece, ...], speed: float, *, continues: bool) -> float:
    """Return seconds of work that pieces lack."""
    done = sum((piece.end - piece.start) * work.speedup[piece.width - 1] for piece in pieces) * speed
    gaps = sum(1 for a, b in pairwise(pieces) if b.start > a.end + EPS_S)
    if work.continues >= 0 and not (continues and pieces[0].start <= work.earliest + EPS_S):
        gaps += 1  # it was stopped: going on later costs a restart
    restart = max(0.0, work.job.restart_s) * speed * work.speedup[pieces[0].width - 1]
    return work.job.length_s + gaps * restart - done
