"""Jobs put into what room is left, one after the other, each where it weighs least. Pure.

Jobs are looked at in chunks, in arrays; then each takes its best place, or the best for which there is room. A deadline
is never given up for grams: what finds no room before its deadline makes some (``making_room``), and only
what can be met in no way is planned as soon as possible, after all that can still be on time.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from evenwatt_collector.plan import soonest as soonest_pieces
from evenwatt_collector.plan.choice import Choice
from evenwatt_collector.plan.elastic import Elastics
from evenwatt_collector.plan.elastic import soonest as soonest_elastic
from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.pieces import Pieces
from evenwatt_collector.plan.risk import baseline, supported
from evenwatt_collector.plan.room import Room
from evenwatt_collector.plan.runs import Prices, Runs
from evenwatt_collector.plan.splits import Fills
from evenwatt_collector.plan.windows import Window

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.order import Order
    from evenwatt_collector.plan.problem import Floats, Objective
    from evenwatt_collector.plan.work import Piece, Work

CHUNK: Final = 256
"""Jobs looked at together: enough for arrays, few enough for a processor's cache."""

MOST_PROGRAMS: Final = 300
"""For a plan; each takes some milliseconds."""

MOST_IN_SETS: Final = 600
"""The same for jobs that are looked at together, where one takes a millisecond or two."""

MOST_EFFORT: Final = 1_500_000
"""Steps, for a plan: each takes about a microsecond."""

Found = tuple[float, tuple["Piece", ...]]


