"""What must come before what: levels of jobs, cycles, and deadlines as they look from what waits. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evenwatt_collector.plan.work import Work


@dataclass(frozen=True, slots=True)
class Order:
    """Who comes after whom."""

    levels: tuple[tuple[str, ...], ...]
    """Jobs of a level wait only for jobs of levels before it. Those in ``stuck`` are in none."""
    before: Mapping[str, tuple[str, ...]]
    """What a job waits for, of what there is; a job that is not there any more has ended."""
    waiting: Mapping[str, tuple[str, ...]]
    """What waits for a job."""
    stuck: Mapping[str, str]
    """Jobs that can never start, with the reason."""
    notes: tuple[str, ...]


def order(works: Mapping[str, Work]) -> Order:
    """Sort jobs by what they wait for (Kahn's algorithm) and pass deadlines on to what must come before.

    Sets ``latest`` of each work: its own deadline, or sooner, so that what waits for it can still meet its own.
    """
    before = {
        name: tuple(other for other in dict.fromkeys(work.job.after) if other in works)
        for name, work in works.items()
        if work.job.after
    }
    waiting: dict[str, list[str]] = {}
    for name, others in before.items():
        for other in others:
            waiting.setdefault(other, []).append(name)
    left = {name: len(others) for name, others in before.items() if others}
    levels = [tuple(name for name in works if name not in left)]
    while levels[-1]:
        ready = []
        for name in levels[-1]:
            for other in waiting.get(name, ()):
                left[other] -= 1
                if not left[other]:
                    ready.append(other)
                    del left[other]
        levels.append(tuple(ready))
    levels.pop()
    stuck, notes = _stuck(left, before)
    _pass_on(works, levels, waiting)
    return Order(
        levels=tuple(levels),
        before=before,
        waiting={name: tuple(others) for name, others in waiting.items()},
        stuck=stuck,
        notes=notes,
    )


def _pass_on(works: Mapping[str, Work], levels: Sequence[Sequence[str]], waiting: Mapping[str, Sequence[str]]) -> None:
    for level in reversed(levels):
        for name in level:
            work = works[name]
            work.latest = work.deadline
            for other in waiting.get(name, ()):
                after = works[other]
                if not after.fault:
                    needed = after.shortest() * (1 + max(0.0, after.job.reserve))
                    work.latest = min(work.latest, after.latest - needed)


def _stuck(left: Mapping[str, int], before: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Name each circle once; what only waits for one says so."""
    stuck: dict[str, str] = {}
    notes: list[str] = []
    on_circle: dict[str, str] = {}
    seen: set[str] = set()
    for first in left:
        path: list[str] = []
        at = first
        while at not in seen:
            seen.add(at)
            path.append(at)
            at = next(other for other in before[at] if other in left)
        if at in path:
            circle = path[path.index(at) :]
            words = " after ".join([*circle, circle[0]])
            notes.append(f"jobs wait for each other and cannot start: {words}; leave out one of these")
            on_circle |= dict.fromkeys(circle, words)
    for name in left:
        if name in on_circle:
            stuck[name] = f"it waits for itself: {on_circle[name]}"
        else:
            at = next(other for other in before[name] if other in left)
            stuck[name] = f"it waits for {at}, which can never start"
    return stuck, tuple(notes)
