"""How far a job has come. Pure.

Where the job says how much work there is, and its runs count it, that decides; else time does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evenwatt_wire.jobs import RunState

if TYPE_CHECKING:
    from evenwatt_collector.jobs.model import JobRecord, Run

_LEAST_LEFT: Final = 0.02
"""A job that goes on beyond its stated length is taken to have so much left: nobody knows."""
_TRACE_S: Final = 60.0
_TRACE_POINTS: Final = 512


def run_s(record: JobRecord, run: Run) -> float:
    """Return the work that a run has done, in seconds at full power on one slot."""
    work = record.spec.work
    counted = run.units.get(work.unit, 0.0) if work else 0.0
    if work is not None and counted > 0:
        return record.length_s * min(1.0, counted / work.amount)
    return run.duration_s


def kept_s(record: JobRecord, run: Run) -> float:
    """Return the work that stays done after a run has ended."""
    if run.state is RunState.ENDED:
        return record.length_s
    return run_s(record, run) if run.state is RunState.STOPPED and run.kept else 0.0


def left_s(record: JobRecord) -> float:
    """Return the work that is left, in seconds at full power on one slot."""
    going_s = sum(run_s(record, run) for run in record.runs if run.ended_s is None)
    least_s = 0.0 if not record.open else _LEAST_LEFT * record.length_s
    return max(least_s, record.length_s - record.done_s - going_s)


def done_share(record: JobRecord) -> float:
    """Return how much of it is done, 0 to 1; what a run has not saved counts while it runs."""
    if record.length_s <= 0:
        return 0.0
    if record.state == "done":
        return 1.0
    return min(1.0, max(0.0, 1.0 - left_s(record) / record.length_s))


def energy_j(record: JobRecord) -> float:
    """Return what all runs have used, those that failed too."""
    return sum(run.energy_j for run in record.runs)


def units(record: JobRecord) -> dict[str, float]:
    """Return the work that all runs have counted, by unit."""
    found: dict[str, float] = {}
    for run in record.runs:
        for unit, amount in run.units.items():
            found[unit] = found.get(unit, 0.0) + amount
    return found


def grams(record: JobRecord) -> float:
    """Return what all runs have emitted, those that failed too."""
    return sum(run.grams for run in record.runs)


def trace(run: Run, now_s: float) -> None:
    """Note how many joules a run has used by now: a point a minute, fewer of a long run, and always the latest."""
    points = run.trace
    if not points:
        points.append((run.started_s if run.started_s is not None else now_s, 0.0))
    if len(points) > 1 and now_s - points[-2][0] < _TRACE_S:
        points[-1] = (now_s, run.energy_j)
    else:
        points.append((now_s, run.energy_j))
    if len(points) > _TRACE_POINTS:
        run.trace = [points[0], *points[1:-1:2], points[-1]]
