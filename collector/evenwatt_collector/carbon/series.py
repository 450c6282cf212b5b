"""Carbon intensity as a time series with provenance, and what of it was known when. Pure; numpy.

A :class:`Reading` is one statement: this source said then that the grid had so much over this interval. Nothing is ever
overwritten: a correction is a new reading, and *as known at T* is what the readings recorded up to T come to
(bitemporal: ``start_s``/``end_s`` is valid time, ``recorded_s`` transaction time).

Where several readings speak of one moment, this order decides: what has happened (measured or estimated) over a
forecast, a forecast over a fallback; then the source that stands first in the grid's chain; then the one that the
source issued last; then the one recorded last. Average and marginal intensities are two series and are never mixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_G_PER_KWH: Final = 5_000.0
"""A grid of lignite alone, in poor plants, would emit less than 2,000 g/kWh (IPCC AR5 WGIII annex III: coal 820 at the
median, 910 at the most); more than this is a wrong unit, not a reading."""


class Kind(StrEnum):
    """What the number is an average over."""

    AVERAGE = "average"
    """All generation of the interval."""
    MARGINAL = "marginal"
    """The plants that would answer one more kilowatt-hour."""


class Basis(StrEnum):
    """Which emissions are counted."""

    LIFECYCLE = "lifecycle"
    DIRECT = "direct"


class Standing(StrEnum):
    """How the number is known."""

    MEASURED = "measured"
    ESTIMATED = "estimated"
    FORECAST = "forecast"
    FALLBACK = "fallback"
    """A long-term average, because nothing was known of the interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One statement about a grid's intensity over an interval."""

    grid: str
    """The grid's name in the settings, e.g. ``DE`` or ``US-CAL-CISO``."""
    start_s: int
    """Unix time; the interval is [start, end)."""
    end_s: int
    g_per_kwh: float
    kind: Kind
    basis: Basis
    source: str
    """Who said so, e.g. ``electricity-maps``; stable, since the chain's order is by this name."""
    standing: Standing
    issued_s: int
    """When the source says it made the statement."""
    recorded_s: int
    """When this collector heard it."""

    def fault(self) -> str | None:
        """Return what is wrong with it: found and expected; None when it can be used."""
        if not (isfinite(self.g_per_kwh) and 0 <= self.g_per_kwh <= MOST_G_PER_KWH):
            return f"{self.g_per_kwh:g} g/kWh, expected 0 to {MOST_G_PER_KWH:g}"
        if self.end_s <= self.start_s:
            return f"an interval from {self.start_s} to {self.end_s}, expected an end after its start"
        if self.standing in {Standing.MEASURED, Standing.ESTIMATED} and self.end_s > self.recorded_s + _FUTURE_S:
            return f"a {self.standing} value for a time that is still {self.end_s - self.recorded_s} s ahead"
        return None


_FUTURE_S: Final = 2 * 3600
"""A provider's value for the hour that is running ends up to an hour ahead; clocks may differ by some more."""

_RANK: Final = {Standing.MEASURED: 2, Standing.ESTIMATED: 2, Standing.FORECAST: 1, Standing.FALLBACK: 0}


@dataclass(frozen=True, slots=True)
class Steps:
    """A series as it stands: constant between ``edges``.

    ``edges`` has one more than ``g_per_kwh`` and ``which``; ``which`` is the index of the reading in ``readings`` that
    decided a stretch, or -1 where nothing is known (``g_per_kwh`` is NaN there).
    """

    edges: Floats
    g_per_kwh: Floats
    which: NDArray[np.int64]
    readings: tuple[Reading, ...]

    def at(self, wall_s: float) -> Reading | None:
        """Return the reading that holds at a moment; None where there is none or beyond the ends."""
        if not len(self.which) or not self.edges[0] <= wall_s < self.edges[-1]:
            return None
        i = int(self.which[int(np.searchsorted(self.edges, wall_s, side="right")) - 1])
        return self.readings[i] if i >= 0 else None


def resolve(
    readings: Iterable[Reading],
    start_s: float,
    end_s: float,
    *,
    order: Sequence[str] = (),
    known_at_s: float | None = None,
) -> Steps:
    """Return what readings of one grid and kind come to over [start_s, end_s).

    Args:
        readings: Of one grid and one kind, in any order; faulty ones must not be among them.
        start_s: Unix time.
        end_s: Unix time.
        order: Sources, the most trusted first; others come after these, by name.
        known_at_s: Only what had been recorded by then counts; None: everything.

    Raises:
        ValueError: the readings are of several grids or kinds.
    """
    places = {source: len(order) - i for i, source in enumerate(order)}
    used = [
        reading
        for reading in readings
        if reading.end_s > start_s
        and reading.start_s < end_s
        and (known_at_s is None or reading.recorded_s <= known_at_s)
    ]
    if len({(reading.grid, reading.kind) for reading in used}) > 1:
        raise ValueError("readings of several grids or kinds cannot make one series")
    used.sort(key=lambda r: (_RANK[r.standing], places.get(r.source, 0), r.issued_s, r.recorded_s, r.source))
    starts = np.clip(np.array([r.start_s for r in used], dtype=np.float64), start_s, end_s)
    ends = np.clip(np.array([r.end_s for r in used], dtype=np.float64), start_s, end_s)
    edges = np.unique(np.concatenate((starts, ends, [start_s, end_s])))
    which = np.full(len(edges) - 1, -1, dtype=np.int64)
    firsts, lasts = np.searchsorted(edges, starts), np.searchsorted(edges, ends)
    for i, (first, last) in enumerate(zip(firsts.tolist(), lasts.tolist(), strict=True)):
        which[first:last] = i  # later ones rank higher and paint over
    values = np.array([r.g_per_kwh for r in used] or [np.nan])
    return Steps(edges, np.where(which >= 0, values[which], np.nan), which, tuple(used))


def slot_means(edges: Floats, values: Floats, slots_s: Floats) -> Floats:
    """Return the time-weighted mean of a step function over each slot; NaN where any of a slot is unknown.

    Args:
        edges: Where the function changes, one more than ``values``.
        values: Between the edges.
        slots_s: The slots' edges, ascending.
    """
    cuts = np.unique(np.concatenate((slots_s, edges)))
    cuts = cuts[(cuts >= slots_s[0]) & (cuts <= slots_s[-1])]
    at = np.searchsorted(edges, cuts[:-1], side="right") - 1
    known = (at >= 0) & (at < len(values))
    found = np.where(known, values[np.clip(at, 0, len(values) - 1)], np.nan)
    widths, first = np.diff(cuts), np.searchsorted(cuts, slots_s[:-1])
    single = np.diff(np.append(first, len(widths))) == 1
    weighted = np.add.reduceat(found * widths, first) / np.diff(slots_s)
    means: Floats = np.where(single, found[first], weighted)  # a value that holds throughout stays itself
    return means
