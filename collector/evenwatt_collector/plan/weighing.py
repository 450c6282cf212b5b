"""What plans come to: grams with their interval, cost, energy. Pure; numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evenwatt_collector.plan.problem import J_PER_KWH, Planned, Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.work import Piece, Work


def planned(
    grid: Grid,
    works: Sequence[Work],
    pieces: Sequence[Sequence[Piece]],
    late: Sequence[bool],
    why: Sequence[str],
    before: Sequence[tuple[Segment, ...] | None] = (),
) -> list[Planned]:
    """Weigh what is meant for some jobs: only what is yet to come of it.

    Segments that are known ``before`` are used again.

    Uncertainty counts as if all of a job's slots erred to the same side: an upper bound of its interval.
    """
    count = len(works)
    if not len(grid.names):
        return [_nothing(work, at) for work, at in zip(works, why, strict=True)]
    owner = np.repeat(np.arange(count), [len(parts) for parts in pieces])
    flat = [piece for parts in pieces for piece in parts]
    place = np.array([piece.place for piece in flat], dtype=np.int64)
    start = np.maximum(grid.now, np.array([piece.start for piece in flat], dtype=np.float64))
    end = np.maximum(start, np.array([piece.end for piece in flat], dtype=np.float64))
    watts = np.array([piece.watts for piece in flat], dtype=np.float64)
    moved = [(j, parts[0], option.transfer_j) for j, (work, parts) in enumerate(zip(works, pieces, strict=True))
             if parts and parts[0].start >= grid.now - 1e-6 and work.pinned is None
             for option in work.options if option.transfer_j and option.place == parts[0].place]  # fmt: skip
    sums = []
    joules = np.bincount(owner, weights=watts * (end - start) * grid.pue[place], minlength=count)
    for values in (grid.median, grid.low, grid.high, grid.price):
        cumulated = grid.cumulated(values)
        spans = grid.until(values, cumulated, place, end) - grid.until(values, cumulated, place, start)
        sums.append(np.bincount(owner, weights=spans * watts, minlength=count))
    for j, piece, transfer_j in moved:
        slot = grid.first_slot(piece.start)
        joules[j] += transfer_j * grid.pue[piece.place]
        for total, values in zip(sums, (grid.median, grid.low, grid.high, grid.price), strict=True):
            total[j] += transfer_j * values[piece.place, slot]
    kept = before or [None] * count
    segments = [_segments(grid, parts) if old is None else old for parts, old in zip(pieces, kept, strict=True)]
    columns = zip(works, segments, *(total.tolist() for total in sums), (joules / J_PER_KWH).tolist(), late, why,
                  strict=True)  # fmt: skip
    return [
        Planned(job=work.job.id, segments=parts, grams=grams, low_g=low, high_g=high, cost=cost, energy_kwh=energy,
                late=is_late, why=words)
        for work, parts, grams, low, high, cost, energy, is_late, words in columns
    ]  # fmt: skip


def _segments(grid: Grid, pieces: Sequence[Piece]) -> tuple[Segment, ...]:
    names, origin = grid.names, grid.start_s
    return tuple(
        Segment(place=names[p.place], start_s=origin + p.start, end_s=origin + p.end, width=p.width) for p in pieces
    )


def _nothing(work: Work, why: str) -> Planned:
    return Planned(job=work.job.id, segments=(), grams=0.0, low_g=0.0, high_g=0.0, cost=0.0, energy_kwh=0.0,
                   late=True, why=why)  # fmt: skip
