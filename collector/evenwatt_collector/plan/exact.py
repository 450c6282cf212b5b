"""Small sets of jobs that compete for room, or have restarts: exactly, as a mixed-integer program. Pure but for HiGHS.

For each job and place a binary says whether it runs there; for work in one piece it chooses a start (of the same
candidates as ``runs``), for work in pieces there are seconds, a binary for each slot touched, and one for each restart.
Room is what slots and watts are taken of it, by the rule of ``room``. HiGHS solves it (Huangfu and Hall, Math. Prog.
Comp. 10, 2018). Without the library, or where it finds nothing in time, the plan is the one that was placed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evenwatt_collector.plan.choice import Choice
from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.missed import settle_missed
from evenwatt_collector.plan.placing import Placer, kind
from evenwatt_collector.plan.runs import Runs
from evenwatt_collector.plan.splits import WHENEVER_S, Fills, laid

if TYPE_CHECKING:
    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.windows import Window
    from evenwatt_collector.plan.work import Piece

_MOST_JOBS: Final = 24
_MOST_COLUMNS: Final = 12_000
_MOST_SECONDS: Final = 2.0
_GAP: Final = 1e-5
_HALF: Final = 0.5

_BLUR: Final = 4e-6
"""Of a length: binaries are whole within 1e-6, so seconds are known no better."""

Demand = dict[tuple[int, int], list[tuple[int, float, float]]]
"""By place and slot: columns, with the job slots and watts that each takes if it is chosen."""


@dataclass(slots=True)
class _Model:
    """Columns and rows as HiGHS takes them."""

    cost: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    rows: list[tuple[float, float, dict[int, float]]] = field(default_factory=list)

    def column(self, cost: float, upper: float, *, whole: bool) -> int:
        """Add one from 0 on."""
        self.cost.append(cost)
        self.upper.append(upper)
        self.whole.append(whole)
        return len(self.cost) - 1

    def row(self, low: float, high: float, values: dict[int, float]) -> None:
        """Add low <= sum of values <= high."""
        self.rows.append((low, high, values))

    def solved(self) -> list[float] | None:
        """Return values of all columns; None without the library or an answer."""
        try:
            import highspy  # noqa: PLC0415 -- loaded by whom it helps, and nobody has to have it
        except ImportError:
            return None
        solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
        for name, value in (("output_flag", False), ("time_limit", _MOST_SECONDS), ("mip_rel_gap", _GAP),
                            ("threads", 1), ("random_seed", 1)):  # fmt: skip
            solver.setOptionValue(name, value)
        count = len(self.cost)
        numbers = np.arange(count, dtype=np.int32)
        solver.addVars(count, np.zeros(count), np.array(self.upper))
        solver.changeColsCost(count, numbers, np.array(self.cost))
        solver.changeColsIntegrality(count, numbers, np.array(self.whole, dtype=np.uint8))
        starts, indices, values = [0], list[int](), list[float]()
        for _, _, row in self.rows:
            indices += row.keys()
            values += row.values()
            starts.append(len(indices))
        solver.addRows(len(self.rows), np.array([row[0] for row in self.rows]), np.array([row[1] for row in self.rows]),
                       len(indices), np.array(starts[:-1], dtype=np.int32), np.array(indices, dtype=np.int32),
                       np.array(values, dtype=np.float64))  # fmt: skip
        solver.run()
        status = solver.getModelStatus()
        usable = status == highspy.HighsModelStatus.kOptimal
        found: list[float] = list(solver.getSolution().col_value)
        return found if usable and len(found) == count else None


def solve(placer: Placer) -> Placer | None:
    """Return a plan in which all that can be chosen together is; None where there is too much, or no answer.

    Where a plan has work that is late for want of room, as little of it is late as can be, by priority.
    """
    names = [name for name, choice in placer.choices.items()
             if placer.works[name].pinned is None and not placer.works[name].fault and choice.pieces]  # fmt: skip
    if not _small(placer, names):
        return None
    other = Placer(placer.grid, placer.works, placer.order, placer.objective)
    other.settle()
    too_late = [name for name in names if not _can_be_on_time(placer, name)]
    late_g = _late_g(placer, names) if any(placer.choices[name].late for name in names if name not in too_late) else 0.0
    model, parts = _Model(), []
    demand: Demand = {}
    for name in names:
        if name in too_late:
            continue
        hurry = {"latest": placer.works[name].deadline, "beyond": True} if late_g else {}
        window = other.window(name, **hurry)  # type: ignore[arg-type]
        if window is None or len(model.cost) > _MOST_COLUMNS:
            return None
        late = model.column(late_g * (1 + max(0, window.work.job.priority)), 1.0, whole=True) if late_g else -1
        of_kind = _Run if kind(window.work) == "run" else _Split
        parts.append((name, late, of_kind(other.grid, window, model, demand, late)))
    _limit(model, other, demand)
    values = model.solved() if parts else None
    if values is None:
        return None
    for name, late, part in parts:
        if late >= 0 and values[late] > _HALF:
            too_late.append(name)
            continue
        cost, pieces = part.read(values)
        if not pieces or not other.room.fits(other.works[name], pieces):
            return None
        other.put(name, Choice(pieces, cost))
    if late_g and not too_late:  # all can be on time: now what weighs least
        return solve(other) or other
    settle_missed(other, too_late)
    return other


def _can_be_on_time(placer: Placer, name: str) -> bool:
    work = placer.works[name]
    return not placer.choices[name].late or work.earliest + work.shortest() <= work.deadline


def _late_g(placer: Placer, names: list[str]) -> float:
    """Return what being late weighs: more than all together could, anywhere."""
    grid, works = placer.grid, [placer.works[name] for name in names]
    joules = sum(max(work.length(option) * option.watts + option.transfer_j for option in work.options)
                 for work in works)  # fmt: skip
    return 2.0 * joules * float(grid.weight.max()) + 1.0


def _small(placer: Placer, names: list[str]) -> bool:
    """Whether a set is one that this can and should solve: none waits for another."""
    works = [placer.works[name] for name in names]
    return (
        0 < len(names) <= _MOST_JOBS
        and not placer.order.before
        and not any(kind(work) == "elastic" or (len(work.speedup) > 1 and kind(work) != "run") for work in works)
    )


def _limit(model: _Model, placer: Placer, demand: Demand) -> None:
    """Add a row for each slot in which more could be taken than is free."""
    for (place, t), uses in demand.items():
        for free, index in ((float(placer.room.slots[place, t]), 1), (float(placer.room.watts[place, t]), 2)):
            values: dict[int, float] = {}
            for use in uses:
                values[use[0]] = values.get(use[0], 0.0) + use[index]
            if sum(values.values()) > free:
                model.row(-np.inf, free, values)


class _Run:
    """Work in one piece: a binary for each start of each place and width."""

    def __init__(self, grid: Grid, window: Window, model: _Model,
                 demand: Demand, late: int) -> None:  # fmt: skip
        self._runs = runs = Runs(grid, [window])
        self._columns: dict[int, tuple[int, int]] = {}
        for row, at in np.argwhere(np.isfinite(runs.cost)).tolist():
            column = model.column(float(runs.cost[row, at]), 1.0, whole=True)
            self._columns[column] = row, at
            piece = runs.piece(row, at)
            for t in range(grid.first_slot(piece.start), min(grid.slots, grid.end_slot(piece.end))):
                demand.setdefault((piece.place, t), []).append((column, float(runs.slots[row]), piece.watts))
        model.row(1.0, 1.0, dict.fromkeys([*self._columns, *([late] if late >= 0 else [])], 1.0))

    def read(self, values: list[float]) -> tuple[float, tuple[Piece, ...]]:
        """Return weight and piece."""
        column = max(self._columns, key=values.__getitem__, default=None)
        if column is None:
            return 0.0, ()
        row, at = self._columns[column]
        return float(self._runs.cost[row, at]), (self._runs.piece(row, at),)


class _Split:
    """Work in pieces, of one width: seconds and a binary for each slot, a binary for each piece."""

    def __init__(self, grid: Grid, window: Window, model: _Model,
                 demand: Demand, late: int) -> None:  # fmt: skip
        self._grid = grid
        self._fills = fills = Fills(grid, [window])
        job = window.work.job
        restart = max(0.0, job.restart_s)
        self._rows: list[tuple[int, int, list[int]]] = []
        for row in range(len(fills.owner)):
            here = model.column(0.0, 1.0, whole=True)
            seconds: list[int] = []
            touched: list[int] = []
            begins: list[int] = []
            place = int(fills.place[row])
            balance: dict[int, float] = {}
            for t in range(grid.slots + 1):
                open_s = min(float(fills.open_s[row, t]), float(fills.length[row]) + 2 * restart, WHENEVER_S)
                x = model.column(float(fills.rate[row, t]), open_s, whole=False)
                z = model.column(0.0, 1.0 if open_s > EPS_S else 0.0, whole=True)
                model.row(-np.inf, 0.0, {x: 1.0, z: -open_s})
                model.row(-np.inf, 0.0, {z: 1.0, here: -1.0})
                seconds.append(x)
                touched.append(z)
                balance[x] = 1.0
                if t < grid.slots:
                    demand.setdefault((place, t), []).append((z, job.slots, float(fills.watts[row])))
                if restart or job.least_run_s > 0:
                    begins.append(self._begin(model, touched, seconds, restart, balance))
            going = window.work.continues == place and window.earliest <= grid.now + EPS_S
            free = restart if window.work.continues < 0 or going else 0.0
            if going and begins and window.work.continues >= 0:
                self._first_is_free(model, touched, begins, balance, restart)
                free = 0.0
            balance[here] = -(float(fills.length[row]) - free)
            model.row(0.0, 0.0, balance)
            if restart or job.least_run_s > 0:
                self._least(model, touched, begins, max(0.0, job.least_run_s))
            self._rows.append((here, row, seconds))
        here_or_late = [*(here for here, _, _ in self._rows), *([late] if late >= 0 else [])]
        model.row(1.0, 1.0, dict.fromkeys(here_or_late, 1.0))

    def _begin(self, model: _Model, touched: list[int], seconds: list[int], restart: float,
               balance: dict[int, float]) -> int:  # fmt: skip
        """Add whether a piece begins in the last slot; the slot before it, if it lies within, must be full."""
        s = model.column(0.0, 1.0, whole=True)
        t = len(touched) - 1
        values = {touched[t]: 1.0, s: -1.0}
        if t:
            values[touched[t - 1]] = -1.0
        model.row(-np.inf, 0.0, values)
        balance[s] = -restart
        if t > 1:
            full = model.upper[seconds[t - 1]]
            model.row(-2 * full, np.inf, {seconds[t - 1]: 1.0, touched[t]: -full, touched[t - 1]: -full,
                                          touched[t - 2]: -full})  # fmt: skip
        return s

    def _first_is_free(self, model: _Model, touched: list[int], begins: list[int], balance: dict[int, float],
                       restart: float) -> None:  # fmt: skip
        """What runs goes on without a restart if it does so at once."""
        first = next(t for t, z in enumerate(touched) if model.upper[z] > 0)
        balance[begins[first]] = balance.get(begins[first], 0.0) + restart

    def _least(self, model: _Model, touched: list[int], begins: list[int], least: float) -> None:
        """A piece lasts so many slots, as ``pieces`` counts them."""
        steps = int(np.ceil(least / self._grid.slot_s - EPS_S)) if least else 1
        for t, s in enumerate(begins):
            for later in range(t + 1, min(t + steps, len(touched))):
                model.row(-np.inf, 0.0, {s: 1.0, touched[later]: -1.0})

    def read(self, values: list[float]) -> tuple[float, tuple[Piece, ...]]:
        """Return weight and pieces."""
        _, row, columns = max(self._rows, key=lambda one: values[one[0]])
        used = np.array([values[column] for column in columns])
        fills, work = self._fills, self._fills.windows[0].work
        length = float(fills.length[row])
        used[used < max(EPS_S, _BLUR * length)] = 0.0
        cost = float(used @ fills.rate[row])
        watts = float(fills.watts[row])
        low, high = float(fills.low[row]), float(fills.high[row])
        pieces = laid(self._grid, int(fills.place[row]), used, low, high, 1, watts)
        if pieces and work.continues < 0:  # by its tolerance, or where a joule weighs nothing
            lacks = length + max(0.0, work.job.restart_s) * (len(pieces) - 1) - sum(p.end - p.start for p in pieces)
            last = pieces[-1]
            if last.start - last.end < lacks <= 1.0:
                pieces = (*pieces[:-1], last._replace(end=last.end + lacks))
        return cost, pieces
