"""Room for a job that would be late, made by moving jobs that can still be on time elsewhere. Pure."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from evenwatt_collector.plan.choice import Choice
from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.windows import Window

if TYPE_CHECKING:
    from evenwatt_collector.plan.placing import Placer
    from evenwatt_collector.plan.work import Piece, Work

_MOST_MOVED: Final = 24
_MOST_TRIES: Final = 6

A_FIND: Final = 300
"""Steps of effort that looking for a place of one job takes, about."""

_A_LOOK: Final = 6
"""Steps for a job in the way, the first time; one each time that the best of them is looked for."""


def for_job(placer: Placer, name: str) -> bool:
    """Place a job on time by moving others, none of which becomes late by it; whether that went well.

    Tried are the soonest ends that an empty fleet would allow, at each place. Moved are jobs in the way that do not run
    yet and for which nobody waits, those with the most time left first. Jobs of a higher priority move only if they
    stay on time, as all do. Nothing is tried once the effort is spent.
    """
    work = placer.works[name]
    if work.earliest + work.shortest() > work.deadline + EPS_S or placer.effort < 0:
        return False
    return any(_tried(placer, name, wanted) for wanted in _wanted(placer, name))


def _wanted(placer: Placer, name: str) -> list[tuple[float, tuple[Piece, ...]]]:
    """Return where it would be on time if nobody else were there but what cannot move."""
    window = placer.window(name, latest=placer.works[name].deadline, beyond=True)
    if window is None:
        return []
    full, found = placer.room, []
    placer.room = placer.fixed
    for option in window.options:
        alone = Window(window.work, window.earliest, window.latest, (option,), beyond=True)
        for soonest in (False, True):
            one = placer.find(alone, soonest=soonest) if placer.spend(A_FIND) else None
            if one is not None and one not in found:
                found.append(one)
    placer.room = full
    return sorted(found, key=lambda one: one[0])[:_MOST_TRIES]


def _tried(placer: Placer, name: str, wanted: tuple[float, tuple[Piece, ...]]) -> bool:
    """Lift as few as it takes, those first that free most of what is missing and have most time."""
    work = placer.works[name]
    missing = _missing(placer, work, wanted[1])
    others = [other for other in placer.in_slots(missing) if placer.movable(other)]
    if not placer.spend(A_FIND + _A_LOOK * len(others)):
        return False
    in_way = {other: _slots(placer, placer.choices[other].pieces, missing) for other in others}
    slack = {other: _slack(placer, other) for other in others}
    lifted: dict[str, Choice] = {}
    while missing and in_way and len(lifted) < _MOST_MOVED and placer.spend(len(in_way)):
        other = max(in_way, key=lambda one: (len(in_way[one] & missing), slack[one]))
        del in_way[other]
        lifted[other] = placer.lift(other)
        missing = _missing(placer, work, wanted[1])
    if placer.room.fits(work, wanted[1]):
        placer.put(name, Choice(wanted[1], wanted[0]))
        if _replaced(placer, lifted):
            return True
        placer.lift(name)
    for other, choice in lifted.items():
        placer.put(other, choice)
    return False


def _missing(placer: Placer, work: Work, pieces: tuple[Piece, ...]) -> set[tuple[int, int]]:
    """Return (place, slot) where there is too little room for pieces."""
    found: set[tuple[int, int]] = set()
    for piece in pieces:
        blocked = placer.room.blocked(piece.place, work.job.slots * piece.width, piece.watts)
        span = range(placer.grid.first_slot(piece.start), placer.grid.end_slot(piece.end))
        found |= {(piece.place, t) for t in span if blocked[t]}
    return found


def _slots(placer: Placer, pieces: tuple[Piece, ...], among: set[tuple[int, int]]) -> set[tuple[int, int]]:
    grid = placer.grid
    return {
        (piece.place, t)
        for piece in pieces
        for t in range(grid.first_slot(piece.start), grid.end_slot(piece.end))
        if (piece.place, t) in among
    }


def _replaced(placer: Placer, lifted: dict[str, Choice]) -> bool:
    """Place all that was lifted again, on time; nothing is changed if that fails."""
    placed: list[str] = []
    for other in sorted(lifted, key=placer.urgency):
        found = placer.retry(other) if placer.spend(A_FIND) else None
        if found is None:
            for done in placed:
                placer.lift(done)
            return False
        placer.put(other, Choice(found[1], found[0]))
        placed.append(other)
    return True


def _slack(placer: Placer, name: str) -> float:
    work = placer.works[name]
    return min(1e12, work.latest) - work.earliest - work.shortest() if work.latest < inf else 1e12
