"""Joules per hour, slot by slot, in three cuts: by node, by label in a zone, by owner on a node.

Rows of the hours at hand are kept in memory and written whole, so that a record costs additions and one write a row.
An hour is closed ten minutes after its end. What comes later is kept apart, under the moment at which it was settled,
so that it can always be told what was known when.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Final

from evenwatt_collector.carbon.shares import HOUR_S, interval_ms, shares, spans
from evenwatt_wire import Quality

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evenwatt_collector.carbon.shares import Owner, Share, Span
    from evenwatt_collector.storage.connection import Connection
    from evenwatt_wire import Ledger

NODE, LABEL, OWNER = 1, 2, 3
"""The cuts."""

CLOSED_AFTER_S: Final = 600
DAY_HOURS: Final = 24

LATE: Final = -1
"""Stands for the moment of the next settling."""

Key = tuple[int, int, int, int, int, int]
"""cut, hour, zone, node, owner, recorded_ms; 0 for all nodes or owners."""

_ROWS_KEPT: Final = 400_000
_FIELDS: Final = "energy_j, gpu_j, integrated_j, estimated_j, unknown_j, covered_s, slots"
_COLUMNS: Final = f"cut, hour, zone, node, owner, recorded_ms, {_FIELDS}"
_PUT: Final = (
    f"INSERT INTO hour ({_COLUMNS}) VALUES ({', '.join('?' * 13)}) "
    "ON CONFLICT (cut, zone, hour, node, owner, recorded_ms) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _FIELDS.split(", "))
)


def recorded_ms(hour: int, arrived_ms: int) -> int:
    """Return under which moment energy is kept that arrived then: 0 while the hour is open, else ``LATE``."""
    return 0 if arrived_ms <= ((hour + 1) * HOUR_S + CLOSED_AFTER_S) * 1000 else LATE


@dataclass(slots=True)
class HourRow:
    """One row while it is added to."""

    slots: array[float]
    """Dynamic energy of each slot, then idle energy of each."""
    gpu_j: float = 0.0
    integrated_j: float = 0.0
    estimated_j: float = 0.0
    unknown_j: float = 0.0
    covered_s: float = 0.0
    changed: bool = False
    """Since it was written."""


@dataclass(frozen=True, slots=True)
class Use:
    """What one record says, ready to be booked."""

    zone: int
    node: int
    spans: list[Span]
    length_s: float
    quality: Quality
    shares: Sequence[tuple[int, int, Share]]
    """Owner and label by number, and the share."""


def use_of(
    record: Ledger, place: tuple[int, int], number: Callable[[Owner], tuple[int, int]], slots: int, arrived_ms: int
) -> tuple[Use, int, int]:
    """Return what a record says, ready to be booked, and from when to when it reaches (Unix ms).

    Args:
        record: As received.
        place: Numbers of its zone and node.
        number: Returns an owner's number and its label's.
        slots: An hour's.
        arrived_ms: When it arrived, Unix ms.
    """
    start_ms, end_ms = interval_ms(record, arrived_ms)
    owned = [(*number(share.owner), share) for share in shares(record)]
    cuts = spans(start_ms, end_ms, slots)
    return Use(*place, cuts, (end_ms - start_ms) / 1e3, record.total.quality, owned), start_ms, end_ms


@dataclass(frozen=True, slots=True)
class _At:
    """Where a stretch of a record is booked."""

    zone: int
    hour: int
    recorded_ms: int


class HourBook:
    """Rows in memory."""

    def __init__(self) -> None:
        self.rows: dict[Key, HourRow] = {}
        self._changed: list[Key] = []
        self.slots: dict[int, int] = {}
        """Slots an hour, by zone; a row keeps the number it was made with."""

    def book(self, use: Use, arrived_ms: int) -> None:
        """Add a record's energy to its hours; it arrived then."""
        left, last = 1.0, len(use.spans) - 1
        for n, span in enumerate(use.spans):
            at = _At(use.zone, span.hour, recorded_ms(span.hour, arrived_ms))
            # At the last it is what is left, so that the spans sum to the share.
            self._book_span(use, span, at, left if n == last else span.fraction)
            left -= span.fraction

    def _book_span(self, use: Use, span: Span, at: _At, fraction: float) -> None:
        whole = self._row((NODE, at.hour, at.zone, use.node, 0, at.recorded_ms))
        whole.covered_s += use.length_s * span.fraction
        all_dynamic_j = all_idle_j = all_gpu_j = 0.0
        quality = None if use.quality is Quality.MEASURED else use.quality
        for owner, label, share in use.shares:
            dynamic_j, idle_j, gpu_j = share.dynamic_j * fraction, share.idle_j * fraction, share.gpu_j * fraction
            all_dynamic_j += dynamic_j
            all_idle_j += idle_j
            all_gpu_j += gpu_j
            for key in (
                (LABEL, at.hour, at.zone, 0, label, at.recorded_ms),
                (OWNER, at.hour, at.zone, use.node, owner, at.recorded_ms),
            ):
                _add(self._row(key), span.slot, dynamic_j, idle_j, gpu_j, quality)
        _add(whole, span.slot, all_dynamic_j, all_idle_j, all_gpu_j, quality)

    def slots_of(self, zone: int) -> int:
        """Return how many slots an hour of a zone has."""
        return self.slots.get(zone, DEFAULT_SLOTS)

    def _row(self, key: Key) -> HourRow:
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = self._made(key, self.slots_of(key[2]))
        if not row.changed:
            row.changed = True
            self._changed.append(key)
        return row

    def _made(self, _key: Key, slots: int) -> HourRow:
        return HourRow(array("d", bytes(16 * slots)))


