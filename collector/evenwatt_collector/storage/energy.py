"""Energy by hour as it was known at a moment: what hours hold, and what only the ledger holds yet.

What was known at T is: rows of hours that were closed by T; late energy recorded by T; and of hours that were open at
T, the records stored by T. The latter are read from the ledger and booked in memory, as the writer would.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.labels import LabelHistory
from evenwatt_collector.carbon.shares import HOUR_S
from evenwatt_collector.storage.hours import CLOSED_AFTER_S, DAY_HOURS, DEFAULT_SLOTS, NODE, HourBook, use_of
from evenwatt_collector.storage.memory import LABELS, recall
from evenwatt_collector.storage.names import Names
from evenwatt_collector.storage.shards import shard_of
from evenwatt_wire import Kind, Ledger, Topic, decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
_Row = tuple[int, int, int, bytes, "Sequence[float]"]
"""hour, node, owner, slots, scalars"""
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


def fetch(connection: Connection, asked: Asked) -> list[Energy]:
    """Return rows, by resolution."""
    # A day is compacted or not; energy that comes after that stands in hours again, until it is compacted too.
    found = [*_compacted(connection, asked), *_kept(connection, asked)]
    by_size: dict[int, list[_Row]] = {}
    for row in found:
        by_size.setdefault(len(row[3]), []).append(row)
    return [_columns(rows, size // 16) for size, rows in sorted(by_size.items())]


def _columns(rows: list[_Row], slots: int) -> Energy:
    return Energy(
        hours=np.array([row[0] for row in rows], dtype=np.int64),
        nodes=np.array([row[1] for row in rows], dtype=np.int64),
        owners=np.array([row[2] for row in rows], dtype=np.int64),
        joules=np.frombuffer(b"".join(row[3] for row in rows), dtype="<f8").reshape(len(rows), 2, slots),
        scalars=np.array([row[4] for row in rows], dtype=np.float64).reshape(len(rows), len(_SCALARS)),
    )


def _kept(connection: Connection, asked: Asked) -> list[_Row]:
    settled_ms = booked_ms(connection, asked.zone)
    known_ms = asked.known_at_ms
    open_hour = (known_ms - SETTLED_MS) // 1000 - CLOSED_AFTER_S
    open_hour //= HOUR_S  # the first hour that was still open then
    rewound = known_ms < settled_ms and _minutes_reach(connection, open_hour)
    limit = open_hour if rewound else asked.last_hour
    rows = _rows(
        connection,
        "SELECT hour, node, owner, slots, gpu_j, integrated_j, estimated_j, unknown_j, covered_s FROM hour "
        "WHERE cut = ? AND zone = ? AND hour >= ? AND hour < ? AND ((recorded_ms = 0 AND hour < ?) OR "
        "(recorded_ms > 0 AND recorded_ms <= ?))",
        (asked.cut, asked.zone, asked.first_hour, asked.last_hour, limit, known_ms),
        asked.node,
    )
    found: list[_Row] = [(row[0], row[1], row[2], bytes(row[3]), row[4:]) for row in rows]
    if rewound:
        since_ms = open_hour * HOUR_S * 1000 - _CLOCKS_MS
        now_open = replace(asked, first_hour=max(asked.first_hour, open_hour))
        found += _booked(_book(connection, asked.zone, since_ms, known_ms), now_open, late=False)
        sql = "SELECT COALESCE(MAX(mark_ms), 0) FROM settled WHERE zone = ? AND mark_ms <= ?"
        mark_ms = connection.rows(sql, (asked.zone, known_ms))[0][0]
        found += _booked(_book(connection, asked.zone, mark_ms, known_ms), asked, on_time=False)
    elif known_ms > settled_ms:
        found += _booked(_book(connection, asked.zone, settled_ms, known_ms), asked)
    return found


def _minutes_reach(connection: Connection, hour: int) -> bool:
    """Whether the ledger still has the records of an hour; it keeps them for a bounded time."""
    return meta(connection, "minutes_from") <= hour * HOUR_S * 1000


def _book(connection: Connection, zone: int, after_ms: int, until_ms: int) -> HourBook:
    """Book the records of a zone that were stored in (after, until]."""
    rows = connection.rows(
        "SELECT zone.name, node.name, node.id, ledger.stored_ms, ledger.arrived_ms, ledger.payload FROM ledger "
        "JOIN boot ON boot.id = ledger.boot JOIN node ON node.id = boot.node JOIN zone ON zone.id = boot.zone "
        "WHERE ledger.stored_ms > ? AND ledger.stored_ms <= ? AND boot.zone = ?",
        (after_ms, until_ms, zone),
    )
    book, names = HourBook(), Names(connection)
    labels = LabelHistory(recall(connection, LABELS, shard=shard_of(connection, zone)))
    slots = _slots(connection, zone)
    book.slots[zone] = slots
    for zone_name, node_name, node, stored_ms, arrived_ms, payload in rows:
        record = decode(Topic(zone_name, node_name, Kind.LEDGER), bytes(payload))
        if isinstance(record, Ledger):
            rules = labels.at(stored_ms)

            def number(owner: Owner, name: str = node_name, rules: Labels = rules) -> tuple[int, int]:
                return names.owner(rules.apply(owner, name))

            use, _, _ = use_of(record, (zone, node), number, slots, arrived_ms)
            book.book(use, arrived_ms)
    return book


def _booked(book: HourBook, asked: Asked, *, late: bool = True, on_time: bool = True) -> Iterable[_Row]:
    for (cut, hour, zone, node, owner, recorded_ms), row in book.rows.items():
        if (cut, zone) != (asked.cut, asked.zone) or not asked.first_hour <= hour < asked.last_hour:
            continue
        if asked.node in {None, node} and (late if recorded_ms else on_time):
            scalars = (row.gpu_j, row.integrated_j, row.estimated_j, row.unknown_j, row.covered_s)
            yield hour, node, owner, row.slots.tobytes(), scalars


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
                found.append((hour, node, owner, figures[:2, i].tobytes(), figures[2:, i].tolist()))
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
