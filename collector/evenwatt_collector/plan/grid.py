"""The arrays that planning reads: what a joule weighs at each place in each slot, and what room there is. Pure; numpy.

Times are seconds from the start of the clock. After the last slot comes one more, without end: nobody said anything
about it, so a joule weighs there what it weighs on average in what was said, and its room is not known to be limited.
Numbers that cannot be (NaN, negative, missing) are replaced by what is stated in ``notes``, never by zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.plan.problem import J_PER_KWH, Clock, Floats, Objective, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_collector.plan.problem import Problem

    Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

ASSUMED_G_PER_KWH: Final = 480.0
"""Where no intensity is known at all: about the world's average of recent years (Ember, via the packaged table)."""

EPS_S: Final = 1e-6
"""Two moments so near are one: Unix seconds have no more digits than that."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Places by slots; the last column is what comes after the last slot."""

    start_s: float
    now: float
    slot_s: float
    slots: int
    names: tuple[str, ...]
    index: Mapping[str, int]
    median: Floats
    """(place, slot + 1), grams a joule at the plug: PUE included."""
    low: Floats
    high: Floats
    price: Floats
    """Currency a joule at the plug."""
    weight: Floats
    """What decides, in grams: risk and price included."""
    pue: Floats
    room_slots: Floats
    """(place, slot + 1); infinite without a limit."""
    room_w: Floats
    known_end: Floats
    """(place,)"""
    notes: tuple[str, ...]

    @property
    def end(self) -> float:
        """Where what was said ends."""
        return self.slots * self.slot_s

    @property
    def edges(self) -> Floats:
        """Starts of all slots and of what comes after: (slot + 1,)."""
        edges: Floats = np.arange(self.slots + 1, dtype=np.float64) * self.slot_s
        return edges

    def cumulated(self, values: Floats) -> Floats:
        """Return what has come together by each edge, (place, slot + 1), of values a second."""
        before: Floats = np.zeros(values.shape)
        np.cumsum(values[:, :-1] * self.slot_s, axis=1, out=before[:, 1:])
        return before

    def until(self, values: Floats, cumulated: Floats, place: Ints, moment: Floats) -> Floats:
        """Return the integral of values from 0 to some moments, at some places (index arrays that fit each other)."""
        at = np.clip((moment / self.slot_s).astype(np.int64), 0, self.slots)
        part: Floats = cumulated[place, at] + values[place, at] * (moment - at * self.slot_s)
        return part

    def same_room(self, other: Grid) -> bool:
        """Whether another has as much room everywhere."""
        return np.array_equal(self.room_slots, other.room_slots) and np.array_equal(self.room_w, other.room_w)

    def first_slot(self, moment: float) -> int:
        """Return the slot that holds a moment."""
        return min(self.slots, max(0, int((moment + EPS_S) // self.slot_s)))

    def end_slot(self, moment: float) -> int:
        """Return the slot after the last one that is touched until a moment."""
        return min(self.slots + 1, max(0, -int(-(moment - EPS_S) // self.slot_s)))


def make(problem: Problem) -> Grid:
    """Return the arrays of a problem.

    Raises:
        ValueError: the clock has no slots, or no length of one.
    """
    clock = problem.clock
    if clock.slots < 1 or not clock.slot_s > 0 or not np.isfinite([clock.start_s, clock.slot_s, clock.now_s]).all():
        raise ValueError(f"a clock of {clock.slots} slots of {clock.slot_s} s, expected at least one, longer than 0 s")
    notes: list[str] = []
    read = [_read(clock, place, notes) for place in problem.places.values()]
    _fill_unknown(read, list(problem.places), notes)
    names = tuple(problem.places)

    def stacked(field: int) -> Floats:
        shape = (len(names), clock.slots + 1)
        return np.array([row[field] for row in read], dtype=np.float64).reshape(shape)

    pue = np.array([_pue(place, notes) for place in problem.places.values()], dtype=np.float64)
    per_j = pue[:, None] / J_PER_KWH
    median, low, high = (stacked(field) * per_j for field in range(3))
    price = stacked(3) * per_j
    return Grid(
        start_s=clock.start_s,
        now=max(0.0, clock.now_s - clock.start_s),
        slot_s=clock.slot_s,
        slots=clock.slots,
        names=names,
        index={name: i for i, name in enumerate(names)},
        median=median,
        low=low,
        high=high,
        price=price,
        weight=_weights(median, high, price, problem.objective),
        pue=pue,
        room_slots=stacked(4),
        room_w=stacked(5),
        known_end=np.array([min(row[6], clock.slots) * clock.slot_s for row in read], dtype=np.float64),
        notes=tuple(notes),
    )


def _weights(median: Floats, high: Floats, price: Floats, objective: Objective) -> Floats:
    risk = min(1.0, max(0.0, objective.risk))
    weight: Floats = median + risk * (high - median)
    if objective.price_per_g > 0:
        weight = weight + price / objective.price_per_g
    return weight


Row = tuple[Floats, Floats, Floats, Floats, Floats, Floats, int]


def _read(clock: Clock, place: Place, notes: list[str]) -> Row:
    """Return median, low, high, price, room in slots and in watts, each one longer than the clock; known slots."""
    median, missing, negative = _series(place.intensity_g_per_kwh, clock.slots)
    known = max(0, min(place.known_slots, clock.slots))
    if negative:
        notes.append(f"{place.name}: {negative} slots have an intensity below 0; counted as 0 g/kWh")
    if missing and missing < clock.slots:
        gap = int(np.flatnonzero(np.isnan(median))[0])
        known = min(known, gap)
        median = np.where(np.isnan(median), np.nanmean(median), median)
        notes.append(
            f"{place.name}: {missing} of {clock.slots} slots have no intensity; the mean of the others stands for them"
        )
    if known < clock.slots:
        notes.append(
            f"{place.name}: the forecast ends {known * clock.slot_s / 3600:g} h after the plan begins; work moves "
            "beyond it only if it has to"
        )
    low, high = (_series(values, clock.slots)[0] for values in (place.low_g_per_kwh, place.high_g_per_kwh))
    low, high = np.fmin(low, median), np.fmax(high, median)  # what is not known of them is the median
    slots_free, power_w = (_room(values, clock.slots) for values in (place.slots_free, place.power_free_w))
    if place.price_per_kwh is None:
        price: Floats = np.zeros(clock.slots)
    else:
        price = _finite(np.asarray(place.price_per_kwh, dtype=np.float64), clock.slots)
        known_price = price[~np.isnan(price)]
        price = np.where(np.isnan(price), known_price.mean() if len(known_price) else 0.0, price)
    with_mean = [np.append(values, values.mean()) for values in (median, low, high, price)]
    return (*with_mean, np.append(slots_free, np.inf), np.append(power_w, np.inf), known)  # type: ignore[return-value]


def _fill_unknown(read: list[Row], names: list[str], notes: list[str]) -> None:
    """A place of which nothing is known weighs as much as the worst slot of the others: it is never chosen for that."""
    unknown = [i for i, row in enumerate(read) if np.isnan(row[0]).all()]
    worst = max((float(row[0].max()) for i, row in enumerate(read) if i not in unknown), default=0.0)
    for i in unknown:
        value = worst or ASSUMED_G_PER_KWH
        flat = np.full(len(read[i][0]), value)
        read[i] = (flat, flat, flat, *read[i][3:6], 0)
        notes.append(f"{names[i]}: no intensity is known; {value:.0f} g/kWh is assumed throughout")


def _series(values: Floats, slots: int) -> tuple[Floats, int, int]:
    """Return values of the clock's length, how many are missing, how many were negative."""
    row = _finite(np.asarray(values, dtype=np.float64), slots)
    negative = int(np.count_nonzero(row < 0))
    return np.where(row < 0, 0.0, row), int(np.count_nonzero(np.isnan(row))), negative


def _finite(values: Floats, slots: int) -> Floats:
    row: Floats = np.full(slots, np.nan)
    flat = values.ravel()[:slots]
    row[: len(flat)] = np.where(np.isfinite(flat), flat, np.nan)
    return row


def _room(values: Floats | None, slots: int) -> Floats:
    """Return what is free; what is not a number is no room."""
    if values is None:
        return np.full(slots, np.inf)
    row: Floats = np.zeros(slots)
    flat: Floats = np.asarray(values, dtype=np.float64).ravel()[:slots]
    row[: len(flat)] = np.where(np.isnan(flat), 0.0, np.maximum(flat, 0.0))
    return row


def _pue(place: Place, notes: list[str]) -> float:
    if np.isfinite(place.pue) and place.pue >= 1:
        return place.pue
    notes.append(f"{place.name}: a PUE of {place.pue}, expected 1 or more; counted as 1")
    return 1.0
