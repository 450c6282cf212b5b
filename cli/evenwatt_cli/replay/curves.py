"""Speed under a cap, from a table of power-limit sweeps: one curve for each kind of job in it.

The shape is that of the Zeus sweeps (You et al., NSDI 2023): a row for each job and limit, with the time an epoch took
and the power it drew. A job's uncapped power and pace are those at its highest limit; a point of its curve is
(limit / uncapped power, uncapped time / time). Runs that draw less than 80 % of their highest limit hardly feel a cap
and are left out, unless a kind has no others.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from evenwatt_cli.replay.tables import read_table
from evenwatt_daemon import Failure
from evenwatt_twin.speed import check_curve

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from evenwatt_cli.replay.tables import CsvTable
    from evenwatt_twin.speed import SpeedCurve

JOB: Final = ("dataset", "network", "batch_size", "optimizer")
FIGURES: Final = ("power_limit", "time_per_epoch", "average_power")
FEELS: Final = 0.80
_FOOT: Final = (0.20, 0.0)
"""What is left at a fifth of the power is idle power, which does no work (as in the twin's curve)."""
_GRID: Final = 0.05


@dataclass(frozen=True, slots=True)
class _Sweep:
    """One job at all its limits: (limit W, seconds per epoch, drawn W)."""

    rows: tuple[tuple[float, float, float], ...]

    @property
    def feels(self) -> bool:
        """Whether caps bite."""
        limit_w, _, drawn_w = self.rows[-1]
        return drawn_w >= FEELS * limit_w

    def points(self) -> list[tuple[float, float]]:
        """Return (power share, speed) for each limit below the uncapped power."""
        _, best_s, drawn_w = self.rows[-1]
        return [(limit_w / drawn_w, min(1.0, best_s / time_s)) for limit_w, time_s, _ in self.rows if limit_w < drawn_w]


def read_curves(path: Path) -> list[SpeedCurve]:
    """Return the curves of a table's kinds of jobs (data set and network), in the order of their names.

    Raises:
        Failure: a column is missing, a cell is no number, or no job was run at two limits that bind.
    """
    table = read_table(path)
    missing = [name for name in (*JOB, *FIGURES) if name not in table.columns]
    if missing:
        raise Failure(
            f"{path}, line 1: no column {', '.join(missing)}; found {', '.join(table.columns)}; "
            f"expected {', '.join((*JOB, *FIGURES))}"
        )
    curves = []
    for sweeps in _kinds(table).values():
        biting = [sweep for sweep in sweeps if sweep.feels] or sweeps
        points = [point for sweep in biting for point in sweep.points()]
        if points:
            curves.append(_curve(points))
    if not curves:
        raise Failure(f"{path}: no job was run at two power limits of which one binds; a curve needs such a sweep")
    return curves


def _kinds(table: CsvTable) -> dict[tuple[str, str], list[_Sweep]]:
    """Return the sweeps of each kind; a job that was run twice at a limit counts with its quicker run."""
    jobs: dict[tuple[str, ...], dict[float, tuple[float, float]]] = defaultdict(dict)
    names = zip(*(table.text(column) for column in JOB), strict=True)
    figures = zip(*(table.numbers(column, least=1e-9) for column in FIGURES), strict=True)
    for job, (limit_w, time_s, drawn_w) in zip(names, figures, strict=True):
        jobs[job][limit_w] = min(jobs[job].get(limit_w, (time_s, drawn_w)), (time_s, drawn_w))
    kinds: dict[tuple[str, str], list[_Sweep]] = defaultdict(list)
    for job, by_limit in sorted(jobs.items()):
        if len(by_limit) >= 2:
            rows = tuple((limit_w, *by_limit[limit_w]) for limit_w in sorted(by_limit))
            kinds[job[0], job[1]].append(_Sweep(rows))
    return dict(sorted(kinds.items()))


def _curve(points: Iterable[tuple[float, float]]) -> SpeedCurve:
    """Return the medians of points on a grid of shares, from no work at the foot to full pace at full power."""
    cells: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for share, speed in points:
        cells[round(share / _GRID)].append((share, speed))
    knots = [_FOOT]
    for cell in sorted(cells):
        share = median(point[0] for point in cells[cell])
        speed = median(point[1] for point in cells[cell])
        if knots[-1][0] < share < 1.0:
            knots.append((share, max(speed, knots[-1][1])))
    curve = (*knots, (1.0, 1.0))
    check_curve(curve)
    return curve