class Hours(HourBook):
    """The rows of one writer, which stand in the database."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self._new_hours: dict[tuple[int, int], bool] = {}
        """By zone and hour: whether there was no row on the disk when this writer first met it."""

    def flush(self, mark_ms: int) -> None:
        """Write what has changed, within the caller's transaction; late energy is recorded as of ``mark_ms``."""
        self._changed.sort(key=lambda key: (key[0], key[2], key[1], *key[3:]))
        self._connection.many(_PUT, (_values(_dated(key, mark_ms), self.rows[key]) for key in self._changed))
        days = {(key[1] // DAY_HOURS, key[2]) for key in self._changed if key[0] == NODE}
        self._connection.many(
            "INSERT INTO day_state (day, zone, rolled_ms, stale) VALUES (?, ?, 0, 1) "
            "ON CONFLICT (day, zone) DO UPDATE SET stale = 1",
            sorted(days),
        )
        for key in self._changed:
            if key[5] == LATE:
                del self.rows[key]  # what comes next is recorded later
        self._changed.clear()
        if len(self.rows) > _ROWS_KEPT:
            self._evict()

    def _evict(self) -> None:
        """Keep the latest two hours only, if that is enough."""
        newest = max(key[1] for key in self.rows)
        self.rows = {key: row for key, row in self.rows.items() if key[1] >= newest - 1}
        if len(self.rows) > _ROWS_KEPT:
            self.rows.clear()
        self._new_hours = {place: False for place in self._new_hours if place[1] >= newest - 1}

    def hours_changed(self) -> set[int]:
        """Return the hours that the next flush will write."""
        return {key[1] for key in self._changed}

    def forget(self) -> None:
        """The transaction was rolled back: read again what is on the disk."""
        self.rows.clear()
        self._changed.clear()
        self._new_hours.clear()

    def _made(self, key: Key, slots: int) -> HourRow:
        known = None if key[5] == LATE or self._is_new(key[2], key[1]) else self._load(key, slots)
        return known or super()._made(key, slots)

    def _is_new(self, zone: int, hour: int) -> bool:
        new = self._new_hours.get((zone, hour))
        if new is None:
            found = self._connection.rows(
                "SELECT 1 FROM hour WHERE cut = ? AND zone = ? AND hour = ? LIMIT 1", (NODE, zone, hour)
            )
            new = self._new_hours[zone, hour] = not found
        return new

    def _load(self, key: Key, slots: int) -> HourRow | None:
        rows = self._connection.rows(
            f"SELECT {_FIELDS} FROM hour WHERE cut = ? AND hour = ? AND zone = ? AND node = ? AND owner = ? "
            "AND recorded_ms = ?",
            key,
        )
        if not rows:
            return None
        _, *figures, blob = rows[0]
        return HourRow(_resampled(array("d", bytes(blob)), slots), *figures)


DEFAULT_SLOTS: Final = 12
"""Five minutes: the finest that any provider of intensities gives."""
MOST_SLOTS: Final = 60
"""Every resolution divides this."""


def _resampled(slots: array[float], wanted: int) -> array[float]:
    """Return slots at another resolution, for an hour in which the zone's was changed; power is even within a slot."""
    have = len(slots) // 2
    if have == wanted:
        return slots
    fine, copies, each = array("d"), MOST_SLOTS // have, MOST_SLOTS // wanted
    for value in slots:
        fine.extend([value / copies] * copies)
    return array("d", (sum(fine[i : i + each]) for i in range(0, len(fine), each)))


def _add(row: HourRow, slot: int, dynamic_j: float, idle_j: float, gpu_j: float, quality: Quality | None) -> None:
    slots = row.slots
    slots[slot] += dynamic_j
    if idle_j:
        slots[len(slots) // 2 + slot] += idle_j
    if gpu_j:
        row.gpu_j += gpu_j
    if quality is None:  # measured, as nearly everything is
        return
    if quality is Quality.INTEGRATED:
        row.integrated_j += dynamic_j + idle_j
    elif quality is Quality.ESTIMATED:
        row.estimated_j += dynamic_j + idle_j
    else:
        row.unknown_j += dynamic_j + idle_j


def _dated(key: Key, mark_ms: int) -> Key:
    return (*key[:5], mark_ms) if key[5] == LATE else key


def _values(key: Key, row: HourRow) -> tuple[object, ...]:
    row.changed = False
    return (
        *key, fsum(row.slots), row.gpu_j, row.integrated_j, row.estimated_j, row.unknown_j, row.covered_s,
        row.slots.tobytes(),
    )  # fmt: skip
