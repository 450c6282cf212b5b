"""Days: what hours come to, weighed by what is known now; rolled up when a day is over, and again when it was touched.

A day may be rolled up once its last hour is closed. Late energy, a corrected intensity or a changed fact mark it stale.
Reading and weighing need no lock; only the writing of one zone's day is a transaction. What is touched while it is
rolled up stays stale: ``stale`` is 2 from when its hours are read until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evenwatt_collector.storage.connection import snapshot, transaction
from evenwatt_collector.storage.energy import SETTLED_MS, booked_ms, newest_ms
from evenwatt_collector.storage.grouping import NULLABLE, Grouped, pairs_of
from evenwatt_collector.storage.hours import CLOSED_AFTER_S, LABEL, NODE, OWNER
from evenwatt_collector.storage.intensity import DAY_S, devices, site_line
from evenwatt_collector.storage.shards import FOREIGN
from evenwatt_collector.storage.weighing import COLUMNS, Period, ZoneBook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from evenwatt_collector.carbon.weigh import Use as SourceUse
    from evenwatt_collector.storage.connection import Connection
    from evenwatt_collector.storage.weighing import Table

    Floats = NDArray[np.float64]

_CLOSED_S: Final = CLOSED_AFTER_S + SETTLED_MS / 1e3
_ALWAYS_MS: Final = 2**62
_PUT: Final = (
    f"INSERT INTO day (cut, day, zone, node, owner, {', '.join(COLUMNS)}) "
    f"VALUES ({', '.join('?' * (5 + len(COLUMNS)))})"
)


def due(connection: Connection, now_s: float) -> list[tuple[int, int]]:
    """Return days and zones that are over and not rolled up as things are known now, the oldest first.

    Other shards see to theirs.
    """
    closed = int((now_s - _CLOSED_S) // DAY_S)  # the first day that is not over
    rows = connection.rows(
        f"SELECT day, zone FROM day_state WHERE stale > 0 AND day < ? AND zone NOT IN ({FOREIGN}) ORDER BY day, zone",
        (closed, connection.shard),
    )
    return [(int(day), int(zone)) for day, zone in rows]


def roll_up(connection: Connection, day: int, zone: int, now_s: float) -> bool:
    """Roll up one day of a zone; False if nothing is known of the zone yet.

    Args:
        connection: Reads hours and writes the day.
        day: Days since 1970, UTC.
        zone: Its number.
        now_s: Unix time.

    Raises:
        DatabaseError: nothing of it was stored.
    """
    with transaction(connection):
        connection.run("UPDATE day_state SET stale = 2 WHERE day = ? AND zone = ?", (day, zone))
    with snapshot(connection):
        made = _made(connection, day, zone, now_s)
    if made is None:
        return False
    rows, used, known_ms = made
    with transaction(connection):
        for cut in (NODE, LABEL, OWNER):
            connection.run("DELETE FROM day WHERE cut = ? AND zone = ? AND day = ?", (cut, zone, day))
        connection.run("DELETE FROM day_used WHERE day = ? AND zone = ?", (day, zone))
        connection.many(_PUT, rows)
        connection.many(
            "INSERT INTO day_used (day, zone, kind, basis, source, standing, grid, energy_j, grams, least_g_per_kwh, "
            "most_g_per_kwh) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (day, zone, use.kind.value, use.basis.value, use.source, use.standing.value, use.grid, use.energy_j,
                 use.grams, use.least_g_per_kwh, use.most_g_per_kwh)
                for use in used
            ],
        )  # fmt: skip
        connection.run(
            "UPDATE day_state SET rolled_ms = ?, stale = CASE WHEN stale = 2 THEN 0 ELSE stale END "
            "WHERE day = ? AND zone = ?",
            (known_ms, day, zone),
        )
    return True


def _made(
    connection: Connection, day: int, zone: int, now_s: float
) -> tuple[list[tuple[Any, ...]], list[SourceUse], int] | None:
    """Return a day's rows, what its sources contributed, and the moment as of which this was known, Unix ms."""
    period = Period.of(day * DAY_S, (day + 1) * DAY_S)
    if not site_line(connection, zone):
        return None
    name = str(connection.rows("SELECT name FROM zone WHERE id = ?", (zone,))[0][0])
    nodes: dict[int, str] = dict(connection.rows("SELECT id, name FROM node WHERE zone = ?", (zone,)))
    book = ZoneBook(connection, (zone, name), devices(connection), nodes)
    now_ms = newest_ms(connection, now_s)
    labels: dict[int, int] = dict(connection.rows("SELECT id, label FROM owner")) if book.embodied else {}
    sums = {cut: Grouped() for cut in (NODE, LABEL, OWNER)}
    for cut in (NODE, OWNER) if labels else (NODE, LABEL, OWNER):
        for piece in book.pieces(cut, period, now_ms):
            table = book.table(cut, piece, now_ms)
            sums[cut].add(table)
            if labels and cut == OWNER:
                sums[LABEL].add(_by_label(table, labels))
    rows = [row for cut, found in sums.items() for row in _rows(cut, day, zone, found)]
    used = book.used(book.pieces(NODE, period, now_ms), now_ms)
    # Clocks may have been ahead: what was recorded later than now is in as well.
    facts_s = connection.rows(
        "SELECT (SELECT MAX(recorded_s) FROM site WHERE zone = ?), (SELECT MAX(recorded_s) FROM device)", (zone,)
    )[0]
    return rows, used, max(now_ms, 1000 * max(book.recorded_s, *(recorded_s or 0 for recorded_s in facts_s)))


