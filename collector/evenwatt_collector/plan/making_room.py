"""Room for a job that would be late, made by moving jobs that can still be on time elsewhere. Pure."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.placing import Choice
from evenwatt_collector.plan.room import Room

if TYPE_CHECKING:
    from evenwatt_collector.plan.placing import Placer
    from evenwatt_collector.plan.work import Piece

_MOST_MOVED: Final = 24
_MOST_TRIES: Final = 6


def for_job(placer: Placer, name: str) -> bool:
    """Place a job on time by moving others, none of which becomes late by it; whether that went well.

    Tried are the soonest ends that an empty fleet would allow, at each place. Moved are jobs in the way that do not run
    yet and for which nobody waits, those with the most time left first. Jobs of a higher priority move only if they
    stay on time, as all do.
    """
    work = placer.works[name]
    if work.earliest + work.shortest() > work.deadline + EPS_S:
        return False
    for wanted in _wanted(placer, name):
        if _tried(placer, name, wanted):
            return True
    return False


def _wanted(placer: Placer, name: str) -> list[tuple[float, tuple[Piece, ...]]]:
    """Return where it would be on time if nobody else were there but what cannot move."""
    from evenwatt_collector.plan.windows import Window  # noqa: PLC0415

    window = placer.window(name, latest=placer.works[name].deadline, beyond=True)
    if window is None:
        return []
    full, found = placer.room, []
    placer.room = _empty(placer)
    for option in window.options:
        alone = Window(window.work, window.earliest, window.latest, (option,), beyond=True)
        for soonest in (False, True):
            one = placer.find(alone, soonest=soonest)
            if one is not None and one not in found:
                found.append(one)
    placer.room = full
    return sorted(found, key=lambda one: one[0])[:_MOST_TRIES]


def _empty(placer: Placer) -> Room:
    room = Room(placer.grid)
    for name, choice in placer.choices.items():
        if not _movable(placer, name):
            room.take(placer.works[name], choice.pieces)
    return room


def _movable(placer: Placer, name: str) -> bool:
    choice, work = placer.choices[name], placer.works[name]
    return (
        bool(choice.pieces)
        and work.pinned is None
        and work.continues < 0
        and name not in placer.order.waiting
        and not choice.late
    )


def _tried(placer: Placer, name: str, wanted: tuple[float, tuple[Piece, ...]]) -> bool:
    work = placer.works[name]
    spans = [(piece.place, piece.start, piece.end) for piece in wanted[1]]
    in_way = [
        other for other, choice in placer.choices.items() if _touch(placer, choice, spans) and _movable(placer, other)
    ]
    in_way.sort(key=lambda other: (placer.works[other].job.priority, -_slack(placer, other)))
    lifted: dict[str, Choice] = {}
    for other in in_way[:_MOST_MOVED]:
        if placer.room.fits(work, wanted[1]):
            break
        lifted[other] = placer.lift(other)
    if placer.room.fits(work, wanted[1]):
        placer.put(name, Choice(wanted[1], wanted[0]))
        if _replaced(placer, lifted):
            return True
        placer.lift(name)
    for other, choice in lifted.items():
        placer.put(other, choice)
    return False


def _replaced(placer: Placer, lifted: dict[str, Choice]) -> bool:
    """Place all that was lifted again, on time; nothing is changed if that fails."""
    placed: list[str] = []
    for other in sorted(lifted, key=placer.urgency):
        found = placer.retry(other)
        if found is None:
            for done in placed:
                placer.lift(done)
            return False
        placer.put(other, Choice(found[1], found[0]))
        placed.append(other)
    return True


def _touch(placer: Placer, choice: Choice, spans: list[tuple[int, float, float]]) -> bool:
    slot_s = placer.grid.slot_s
    return any(
        piece.place == place and piece.start < end + slot_s and piece.end > start - slot_s
        for piece in choice.pieces
        for place, start, end in spans
    )


def _slack(placer: Placer, name: str) -> float:
    work = placer.works[name]
    return min(1e12, work.latest) - work.earliest - work.shortest() if work.latest < inf else 1e12
