"""Energy by hour as it was known at a moment: what hours hold, and what only the ledger holds yet.

What was known at T is: rows of hours that were closed by T; late energy recorded by T; and of hours that were open at
T, the records stored by T. The latter are read from the ledger and booked in memory, as the writer would.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evenwatt_collector.carbon.labels import LabelHistory
from evenwatt_collector.carbon.shares import HOUR_S
from evenwatt_collector.storage.hours import CLOSED_AFTER_S, DAY_HOURS, DEFAULT_SLOTS, NODE, HourBook, use_of
from evenwatt_collector.storage.memory import LABELS, recall
from evenwatt_collector.storage.names import Names
from evenwatt_collector.storage.shards import shard_of
from evenwatt_wire import Kind, Ledger, Topic, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from evenwatt_collector.carbon.labels import Labels
    from evenwatt_collector.carbon.shares import Owner
    from evenwatt_collector.storage.connection import Connection, Rows

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

SETTLED_MS: Final = 60_000
"""What was stored is in the hours after this at the latest."""
_CLOCKS_MS: Final = 600_000
"""A node's clock may be ahead by this."""
BLOCK_HOURS: Final = 7 * DAY_HOURS
"""No piece crosses the edge of such a block, so that one set of factors serves it."""
_PIECE_SLOTS: Final = 240_000
"""Slots of the rows of a piece; some 20 MB with all that is made of them."""
_AT_ONCE_MS: Final = 60_000
_Row = tuple[Any, ...]
"""hour, node, owner, slots and the scalars."""
HOUR_FIGURES: Final = 7
"""Kept of an hour when its row goes: dynamic and idle energy, and the five below."""
_SCALARS: Final = ("gpu_j", "integrated_j", "estimated_j", "unknown_j", "covered_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which rows."""

    cut: int
    zone: int
    first_hour: int
    last_hour: int
    """Not included."""
    known_at_ms: int
    node: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Rows of one zone and resolution, one a node, owner and hour (or more: late energy stands apart)."""

    hours: Ints
    nodes: Ints
    owners: Ints
    joules: Floats
    """(row, 2, slot): dynamic and idle."""
    scalars: Floats
    """(row, 5): joules by GPUs, integrated, estimated and unknown; seconds covered."""

    @property
    def slots(self) -> int:
        """Slots an hour."""
        return int(self.joules.shape[2])

    def only(self, rows: NDArray[np.bool_]) -> Energy:
        """Return some of the rows."""
        return Energy(
            hours=self.hours[rows],
            nodes=self.nodes[rows],
            owners=self.owners[rows],
            joules=self.joules[rows],
            scalars=self.scalars[rows],
        )


def fetch(connection: Connection, asked: Asked, then: Then) -> list[Energy]:
    """Return rows, by resolution."""
    # A day is compacted or not; energy that comes after that stands in hours again, until it is compacted too.
    found = [*_compacted(connection, asked), *_kept(connection, asked, then), *then.rows(asked)]
    sizes = sorted({len(row[3]) for row in found})
    if len(sizes) < 2:
        return [_columns(found, size // 16) for size in sizes]
    return [_columns([row for row in found if len(row[3]) == size], size // 16) for size in sizes]


def pieces(connection: Connection, asked: Asked, then: Then) -> list[tuple[int, int]]:
    """Return stretches of hours, [first, last), in which all rows lie: each of a bounded number of rows, or an hour."""
    most = max(1, _PIECE_SLOTS // _slots(connection, asked.zone))
    found: list[tuple[int, int]] = []
    first, rows = -1, 0
    for hour, count in _counts(connection, asked, then):
        if found and first == found[-1][0] and rows + count <= most and hour // BLOCK_HOURS == first // BLOCK_HOURS:
            found[-1], rows = (first, hour + 1), rows + count
        else:
            first, rows = hour, count
            found.append((hour, hour + 1))
    return found


def _counts(connection: Connection, asked: Asked, then: Then) -> Iterator[tuple[int, int]]:
    """Yield the hours that hold rows, in order, and about how many."""
    first, last = asked.first_hour // DAY_HOURS, (asked.last_hour - 1) // DAY_HOURS
    known = connection.rows("SELECT day FROM day_state WHERE zone = ? AND day >= ? AND day <= ?",
                            (asked.zone, first, last))  # fmt: skip
    booked = Counter(row[0] for row in then.rows(asked))
    for day in sorted({int(day) for (day,) in known} | {hour // DAY_HOURS for hour in booked}):
        hours = Counter(booked)
        edges = max(asked.first_hour, day * DAY_HOURS), min(asked.last_hour, (day + 1) * DAY_HOURS)
        hours.update(dict(_grouped(connection, asked, "hour", "hour", edges)))
        for _, rows in _grouped(connection, asked, "day_hours", "day", (day, day + 1)):
            hours.update(dict.fromkeys(range(*edges), rows))
        yield from ((hour, hours[hour]) for hour in range(*edges) if hours[hour])


def _grouped(connection: Connection, asked: Asked, table: str, unit: str, edges: tuple[int, int]) -> Rows:
    node = "" if asked.node is None else " AND node = ?"
    return connection.rows(
        f"SELECT {unit}, COUNT(*) FROM {table} WHERE cut = ? AND zone = ? AND {unit} >= ? AND {unit} < ?{node} "
        f"GROUP BY {unit}",
        (asked.cut, asked.zone, *edges, *([] if asked.node is None else [asked.node])),
    )


def _columns(rows: list[_Row], slots: int) -> Energy:
    hours, nodes, owners, blobs, *scalars = zip(*rows, strict=True)
    return Energy(
        hours=np.array(hours, dtype=np.int64),
        nodes=np.array(nodes, dtype=np.int64),
        owners=np.array(owners, dtype=np.int64),
        joules=np.frombuffer(b"".join(blobs), dtype="<f8").reshape(len(rows), 2, slots),
        scalars=np.array(scalars, dtype=np.float64).T,
    )


def _kept(connection: Connection, asked: Asked, then: Then) -> list[_Row]:
    limit = asked.last_hour if then.open_hour is None else then.open_hour
    return _rows(
        connection,
        f"SELECT hour, node, owner, slots, {', '.join(_SCALARS)} FROM hour "
        "WHERE cut = ? AND zone = ? AND hour >= ? AND hour < ? AND ((recorded_ms = 0 AND hour < ?) OR "
        "(recorded_ms > 0 AND recorded_ms <= ?))",
        (asked.cut, asked.zone, asked.first_hour, asked.last_hour, limit, asked.known_at_ms),
        asked.node,
    )


class Then:
    """What was known of a zone at a moment, and is in no hour as of then: booked in memory, once for all questions.

    Args:
        connection: To read from.
        zone: Its number.
        known_at_ms: The moment.
    """

    def __init__(self, connection: Connection, zone: int, known_at_ms: int) -> None:
        self._connection, self._zone = connection, zone
        self.known_at_ms = known_at_ms
        self.open_hour: int | None = None
        """The first hour that was still open then, if it has to be booked again from its records."""
        settled_ms = booked_ms(connection, zone)
        open_hour = ((known_at_ms - SETTLED_MS) // 1000 - CLOSED_AFTER_S) // HOUR_S
        self._open = self._late = self._all = HourBook()
        if known_at_ms < settled_ms and _minutes_reach(connection, open_hour):
            self.open_hour = open_hour
            self._open = self._book(open_hour * HOUR_S * 1000 - _CLOCKS_MS)
            sql = "SELECT COALESCE(MAX(mark_ms), 0) FROM settled WHERE zone = ? AND mark_ms <= ?"
            self._late = self._book(connection.rows(sql, (zone, known_at_ms))[0][0])
        elif known_at_ms > settled_ms:
            self._all = self._book(settled_ms)

    def rows(self, asked: Asked) -> Iterator[_Row]:
        """Yield rows."""
        if self.open_hour is not None:
            now_open = replace(asked, first_hour=max(asked.first_hour, self.open_hour))
            yield from _booked(self._open, now_open, late=False)
        yield from _booked(self._late, asked, on_time=False)
        yield from _booked(self._all, asked)

    def _book(self, after_ms: int) -> HourBook:
        """Book the zone's records that were stored later than a moment, up to ours."""
        book, names = HourBook(), Names(self._connection)
        labels = LabelHistory(recall(self._connection, LABELS, shard=shard_of(self._connection, self._zone)))
        slots = book.slots[self._zone] = _slots(self._connection, self._zone)
        for zone, name, node, stored_ms, arrived_ms, payload in self._records(after_ms):
            record = decode(Topic(zone, name, Kind.LEDGER), bytes(payload))
            if isinstance(record, Ledger):
                rules = labels.at(stored_ms)

                def number(owner: Owner, name: str = name, rules: Labels = rules) -> tuple[int, int]:
                    return names.owner(rules.apply(owner, name))

                use, _, _ = use_of(record, (self._zone, node), number, slots, arrived_ms)
                book.book(use, arrived_ms)
        return book

    def _records(self, after_ms: int) -> Iterator[tuple[Any, ...]]:
        """Yield records, some of them at a time: an hour of a large fleet is much."""
        while True:
            (first_ms,) = self._connection.rows(
                "SELECT MIN(stored_ms) FROM ledger WHERE stored_ms > ? AND stored_ms <= ?", (after_ms, self.known_at_ms)
            )[0]
            if first_ms is None:
                return
            after_ms = min(self.known_at_ms, first_ms + _AT_ONCE_MS)
            yield from self._connection.rows(
                "SELECT zone.name, node.name, node.id, ledger.stored_ms, ledger.arrived_ms, ledger.payload FROM ledger "
                "JOIN boot ON boot.id = ledger.boot JOIN node ON node.id = boot.node JOIN zone ON zone.id = boot.zone "
                "WHERE ledger.stored_ms >= ? AND ledger.stored_ms <= ? AND boot.zone = ?",
                (first_ms, after_ms, self._zone),
            )


def _minutes_reach(connection: Connection, hour: int) -> bool:
    """Whether the ledger still has the records of an hour; it keeps them for a bounded time."""
    return meta(connection, "minutes_from") <= hour * HOUR_S * 1000


def _booked(book: HourBook, asked: Asked, *, late: bool = True, on_time: bool = True) -> Iterator[_Row]:
    for (cut, hour, zone, node, owner, recorded_ms), row in book.rows.items():
        if (cut, zone) != (asked.cut, asked.zone) or not asked.first_hour <= hour < asked.last_hour:
            continue
        if asked.node in {None, node} and (late if recorded_ms else on_time):
            scalars = (row.gpu_j, row.integrated_j, row.estimated_j, row.unknown_j, row.covered_s)
            yield (hour, node, owner, row.slots.tobytes(), *scalars)


def _compacted(connection: Connection, asked: Asked) -> list[_Row]:
    """Return hours of days whose own rows are gone: one slot an hour."""
    rows = _rows(
        connection,
        "SELECT day, node, owner, hours FROM day_hours WHERE cut = ? AND zone = ? AND day >= ? AND day <= ?",
        (asked.cut, asked.zone, asked.first_hour // DAY_HOURS, (asked.last_hour - 1) // DAY_HOURS),
        asked.node,
    )
    found: list[_Row] = []
    for day, node, owner, blob in rows:
        figures = np.frombuffer(bytes(blob), dtype="<f8").reshape(HOUR_FIGURES, DAY_HOURS)
        for i in np.flatnonzero(figures.any(axis=0)):
            hour = day * DAY_HOURS + int(i)
            if asked.first_hour <= hour < asked.last_hour:
                found.append((hour, node, owner, figures[:2, i].tobytes(), *figures[2:, i].tolist()))
    return found


def _rows(connection: Connection, sql: str, parameters: tuple[object, ...], node: int | None) -> Rows:
    if node is None:
        return connection.rows(sql, parameters)
    return connection.rows(f"{sql} AND node = ?", (*parameters, node))


def newest_ms(connection: Connection, now_s: float) -> int:
    """Return the moment as of which everything is known that is stored: now, or later if a clock was once ahead."""
    stored = connection.rows("SELECT COALESCE(MAX(stored_ms), 0) FROM ledger")[0][0]
    booked = connection.rows("SELECT COALESCE(MAX(booked_ms), 0) FROM zone")[0][0]
    return max(int(now_s * 1000), int(stored), int(booked))


def booked_ms(connection: Connection, zone: int) -> int:
    """Return up to which commit a zone's ledger is in the books; 0 if there is nothing yet."""
    row = connection.rows("SELECT booked_ms FROM zone WHERE id = ?", (zone,))
    return int(row[0][0]) if row else 0


def meta(connection: Connection, name: str) -> int:
    """Return a number of the table ``meta``; 0 if it was never set."""
    row = connection.rows("SELECT value FROM meta WHERE name = ?", (name,))
    return int(row[0][0]) if row else 0


def _slots(connection: Connection, zone: int) -> int:
    row = connection.rows("SELECT slots FROM hour WHERE cut = ? AND zone = ? ORDER BY hour DESC LIMIT 1", (NODE, zone))
    return len(bytes(row[0][0])) // 16 if row else DEFAULT_SLOTS