class Placer:
    """A plan in the making."""

    def __init__(self, grid: Grid, works: dict[str, Work], order: Order, objective: Objective) -> None:
        self.grid, self.works, self.order, self.objective = grid, works, order, objective
        self.room = Room(grid)
        self.choices: dict[str, Choice] = {}
        self.prices: Prices | None = None
        self.first: set[str] = set()
        """Jobs placed before all others of their level."""
        self.hurry = False
        """Whether all are placed where they end soonest, the soonest deadline first."""
        self.touched: set[str] = set()
        """Jobs placed since the last plan."""
        self.turn = 0
        """Whose turn it is to be looked at for something better."""
        self.notes: tuple[str, ...] = ()
        self.effort = max(MOST_EFFORT // 4, MOST_EFFORT - 100 * len(works))
        """Steps that may yet be spent on making others move."""
        self.proven: set[str] = set()
        """Jobs that were found late because no plan could do more."""
        self._fixed: Room | None = None
        self._in_slot: dict[tuple[int, int], dict[str, None]] = {}
        self.programs, self.in_sets = MOST_PROGRAMS, MOST_IN_SETS
        """So many dynamic programs may yet be run for single jobs, and for jobs in sets; then work with restarts is
        put into one piece."""

    def settle(self, names: Iterable[str] | None = None) -> None:
        """Put down what is not to be decided: what cannot run, what has nothing left, what runs and cannot stop."""
        for name in self.works if names is None else names:
            work = self.works[name]
            fault = work.fault or self.order.stuck.get(name, "")
            if fault:
                self.choices[name] = Choice((), inf, late=True, why=fault)
            elif work.job.length_s <= 0:
                self.choices[name] = Choice((), 0.0, why="nothing of it is left to do")
            elif work.pinned is not None:
                late = work.pinned.end > work.deadline + EPS_S
                why = "it runs and cannot be interrupted" + (", and ends after its deadline" if late else "")
                self.put(name, Choice((work.pinned,), 0.0, late=late, why=why))

    def place(self, names: Iterable[str]) -> list[str]:
        """Place jobs, level by level; return those that are late."""
        from evenwatt_collector.plan import missed as missed_jobs  # noqa: PLC0415 -- they build on each other

        wanted = {name for name in names if name not in self.choices}
        late: list[str] = []
        for level in self.order.levels:
            here = sorted((name for name in level if name in wanted), key=self.urgency)
            missed: list[str] = []
            for i in range(0, len(here), CHUNK):
                missed += self._chunk(here[i : i + CHUNK])
            late += missed_jobs.settle_missed(self, missed)
        return late

    def urgency(self, name: str) -> tuple[bool, float, float]:
        """Return what comes first: by priority, then by how little choice there is."""
        work = self.works[name]
        if self.hurry:
            return False, work.latest, work.latest - work.earliest - work.shortest()
        return name not in self.first, -work.job.priority, work.latest - work.earliest - work.shortest()

    def put(self, name: str, choice: Choice) -> None:
        """Write a choice down and take its room."""
        self.choices[name] = choice
        self.touched.add(name)
        self._take(name, choice, 1)

    def _take(self, name: str, choice: Choice, sign: int) -> None:
        work = self.works[name]
        self.room.take(work, choice.pieces, sign)
        if self._fixed is not None and not self.movable(name, choice):
            self._fixed.take(work, choice.pieces, sign)
        for key in self._touched(choice):
            if sign > 0:
                self._in_slot.setdefault(key, {})[name] = None
            else:
                self._in_slot.get(key, {}).pop(name, None)

    def _touched(self, choice: Choice) -> Iterator[tuple[int, int]]:
        grid = self.grid
        for piece in choice.pieces:
            for t in range(grid.first_slot(piece.start), min(grid.slots, grid.end_slot(piece.end))):
                yield piece.place, t

    def movable(self, name: str, choice: Choice | None = None) -> bool:
        """Whether a job may be moved for the sake of another: it does not run, nobody waits for it, it is on time."""
        work = self.works[name]
        choice = choice or self.choices[name]
        free = work.pinned is None and work.continues < 0 and name not in self.order.waiting
        return free and bool(choice.pieces) and not choice.late

    @property
    def fixed(self) -> Room:
        """What would be free if all that may be moved were gone; not to be changed."""
        if self._fixed is None:
            self._fixed = Room(self.grid)
            for name, choice in self.choices.items():
                if not self.movable(name):
                    self._fixed.take(self.works[name], choice.pieces)
        return self._fixed

    def in_slots(self, slots: Iterable[tuple[int, int]]) -> dict[str, None]:
        """Return who runs in one of some (place, slot)."""
        found: dict[str, None] = {}
        for key in slots:
            found |= self._in_slot.get(key, {})
        return found

    def spend(self, steps: int) -> bool:
        """Take steps of what may be spent; whether there were any left."""
        self.effort -= steps
        return self.effort >= 0

    def reorder(self, order: Order) -> None:
        """Take another order of what comes before what."""
        self.order, self._fixed = order, None

    def settled_room(self) -> tuple[Floats, Floats]:
        """Return slots and watts that are free beside what runs and cannot stop."""
        room = Room(self.grid)
        for name, choice in self.choices.items():
            if self.works[name].pinned is not None:
                room.take(self.works[name], choice.pieces)
        return room.slots, room.watts

    def rebuild_room(self) -> None:
        """Count again what is taken."""
        self.room, self._fixed, self._in_slot = Room(self.grid), None, {}
        for name, choice in self.choices.items():
            self._take(name, choice, 1)

    def touches(self, choice: Choice, slots: Collection[tuple[int, int]]) -> bool:
        """Whether a choice lies in one of some (place, slot)."""
        return any(
            (piece.place, t) in slots
            for piece in choice.pieces
            for t in range(self.grid.first_slot(piece.start), self.grid.end_slot(piece.end))
        )

    def lift(self, name: str) -> Choice:
        """Take a choice back."""
        choice = self.choices.pop(name)
        self._take(name, choice, -1)
        return choice

    def window(self, name: str, *, latest: float | None = None, beyond: bool = False) -> Window | None:
        """Return when a job may run; None if what it waits for never ends."""
        work = self.works[name]
        earliest = work.earliest
        for other in self.order.before.get(name, ()):
            choice = self.choices.get(other)
            if choice is None or (not choice.pieces and self.works[other].job.length_s > 0):
                return None
            if choice.pieces:
                earliest = max(earliest, choice.pieces[-1].end)
        return Window(work, earliest, work.latest if latest is None else latest, work.options, beyond)

    def find(self, window: Window, *, soonest: bool = False) -> Found | None:
        """Return the best (or the soonest to end) for which there is room."""
        work, grid = window.work, self.grid
        if not work.job.interruptible:
            found = Runs(grid, [window], self.prices).best_with_room(0, self.room, soonest=soonest)
            return None if found is None else (found[0], (found[1],))
        if work.plain:
            return Fills(grid, [window], self.prices).best_with_room(0, self.room, soonest=soonest)
        if not work.job.restart_s > 0 and not work.job.least_run_s > 0:
            if soonest:
                return soonest_elastic(grid, window, self.room)
            return Elastics(grid, [window], self.prices).best_with_room(0, self.room)
        return soonest_pieces.pieces(grid, window, self.room) if soonest else self._restarting(window)

    def _restarting(self, window: Window) -> Found | None:
        """Return the best pieces of work with restarts; the best run in one piece once too many have been looked at."""
        self.programs -= 1
        if self.programs < 0 and window.work.continues < 0:
            one = Runs(self.grid, [window], self.prices).best_with_room(0, self.room)
            if one is not None:
                return one[0], (one[1],)
        return Pieces(self.grid, [window], self.prices, self.room).best(0)

    def kind(self, work: Work) -> str:
        """Return how a job of a set is solved; work with restarts as one run once enough of it has been looked at."""
        which = kind(work)
        if which == "pieces":
            self.in_sets -= 1
            if self.in_sets < 0 and work.continues < 0:
                return "run"
        return which

    def retry(self, name: str) -> Found | None:
        """Return the best there is on time, beyond what is forecast and without regard to who waits if need be."""
        deadline, tried = self.works[name].deadline, None
        for latest, beyond in ((None, False), (None, True), (deadline, True)):
            window = self.window(name, latest=latest, beyond=beyond)
            if window is None:
                return None
            if tried is not None and window == tried:
                continue
            tried = window
            found = self.find(window)
            if found is None and beyond and kind(window.work) in {"pieces", "elastic"}:
                found = self.find(window, soonest=True)
            if found is not None:
                return found
        return None

    def _chunk(self, names: Sequence[str]) -> list[str]:
        """Place jobs that wait for nothing unplaced; return those that found no room on time."""
        from evenwatt_collector.plan import sets  # noqa: PLC0415 -- they build on each other

        windows = {name: window for name in names if (window := self.window(name)) is not None}
        missed = [name for name in names if name not in windows]
        finders = sets.look(self, windows)
        for name, window in windows.items():
            found, bound = finders[name](name)
            if found is None:
                missed.append(name)
            else:
                choice = self._weighed(window, found)
                choice.bound = bound
                self.put(name, choice)
        return missed

    def _weighed(self, window: Window, found: Found) -> Choice:
        """Keep to running at once where what is gained is less than what is uncertain about it."""
        if self.objective.risk > 0:
            at_once = baseline(self.grid, window.work, window.earliest)
            if (
                at_once is not None
                and at_once != found[1]
                and at_once[-1].end <= window.latest + EPS_S
                and not supported(self.grid, window.work, at_once, found[1], self.objective)
                and self.room.fits(window.work, at_once)
            ):
                return Choice(at_once, found[0], why="runs at once: what waiting gains is less than what is uncertain")
        return Choice(found[1], found[0])


def kind(work: Work) -> str:
    """Return how a job is solved: ``run``, ``fill``, ``pieces`` or ``elastic``."""
    if not work.job.interruptible:
        return "run"
    if work.plain:
        return "fill"
    return "pieces" if work.job.restart_s > 0 or work.job.least_run_s > 0 else "elastic"
