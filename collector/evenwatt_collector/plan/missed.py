"""What found no room in time: moved room for, where that can help, and else planned as soon as possible. Pure.

All of it is bounded by counted effort, whatever is asked: what provably cannot be on time (``overload``), what is like
something that failed, and what comes after the effort is spent makes nobody move.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from evenwatt_collector.plan import making_room
from evenwatt_collector.plan.choice import Choice
from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.overload import Overload
from evenwatt_collector.plan.placing import CHUNK, kind
from evenwatt_collector.plan.runs import Runs
from evenwatt_collector.plan.splits import Fills, open_seconds

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from evenwatt_collector.plan.placing import Found, Placer
    from evenwatt_collector.plan.windows import Window
    from evenwatt_collector.plan.work import Work


def settle_missed(placer: Placer, names: Sequence[str]) -> list[str]:
    """Place jobs that found no room on time; return those that are late."""
    if not names:
        return []
    late: list[str] = []
    demand = _demand(placer)
    failed: set[Hashable] = set()
    for i in range(0, len(names), CHUNK):
        some = names[i : i + CHUNK]
        might = _might_fit(placer, some)
        for name in some:
            work = placer.works[name]
            if name in might and _retried(placer, name):
                demand.add(work)
                continue
            alike = _alike(placer, name)
            if alike in failed:
                late.append(name)
            elif demand.proven(work):
                placer.proven.add(name)
                late.append(name)
            elif making_room.for_job(placer, name) or (_hurried(placer, name) and making_room.for_job(placer, name)):
                demand.add(work)
            else:
                failed.add(alike)
                late.append(name)
    return _as_soon_as_possible(placer, late)


def _demand(placer: Placer) -> Overload:
    """Return room by interval beside all that is on time."""
    demand = Overload(placer.grid, placer.works.values(), placer.fixed)
    for name, choice in placer.choices.items():
        if choice.pieces and placer.movable(name):
            demand.add(placer.works[name])
    return demand


def _alike(placer: Placer, name: str) -> Hashable:
    """Return the same for jobs that ask for the same."""
    work, job = placer.works[name], placer.works[name].job
    return (work.earliest, work.latest, work.deadline, job.length_s, work.options, job.slots, work.speedup,
            job.interruptible, job.restart_s, job.least_run_s, placer.order.before.get(name))  # fmt: skip


def _might_fit(placer: Placer, names: Sequence[str]) -> set[str]:
    """Return those for which there may be room before their deadline: enough free time, in one stretch if need be."""
    grid, found = placer.grid, set[str]()
    windows = [(name, placer.window(name, latest=placer.works[name].deadline, beyond=True)) for name in names]
    rows = [(name, window, option) for name, window in windows if window is not None for option in window.options]
    if not rows:
        return found
    low = np.array([window.earliest + option.transfer_s for _, window, option in rows])
    high = np.array([window.latest for _, window, _ in rows])
    place = np.array([option.place for _, _, option in rows], dtype=np.int64)
    slots = np.array([window.work.job.slots for _, window, _ in rows], dtype=np.float64)
    watts = np.array([option.watts for _, _, option in rows], dtype=np.float64)
    need = np.array([window.work.length(option, len(window.work.speedup)) for _, window, option in rows])
    whole = np.array([not window.work.job.interruptible for _, window, _ in rows])
    blocked = placer.room.blocked_rows(place, slots, watts)
    together = np.where(blocked, 0.0, open_seconds(grid, low, high)).cumsum(axis=1)
    stretch = (together - np.maximum.accumulate(np.where(blocked, together, 0.0), axis=1)).max(axis=1)
    enough = np.where(whole, stretch, together[:, -1]) + EPS_S >= need
    return {rows[i][0] for i in np.flatnonzero(enough).tolist()}


def _retried(placer: Placer, name: str) -> bool:
    found = placer.retry(name)
    if found is not None:
        placer.put(name, Choice(found[1], found[0]))
    return found is not None


def _hurried(placer: Placer, name: str) -> bool:
    """Let what a job waits for end as soon as it can; whether that changed anything."""
    sooner = False
    for other in placer.order.before.get(name, ()):
        choice, work = placer.choices.get(other), placer.works[other]
        if choice is None or not choice.pieces or work.pinned is not None or not placer.spend(making_room.A_FIND):
            continue
        placer.lift(other)
        window = placer.window(other)
        found = None if window is None else placer.find(window._replace(beyond=True), soonest=True)
        if found is not None and found[1][-1].end < choice.pieces[-1].end - EPS_S:
            choice, sooner = Choice(found[1], found[0]), True
        placer.put(other, choice)
    return sooner


def _as_soon_as_possible(placer: Placer, names: Sequence[str]) -> list[str]:
    """Place what cannot be on time, so that it ends soonest; return who is late in the end."""
    late: list[str] = []
    for i in range(0, len(names), CHUNK):
        windows: dict[str, Window] = {}
        for name in names[i : i + CHUNK]:
            window = placer.window(name, latest=inf, beyond=True)
            if window is None:
                others = placer.order.before[name]
                missing = next(o for o in others if o not in placer.choices or not placer.choices[o].pieces)
                placer.put(name, Choice((), inf, late=True, why=f"it waits for {missing}, which cannot be placed"))
            else:
                windows[name] = window
        runs = [name for name in windows if kind(placer.works[name]) == "run"]
        fills = [name for name in windows if kind(placer.works[name]) == "fill"]
        at = {name: j for some in (runs, fills) for j, name in enumerate(some)}
        all_runs = Runs(placer.grid, [windows[name] for name in runs])
        all_fills = Fills(placer.grid, [windows[name] for name in fills])
        for name, window in windows.items():
            found: Found | None
            if kind(window.work) == "run":
                one = all_runs.best_with_room(at[name], placer.room, soonest=True)
                found = None if one is None else (one[0], (one[1],))
            elif kind(window.work) == "fill":
                found = all_fills.best_with_room(at[name], placer.room, soonest=True)
            else:
                found = placer.find(window, soonest=True)
            _put_late(placer, name, window, found)
        late += [name for name in names[i : i + CHUNK] if placer.choices[name].late]
    return late


def _put_late(placer: Placer, name: str, window: Window, found: Found | None) -> None:
    work = placer.works[name]
    if found is None:
        why = "there is never room for it: it needs more than any place that it allows has free"
        placer.put(name, Choice((), inf, late=True, why=why))
    else:
        late = found[1][-1].end > work.deadline + EPS_S
        placer.put(name, Choice(found[1], found[0], late=late, why=_why_late(work, window) if late else ""))


def _why_late(work: Work, window: Window) -> str:
    """Say why a deadline is missed."""
    shortest, deadline = work.shortest(), work.deadline
    if work.earliest + shortest > deadline + EPS_S:
        left = deadline - work.earliest
        return f"late: it takes {shortest / 3600:.2f} h at the least and there are {max(0.0, left) / 3600:.2f} h"
    if window.earliest + shortest > deadline + EPS_S:
        return "late: what it waits for ends too late"
    return "late: there is no room for it before its deadline"
