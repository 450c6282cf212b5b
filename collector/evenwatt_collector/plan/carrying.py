"""The plan of before, as far as it still holds. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.placing import Choice
from evenwatt_collector.plan.work import Piece

if TYPE_CHECKING:
    from evenwatt_collector.plan.placing import Placer
    from evenwatt_collector.plan.problem import Plan, Planned
    from evenwatt_collector.plan.work import Work


def carried(placer: Placer, before: Plan) -> None:
    """Put down what was planned before and still holds, as far as there is room."""
    for level in placer.order.levels:
        for name in level:
            planned = before.jobs.get(name)
            if name in placer.choices or planned is None or not planned.segments:
                continue
            pieces = still(placer, name, planned)
            if pieces is not None and placer.room.fits(placer.works[name], pieces):
                late = pieces[-1].end > placer.works[name].deadline + EPS_S
                placer.put(name, Choice(pieces, 0.0, late=late, why=planned.why))


def still(placer: Placer, name: str, planned: Planned) -> tuple[Piece, ...] | None:
    """Return what is left of a job's segments; None if they do not fit what is left of the job any more."""
    work, grid = placer.works[name], placer.grid
    pieces = []
    for segment in planned.segments:
        place = grid.index.get(segment.place, -1)
        start, end = segment.start_s - grid.start_s, segment.end_s - grid.start_s
        if end <= grid.now + EPS_S:
            continue
        pieces.append(Piece(place, max(start, grid.now), end, segment.width))
    window = placer.window(name)
    if not pieces or window is None or pieces[-1].end > work.deadline + EPS_S and not planned.late:
        return None
    option = next((option for option in work.options if option.place == pieces[0].place), None)
    begun = planned.segments[0].start_s - grid.start_s < grid.now - EPS_S
    if option is None or any(piece.width > len(work.speedup) or piece.place != option.place for piece in pieces):
        return None
    if begun and work.continues != option.place:
        return None  # it should run by now and does not
    if pieces[0].start < window.earliest + (0.0 if begun else option.transfer_s) - EPS_S:
        return None
    return tuple(pieces) if abs(_lacking(work, pieces, option.speed)) <= 1.0 + EPS_S else None


def _lacking(work: Work, pieces: list[Piece], speed: float) -> float:
    """Return seconds of work that pieces lack."""
    done = sum((piece.end - piece.start) * work.speedup[piece.width - 1] for piece in pieces) * speed
    restarts = len(pieces) - 1 if work.job.restart_s > 0 else 0
    return work.job.length_s + restarts * max(0.0, work.job.restart_s) * speed - done
