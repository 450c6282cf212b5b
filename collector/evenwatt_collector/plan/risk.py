"""Whether the forecast is sure enough of what a plan gains over running at once. Pure; numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evenwatt_collector.plan.splits import open_seconds
from evenwatt_collector.plan.work import Piece

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.problem import Floats, Objective
    from evenwatt_collector.plan.work import Work


def baseline(grid: Grid, work: Work, earliest: float | None = None) -> tuple[Piece, ...] | None:
    """Return the run that nobody planned: at once, at home, on one slot; None where it can run nowhere."""
    if work.pinned is not None:
        return (work.pinned,)
    if not work.options or work.fault:
        return None
    home = grid.index.get(work.job.home, -1)
    option = next((option for option in work.options if option.place == home), work.options[0])
    start = (work.earliest if earliest is None else earliest) + option.transfer_s
    return (Piece(option.place, start, start + work.length(option), 1, option.watts),)


def supported(grid: Grid, work: Work, left: Iterable[Piece], taken: Iterable[Piece], objective: Objective) -> bool:
    """Whether moving gains grams even where the forecast errs against it.

    What is left counts with its lower quantile, what is moved to with its upper one, each as far as ``risk`` says;
    where both use the same slot, its error is the same for both and falls out.
    """
    return gain(grid, work, left, taken, objective) > 0


def gain(grid: Grid, work: Work, left: Iterable[Piece], taken: Iterable[Piece], objective: Objective) -> float:
    """Return grams that moving gains, at the least, as far as ``risk`` asks for."""
    risk = min(1.0, max(0.0, objective.risk))
    price = grid.price / objective.price_per_g if objective.price_per_g > 0 else 0.0
    leaving = grid.median - risk * (grid.median - grid.low) + price
    taking = grid.median + risk * (grid.high - grid.median) + price
    difference = joules(grid, work, left) - joules(grid, work, taken)
    return float((np.maximum(difference, 0.0) * leaving).sum() + (np.minimum(difference, 0.0) * taking).sum())


def joules(grid: Grid, work: Work, parts: Iterable[Piece]) -> Floats:
    """Return joules at the plug of pieces, (place, slot + 1), the transfer to the first of them included."""
    found: Floats = np.zeros_like(grid.median)
    options = {option.place: option for option in work.options}
    for i, piece in enumerate(parts):
        option = options[piece.place]
        seconds = open_seconds(grid, np.array([max(piece.start, grid.now)]), np.array([piece.end]))[0]
        found[piece.place] += seconds * piece.watts
        if i == 0:
            found[piece.place, grid.first_slot(piece.start)] += option.transfer_j
    return found
