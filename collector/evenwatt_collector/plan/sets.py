"""Jobs looked at together, in arrays; each finds its best place in what room there is when its turn comes. Pure."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from evenwatt_collector.plan.elastic import MOST_WIDE, Elastics
from evenwatt_collector.plan.pieces import Pieces
from evenwatt_collector.plan.runs import Runs
from evenwatt_collector.plan.splits import Fills

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evenwatt_collector.plan.placing import Found, Placer
    from evenwatt_collector.plan.windows import Window

    Finder = Callable[[str], tuple[Found | None, float]]


def look(placer: Placer, windows: dict[str, Window]) -> dict[str, Finder]:
    """Return for each job what finds its best with what room there is then, and its weight without."""
    kinds: dict[str, list[str]] = {"run": [], "fill": [], "pieces": [], "elastic": []}
    for name, window in windows.items():
        which = placer.kind(window.work)
        if which == "elastic" and len(window.work.speedup) > MOST_WIDE:
            which = "alone"
        kinds.setdefault(which, []).append(name)
    makers = {"run": _runs, "fill": _fills, "pieces": _pieces, "elastic": _elastic, "alone": _alone}
    found: dict[str, Finder] = {}
    for which, names in kinds.items():
        if names:
            found |= dict.fromkeys(names, makers[which](placer, names, [windows[name] for name in names]))
    return found


def _runs(placer: Placer, names: Sequence[str], windows: Sequence[Window]) -> Finder:
    runs, at = Runs(placer.grid, windows, placer.prices), {name: j for j, name in enumerate(names)}
    best = list(zip(*runs.best(), strict=True))

    def find(name: str) -> tuple[Found | None, float]:
        cost, row, column = best[at[name]]
        piece = runs.piece(row, column) if cost < inf else None
        if piece is None:
            return None, cost
        if not placer.hurry and placer.room.fits(placer.works[name], (piece,)):
            return (cost, (piece,)), cost
        one = runs.best_with_room(at[name], placer.room, soonest=placer.hurry)
        return (None if one is None else (one[0], (one[1],))), cost

    return find


def _fills(placer: Placer, names: Sequence[str], windows: Sequence[Window]) -> Finder:
    fills, at = Fills(placer.grid, windows, placer.prices), {name: j for j, name in enumerate(names)}
    best = list(zip(*fills.best(), strict=True))

    def find(name: str) -> tuple[Found | None, float]:
        cost, row = best[at[name]]
        found = (cost, fills.pieces(row)) if cost < inf else None
        if found is None or (not placer.hurry and placer.room.fits(placer.works[name], found[1])):
            return found, cost
        return fills.best_with_room(at[name], placer.room, soonest=placer.hurry), cost

    return find


def _pieces(placer: Placer, names: Sequence[str], windows: Sequence[Window]) -> Finder:
    split = dict(zip(names, Pieces(placer.grid, windows, placer.prices, placer.room).by_job(), strict=True))
    own = dict(zip(names, windows, strict=True))

    def find(name: str) -> tuple[Found | None, float]:
        found = split[name]
        fits = found is None or placer.room.fits(placer.works[name], found[1])
        return (found if fits and not placer.hurry else placer.find(own[name], soonest=placer.hurry)), inf

    return find


def _elastic(placer: Placer, names: Sequence[str], windows: Sequence[Window]) -> Finder:
    elastic, at = Elastics(placer.grid, windows, placer.prices), {name: j for j, name in enumerate(names)}
    alone = _alone(placer, names, windows)

    def find(name: str) -> tuple[Found | None, float]:
        return alone(name) if placer.hurry else (elastic.best_with_room(at[name], placer.room), inf)

    return find


def _alone(placer: Placer, names: Sequence[str], windows: Sequence[Window]) -> Finder:
    own = dict(zip(names, windows, strict=True))

    def find(name: str) -> tuple[Found | None, float]:
        return placer.find(own[name], soonest=placer.hurry), inf

    return find
