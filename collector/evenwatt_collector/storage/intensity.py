"""What was said of intensity, and the facts of sites and devices: written once, never changed.

Writing returns nothing; days whose grams it touches are marked stale, and are rolled up again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from evenwatt_collector.carbon.series import Basis, Kind, Reading, Standing
from evenwatt_collector.carbon.site import DeviceFacts, Fact, SiteFacts, held_at, timeline
from evenwatt_collector.carbon.weigh import Known
from evenwatt_collector.storage.connection import transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evenwatt_collector.carbon.site import Devices
    from evenwatt_collector.storage.connection import Connection

F = TypeVar("F")

DAY_S: Final = 86_400
_LONGEST_S: Final = 366 * DAY_S
"""No reading stands for more than a year."""
_COLUMNS: Final = "grid, kind, start_s, end_s, source, standing, recorded_s, issued_s, g_per_kwh, basis"
_HAPPENED: Final = (Standing.MEASURED, Standing.ESTIMATED)
_MOST_GAPS: Final = 4
"""Each costs a look at the table; more are asked for as one stretch."""


def record(connection: Connection, readings: Iterable[Reading]) -> int:
    """Store readings that say something new; return how many.

    Raises:
        DatabaseError: none was stored.
    """
    groups: dict[tuple[str, Kind], list[Reading]] = {}
    for reading in readings:
        groups.setdefault((reading.grid, reading.kind), []).append(reading)
    stored = 0
    with transaction(connection):
        for (grid, kind), group in groups.items():
            new = _new(connection, grid, kind, group)
            connection.many(
                f"INSERT INTO reading ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [_values(reading) for reading in new],
            )
            stored += len(new)
            if new:
                days = min(r.start_s for r in new) // DAY_S, (max(r.end_s for r in new) - 1) // DAY_S
                for zone in _zones_of(connection, grid):
                    connection.run(
                        "UPDATE day_state SET stale = 1 WHERE zone = ? AND day BETWEEN ? AND ?", (zone, *days)
                    )
    return stored


def readings(
    connection: Connection,
    grid: str,
    kind: Kind,
    start_s: float,
    end_s: float,
    known_at_s: float | None = None,
    *,
    also: str = "TRUE",
) -> list[Reading]:
    """Return what was said about [start, end), all of it or what was recorded up to a moment; ``also`` is SQL."""
    rows = connection.rows(
        f"SELECT {_COLUMNS} FROM reading WHERE grid = ? AND kind = ? AND start_s >= ? AND start_s < ? AND end_s > ? "
        f"AND recorded_s <= ? AND {also}",
        (grid, kind.value, int(start_s) - _LONGEST_S, int(end_s) + 1, int(start_s), _limit(known_at_s)),
    )
    return [_reading(row) for row in rows]


def newest_s(connection: Connection, grid: str, source: str) -> int | None:
    """Return the end of the latest interval that a source has told of as past; None if there is none."""
    row = connection.rows(
        "SELECT MAX(end_s) FROM reading WHERE grid = ? AND source = ? AND standing IN (?, ?)",
        (grid, source, *(standing.value for standing in _HAPPENED)),
    )
    return None if row[0][0] is None else int(row[0][0])


def drop_forecasts(connection: Connection, before_s: float) -> None:
    """Forget forecasts of times that have long passed; what happened is kept for good."""
    connection.run("DELETE FROM reading WHERE standing = ? AND end_s < ?", (Standing.FORECAST.value, int(before_s)))


def set_site(connection: Connection, zone: str, facts: SiteFacts, since_s: int | None, now_s: int) -> bool:
    """Store a zone's facts where they differ from what is known to hold from ``since_s`` on; return whether they did.

    Args:
        connection: To write to, within no transaction.
        zone: Its name.
        facts: What holds.
        since_s: From when on; None: from now on, and the first ones for all time before.
        now_s: Unix time.
    """
    with transaction(connection):
        row = connection.rows("SELECT id FROM zone WHERE name = ?", (zone,)) or connection.rows(
            "INSERT INTO zone (name) VALUES (?) RETURNING id", (zone,)
        )
        number = int(row[0][0])
        moments = _changes(_site(connection, number), facts, since_s, now_s)
        connection.many(
            "INSERT INTO site (zone, since_s, recorded_s, facts) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (zone, since_s, recorded_s) DO UPDATE SET facts = excluded.facts",
            [(number, moment_s, now_s, msgspec.json.encode(facts).decode()) for moment_s in moments],
        )
        if moments:
            first = min(moments) // DAY_S
            connection.run("UPDATE day_state SET stale = 1 WHERE zone = ? AND day >= ?", (number, first))
    return bool(moments)


def set_device(connection: Connection, pattern: str, facts: DeviceFacts, since_s: int | None, now_s: int) -> bool:
    """Store what the nodes of a pattern weigh, as ``set_site`` does."""
    with transaction(connection):
        own = [Fact(since, recorded, held) for name, since, recorded, held in _device(connection) if name == pattern]
        moments = _changes(own, facts, since_s, now_s)
        connection.many(
            "INSERT INTO device (pattern, since_s, recorded_s, facts) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (pattern, since_s, recorded_s) DO UPDATE SET facts = excluded.facts",
            [(pattern, moment_s, now_s, msgspec.json.encode(facts).decode()) for moment_s in moments],
        )
        if moments:
            connection.run("UPDATE day_state SET stale = 1 WHERE day >= ?", (min(moments) // DAY_S,))
    return bool(moments)


def site_line(connection: Connection, zone: int, known_at_s: float | None = None) -> Sequence[tuple[float, SiteFacts]]:
    """Return the facts of a zone by since when they hold; empty if it has none at all."""
    facts = _site(connection, zone)
    return timeline(facts, known_at_s) or timeline(facts)


def known(
    connection: Connection, zone: int, start_s: float, end_s: float, known_at_s: float | None = None
) -> Known | None:
    """Return what is known of a zone over a period; None if it has no facts at all.

    Forecasts of times of which it is known what happened are left out: they count for nothing there, and are many.
    """
    line = site_line(connection, zone, known_at_s)
    if not line:
        return None
    grids = sorted({facts.grid for _, facts in line})
    found = {
        kind: [reading for grid in grids for reading in _counting(connection, (grid, kind), start_s, end_s, known_at_s)]
        for kind in Kind
    }
    return Known(line, found[Kind.AVERAGE], found[Kind.MARGINAL])


def devices(connection: Connection, known_at_s: float | None = None) -> dict[str, Devices]:
    """Return what devices weigh, by pattern, in the order in which patterns were first recorded."""
    facts: dict[str, list[Fact[DeviceFacts]]] = {}
    for pattern, since_s, recorded_s, held in sorted(_device(connection), key=lambda row: row[2]):
        facts.setdefault(pattern, []).append(Fact(since_s, recorded_s, held))
    lines = {pattern: timeline(line, known_at_s) for pattern, line in facts.items()}
    return {pattern: line for pattern, line in lines.items() if line}


def _counting(
    connection: Connection, series: tuple[str, Kind], start_s: float, end_s: float, known_at_s: float | None
) -> list[Reading]:
    """Return readings of a grid and kind, forecasts only of what nothing else tells of."""
    found = readings(connection, *series, start_s, end_s, known_at_s, also=f"standing <> '{Standing.FORECAST}'")
    gaps = _gaps([reading for reading in found if reading.standing in _HAPPENED], start_s, end_s)
    if len(gaps) > _MOST_GAPS:
        gaps = [(gaps[0][0], gaps[-1][1])]
    ahead = [
        reading
        for begin, end in gaps
        for reading in readings(connection, *series, begin, end, known_at_s, also=f"standing = '{Standing.FORECAST}'")
    ]
    return found + list(dict.fromkeys(ahead))  # one may reach over several gaps


def _gaps(happened: Iterable[Reading], start_s: float, end_s: float) -> list[tuple[float, float]]:
    """Return what of [start, end) no reading covers."""
    found, at_s = [], start_s
    for reading in sorted(happened, key=lambda one: one.start_s):
        if reading.start_s > at_s:
            found.append((at_s, min(float(reading.start_s), end_s)))
        at_s = max(at_s, float(reading.end_s))
        if at_s >= end_s:
            return found
    return [*found, (at_s, end_s)]


def _changes(held: Sequence[Fact[F]], facts: F, since_s: int | None, now_s: int) -> list[int]:
    """Return from which moments on the facts have to be written, so that they hold from ``since_s`` up to now."""
    if not held:
        return [min(0, since_s or 0)]
    at_s = now_s if since_s is None else since_s
    line = timeline(held)
    later = [since for since, known_facts in line if at_s < since <= now_s and known_facts != facts]
    return [int(since) for since in ([] if held_at(line, at_s) == facts else [at_s]) + later]


def _new(connection: Connection, grid: str, kind: Kind, group: list[Reading]) -> list[Reading]:
    """Leave out what repeats the last thing its source said of the interval."""
    rows = connection.rows(
        f"SELECT {_COLUMNS} FROM reading WHERE grid = ? AND kind = ? AND start_s BETWEEN ? AND ? ORDER BY recorded_s",
        (grid, kind.value, min(r.start_s for r in group), max(r.start_s for r in group)),
    )
    last = {_identity(reading): reading for reading in map(_reading, rows)}
    new = []
    for reading in sorted(group, key=lambda r: (r.recorded_s, r.issued_s)):
        before = last.get(_identity(reading))
        if before is None or (before.g_per_kwh, before.basis) != (reading.g_per_kwh, reading.basis):
            new.append(reading)
            last[_identity(reading)] = reading
    return new


def _identity(reading: Reading) -> tuple[object, ...]:
    return reading.start_s, reading.end_s, reading.source, reading.standing


def _zones_of(connection: Connection, grid: str) -> list[int]:
    rows = connection.rows("SELECT zone, facts FROM site")
    return sorted({zone for zone, text in rows if msgspec.json.decode(text, type=SiteFacts).grid == grid})


def _site(connection: Connection, zone: int) -> list[Fact[SiteFacts]]:
    rows = connection.rows("SELECT since_s, recorded_s, facts FROM site WHERE zone = ?", (zone,))
    return [Fact(since, recorded, msgspec.json.decode(text, type=SiteFacts)) for since, recorded, text in rows]


def _device(connection: Connection) -> list[tuple[str, int, int, DeviceFacts]]:
    rows = connection.rows("SELECT pattern, since_s, recorded_s, facts FROM device")
    return [(*fields, msgspec.json.decode(text, type=DeviceFacts)) for *fields, text in rows]


def _values(reading: Reading) -> tuple[object, ...]:
    return (
        reading.grid, reading.kind.value, reading.start_s, reading.end_s, reading.source, reading.standing.value,
        reading.recorded_s, reading.issued_s, reading.g_per_kwh, reading.basis.value,
    )  # fmt: skip


def _reading(row: tuple[Any, ...]) -> Reading:
    grid, kind, start_s, end_s, source, standing, recorded_s, issued_s, g_per_kwh, basis = row
    return Reading(
        grid=grid,
        start_s=start_s,
        end_s=end_s,
        g_per_kwh=g_per_kwh,
        kind=Kind(kind),
        basis=Basis(basis),
        source=source,
        standing=Standing(standing),
        issued_s=issued_s,
        recorded_s=recorded_s,
    )


def _limit(known_at_s: float | None) -> int:
    return 2**53 if known_at_s is None else int(known_at_s)
