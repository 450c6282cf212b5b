"""Jobs that would weigh so much less elsewhere that moving them is worth it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.plan.choice import Choice
from evenwatt_collector.plan.elastic import MOST_WIDE, Elastics
from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.pieces import Pieces
from evenwatt_collector.plan.placing import CHUNK
from evenwatt_collector.plan.risk import gain
from evenwatt_collector.plan.runs import Runs
from evenwatt_collector.plan.splits import Fills

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.plan.keeping import Changes
    from evenwatt_collector.plan.placing import Found, Placer
    from evenwatt_collector.plan.windows import Window
    from evenwatt_collector.plan.work import Piece

_MOST_TRIED: Final = 300
"""Where there is little room, few of those that would gain can: so many are tried, those that would gain most first."""

_MOST_TRIED_BY_CHANCE: Final = 64
"""The same where only the room that somebody left is new."""

_MOST_DEARER: Final = 1200
"""Jobs looked at when a forecast is new: those whose plan got dearer most."""

_MOST_IN_TURN: Final = 600
"""And of the others so many, the next ones the next time: all have been looked at after some forecasts."""

_HAIR: Final = 1e-3
"""Of what a job weighs: less is not worth the time of looking."""

_FEW: Final = 2000
"""Jobs: in so few, each is tried that could gain if it were alone."""

Finder = Callable[[], "Found | None"]


def improve(placer: Placer, changes: Changes) -> set[str]:
    """Move jobs for more than ``least_gain`` of their grams; return those that moved."""
    least_gain = placer.objective.least_gain
    if changes.weights or changes.clock:
        names, most = _in_turn(placer), _MOST_TRIED
    else:
        names = [name for name in changes.jobs | changes.begun if _movable(placer, name) and _carried(placer, name)]
        most = len(names) + _MOST_TRIED_BY_CHANCE
        if changes.gone or changes.jobs:
            could = [(choice.cost - choice.bound, name) for name, choice in placer.choices.items()
                     if choice.cost > choice.bound * (1 + least_gain) and name not in changes.jobs
                     and _movable(placer, name)]  # fmt: skip
            names += [name for _, name in sorted(could, reverse=True)[:_MOST_TRIED_BY_CHANCE]]
    gains = _gains(placer, names, least_gain)
    return {name for _, name, finder in gains[:most] if _moved(placer, name, finder, least_gain)}


def _in_turn(placer: Placer) -> list[str]:
    """Return all jobs that can move; of many, those whose plan got dearer most, and some of the others in turn."""
    names = [name for name in placer.choices if _movable(placer, name)]
    if len(names) <= _MOST_DEARER + _MOST_IN_TURN:
        return names
    now = weights(placer, names)
    rise = {name: weighs - placer.choices[name].cost for name, weighs in zip(names, now, strict=True)}
    first = sorted(names, key=rise.__getitem__, reverse=True)[:_MOST_DEARER]
    taken = set(first)
    others = [name for name in names if name not in taken]
    start = placer.turn % len(others)
    placer.turn = start + _MOST_IN_TURN
    return first + (others + others)[start : start + _MOST_IN_TURN]


def settle_better(placer: Placer, most: int) -> int:
    """Move jobs that weigh less elsewhere, in a plan that nobody has seen yet; return how many of them moved."""
    names = [name for name in placer.choices if _movable(placer, name)]
    gains = _gains(placer, names, _HAIR)
    return sum(_moved(placer, name, finder, _HAIR) for _, name, finder in gains[:most])


def _gains(placer: Placer, names: Sequence[str], least_gain: float) -> list[tuple[float, str, Finder]]:
    """Return who would gain so much by what room there is now, those first that would gain most.

    In large sets the room that a job has itself is not counted as free: few would gain by that alone.
    """
    alone = len(names) <= _FEW or placer.room.unlimited
    gains: list[tuple[float, str, Finder]] = []
    now = weights(placer, names)
    for i in range(0, len(names), CHUNK):
        some = names[i : i + CHUNK]
        best = _bounds(placer, some, alone=alone)
        for name, weighs in zip(some, now[i : i + CHUNK], strict=True):
            choice, (bound, could_weigh, finder) = placer.choices[name], best[name]
            choice.cost, choice.bound = weighs, bound
            if could_weigh < weighs * (1 - least_gain) - 1e-9:
                gains.append((weighs - could_weigh, name, partial(_found, *finder)))
    gains.sort(key=lambda one: -one[0])
    return gains


def _found(placer: Placer, some: Runs | Fills | Elastics | Window | None, j: int) -> Found | None:
    """Return the best with what room there is then."""
    if isinstance(some, Fills | Elastics):
        return some.best_with_room(j, placer.room)
    if isinstance(some, Runs):
        one = some.best_with_room(j, placer.room)
        return None if one is None else (one[0], (one[1],))
    return None if some is None else placer.find(some)


def _moved(placer: Placer, name: str, finder: Finder, least_gain: float) -> bool:
    """Move one job if what there is room for is worth it."""
    before = placer.lift(name)
    found = finder()
    work, objective = placer.works[name], placer.objective
    if (
        found is None
        or found[0] >= before.cost * (1 - least_gain)
        or not _in_time(placer, name, found[1])
        or (objective.risk > 0 and gain(placer.grid, work, before.pieces, found[1], objective) <= 0)
    ):
        placer.put(name, before)
        return False
    placer.put(name, Choice(found[1], found[0], bound=before.bound))
    return True


def _in_time(placer: Placer, name: str, pieces: Sequence[Piece]) -> bool:
    """Whether what waits for it is not pushed, and what it waits for has ended: both may have moved meanwhile."""
    for other in placer.order.waiting.get(name, ()):
        choice = placer.choices.get(other)
        if choice is not None and choice.pieces and choice.pieces[0].start < pieces[-1].end - EPS_S:
            return False
    ends = [placer.choices[other].pieces[-1].end for other in placer.order.before.get(name, ())
            if placer.choices[other].pieces]  # fmt: skip
    return pieces[0].start >= max(ends, default=-inf) - EPS_S


def _movable(placer: Placer, name: str) -> bool:
    choice, work = placer.choices[name], placer.works[name]
    return bool(choice.pieces) and work.pinned is None and not choice.late


def _carried(placer: Placer, name: str) -> bool:
    return placer.choices[name].cost == -inf


def weights(placer: Placer, names: Sequence[str]) -> list[float]:
    """Return what choices weigh now, by what decides."""
    grid = placer.grid
    choices = [placer.choices[name].pieces for name in names]
    flat = [piece for parts in choices for piece in parts]
    if not flat:
        return []
    owner = np.repeat(np.arange(len(names)), [len(parts) for parts in choices])
    place = np.array([piece.place for piece in flat], dtype=np.int64)
    start = np.maximum(grid.now, np.array([piece.start for piece in flat], dtype=np.float64))
    end = np.maximum(start, np.array([piece.end for piece in flat], dtype=np.float64))
    watts = np.array([piece.watts for piece in flat], dtype=np.float64)
    together = grid.cumulated(grid.weight)
    spans = grid.until(grid.weight, together, place, end) - grid.until(grid.weight, together, place, start)
    total = np.bincount(owner, weights=spans * watts, minlength=len(names))
    for j, (name, parts) in enumerate(zip(names, choices, strict=True)):
        for option in placer.works[name].options:
            if option.transfer_j and option.place == parts[0].place:
                total[j] += option.transfer_j * float(grid.weight[option.place, grid.first_slot(parts[0].start)])
    found: list[float] = total.tolist()
    return found


Where = tuple["Placer", "Runs | Fills | Elastics | Window | None", int]


def _bounds(placer: Placer, names: Sequence[str], *, alone: bool) -> dict[str, tuple[float, float, Where]]:
    """Return what each could weigh if it were alone, what it could about weigh now, and where to look for how.

    Args:
        placer: The plan.
        names: Whose.
        alone: Whether the second is the same as the first.
    """
    found: dict[str, tuple[float, float, Where]] = {}
    kinds: dict[str, list[str]] = {"run": [], "fill": [], "pieces": [], "elastic": []}
    windows: dict[str, Window] = {}
    for name in names:
        window = placer.window(name)
        if window is None:
            found[name] = inf, inf, (placer, None, 0)
        else:
            windows[name] = window
            kinds[placer.kind(window.work)].append(name)
    runs = Runs(placer.grid, [windows[name] for name in kinds["run"]])
    fills = Fills(placer.grid, [windows[name] for name in kinds["fill"]])
    together: tuple[tuple[str, Runs | Fills], ...] = (("run", runs), ("fill", fills))
    for which, some in together:
        bounds = some.best()[0]
        now = bounds if alone else some.weights_with_room(placer.room)
        for j, (name, bound, could) in enumerate(zip(kinds[which], bounds, now, strict=True)):
            found[name] = bound, could, (placer, some, j)
    room = None if alone else placer.room
    split = Pieces(placer.grid, [windows[name] for name in kinds["pieces"]], None, room).by_job()
    wide = [name for name in kinds["elastic"] if len(placer.works[name].speedup) > MOST_WIDE]
    for name in wide:
        alone_now = placer.find(windows[name])
        weighs = inf if alone_now is None else alone_now[0]
        found[name] = weighs, weighs, (placer, windows[name], 0)
    some_wide = [name for name in kinds["elastic"] if name not in found]
    elastic = Elastics(placer.grid, [windows[name] for name in some_wide])
    for j, (name, weighs) in enumerate(zip(some_wide, elastic.best(placer.room), strict=True)):
        found[name] = weighs, weighs, (placer, elastic, j)
    for name, one in zip(kinds["pieces"], split, strict=True):
        weighs = inf if one is None else one[0]
        found[name] = weighs, weighs, (placer, windows[name], 0)
    return found