def _by_label(table: Table, labels: dict[int, int]) -> Table:
    owners = np.array([labels[owner] for owner in table.owners.tolist()], dtype=np.int64)
    return type(table)(table.hours, np.zeros_like(table.nodes), owners, table.columns)


def _rows(cut: int, day: int, zone: int, sums: Grouped) -> Iterator[tuple[Any, ...]]:
    for (node, owner), columns in zip(pairs_of(sums.keys), sums.columns, strict=True):
        yield (cut, day, zone, node, owner, *_values(columns))


def _values(sums: Floats) -> list[float | None]:
    return [
        None if name in NULLABLE and not np.isfinite(value) else value
        for name, value in zip(COLUMNS, sums.tolist(), strict=True)
    ]


def clean_days(
    connection: Connection, zone: int, first: int, last: int, known_ms: int | None = None
) -> list[tuple[int, int]]:
    """Return stretches of days within [first, last) that are rolled up as things are known now, or were at a moment.

    What was rolled up by then and not touched since says what was known then: a touch marks it, or rolls it up later.
    """
    rows = connection.rows(
        "SELECT day FROM day_state WHERE zone = ? AND day >= ? AND day < ? AND stale = 0 AND rolled_ms <= ? "
        "ORDER BY day",
        (zone, first, last, _ALWAYS_MS if known_ms is None else known_ms),
    )
    touched = _unsettled_days(connection, zone)
    found: list[tuple[int, int]] = []
    for (day,) in rows:
        if day in touched:
            continue
        if found and found[-1][1] == day:
            found[-1] = (found[-1][0], day + 1)
        else:
            found.append((day, day + 1))
    return found


def _unsettled_days(connection: Connection, zone: int) -> set[int]:
    """Return days in which records lie that are in the ledger and not in the books yet: those do not say so."""
    rows = connection.rows(
        "SELECT ledger.start_ms, ledger.end_ms FROM ledger JOIN boot ON boot.id = ledger.boot "
        "WHERE ledger.stored_ms > ? AND boot.zone = ?",
        (booked_ms(connection, zone), zone),
    )
    day_ms = DAY_S * 1000
    return {day for start_ms, end_ms in rows for day in range(start_ms // day_ms, (end_ms - 1) // day_ms + 1)}
