"""How long what is kept: minutes for weeks, hours for months, days for good.

Minutes are what lets a report be had again as of any moment of an hour that was open then; hours are what lets a
corrected intensity be weighed slot by slot. Before a day's hours go, their sums are kept in ``day_hours``, so that it
can still be weighed again, by the hour.

Of jobs that have ended, logs go first, then records with their decisions; what came of them stays for good, and so do
documents: a score names the baseline that it was made with.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.storage.connection import snapshot, transaction
from evenwatt_collector.storage.energy import HOUR_FIGURES, Asked, Then, booked_ms, fetch, pieces
from evenwatt_collector.storage.hours import DAY_HOURS, LABEL, NODE, OWNER
from evenwatt_collector.storage.intensity import DAY_S, drop_forecasts
from evenwatt_collector.storage.schema import Partitions
from evenwatt_collector.storage.shards import FOREIGN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evenwatt_collector.storage.connection import Connection

MINUTES_DAYS: Final = 40
HOURS_DAYS: Final = 100
FORECASTS_DAYS: Final = 40
LOGS_DAYS: Final = 40
JOBS_DAYS: Final = 400
_ROWS: Final = 20_000
"""Deleted at a time, so that records never wait long."""


def tidy(connection: Connection, now_s: float, minutes_days: float, hours_days: float) -> Iterator[str]:
    """Forget what is older than it is kept, a bounded step at a time; yields what each step did.

    Raises:
        DatabaseError: the step was not done.
    """
    yield from _minutes(connection, int((now_s - minutes_days * DAY_S) * 1000))
    for day, zone in _finished(connection, int((now_s - hours_days * DAY_S) // DAY_S)):
        compact(connection, day, zone)
        yield f"hours of day {day} in zone {zone}"
    drop_forecasts(connection, now_s - FORECASTS_DAYS * DAY_S)
    yield from _jobs(connection, now_s)
    partitions = Partitions(connection)
    if connection.postgres:
        oldest = connection.rows("SELECT MIN(hour) FROM hour")[0][0]
        partitions.drop_before("hour", 0 if oldest is None else int(oldest))


def compact(connection: Connection, day: int, zone: int) -> None:
    """Turn a day's hours into its row of ``day_hours``; energy that is settled meanwhile stays in hours of its own."""
    first, last = day * DAY_HOURS, (day + 1) * DAY_HOURS
    with snapshot(connection):
        mark_ms = booked_ms(connection, zone)
        rows = [row for cut in (NODE, LABEL, OWNER) for row in _sums(connection, cut, day, zone, mark_ms)]
    with transaction(connection):
        for cut in (NODE, LABEL, OWNER):
            connection.run("DELETE FROM day_hours WHERE cut = ? AND zone = ? AND day = ?", (cut, zone, day))
            connection.run(
                "DELETE FROM hour WHERE cut = ? AND zone = ? AND hour >= ? AND hour < ? AND recorded_ms <= ?",
                (cut, zone, first, last, mark_ms),
            )
        connection.many("INSERT INTO day_hours (cut, day, zone, node, owner, hours) VALUES (?, ?, ?, ?, ?, ?)", rows)
        _set_meta(connection, "hours_from", last)


def _sums(connection: Connection, cut: int, day: int, zone: int, mark_ms: int) -> list[tuple[object, ...]]:
    """Return a day's rows of ``day_hours``, as settled at a mark."""
    first = day * DAY_HOURS
    asked = Asked(cut=cut, zone=zone, first_hour=first, last_hour=first + DAY_HOURS, known_at_ms=mark_ms)
    sums: dict[tuple[int, int], np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}
    then = Then(connection, zone, mark_ms)
    edges = pieces(connection, asked, then)
    parts = (replace(asked, first_hour=begin, last_hour=end) for begin, end in edges)
    for energy in (energy for part in parts for energy in fetch(connection, part, then)):
        figures = np.concatenate((energy.joules.sum(axis=2), energy.scalars), axis=1)
        keys = zip(energy.nodes.tolist(), energy.owners.tolist(), (energy.hours - first).tolist(), strict=True)
        for (node, owner, hour), row in zip(keys, figures, strict=True):
            sums.setdefault((node, owner), np.zeros((HOUR_FIGURES, DAY_HOURS)))[:, hour] += row
    return [(cut, day, zone, node, owner, hours.tobytes()) for (node, owner), hours in sums.items()]


def _minutes(connection: Connection, before_ms: int) -> Iterator[str]:
    """Delete records that were stored before a moment and are booked."""
    old = (
        "FROM ledger JOIN boot ON boot.id = ledger.boot JOIN zone ON zone.id = boot.zone "
        "WHERE ledger.stored_ms < ? AND ledger.stored_ms <= zone.booked_ms LIMIT"
    )
    if not connection.rows(f"SELECT 1 {old} 1", (before_ms,)):
        return
    with transaction(connection):
        _set_meta(connection, "minutes_from", before_ms)
        connection.run("DELETE FROM settled WHERE mark_ms < ?", (before_ms,))
    where = f"SELECT ledger.boot, ledger.seq, ledger.end_ms {old} {_ROWS}"
    while True:
        gone = connection.run(f"DELETE FROM ledger WHERE (boot, seq, end_ms) IN ({where})", (before_ms,))
        yield f"{gone} records"
        if gone < _ROWS:
            return


def _jobs(connection: Connection, now_s: float) -> Iterator[str]:
    """Forget logs, then records and decisions of jobs that ended long ago; open ones lose old logs only."""
    logs_ms, jobs_ms = int((now_s - LOGS_DAYS * DAY_S) * 1000), int((now_s - JOBS_DAYS * DAY_S) * 1000)
    of_logs = f"SELECT job, run, start FROM job_log WHERE at_ms < ? LIMIT {_ROWS}"
    while gone := connection.run(f"DELETE FROM job_log WHERE (job, run, start) IN ({of_logs})", (logs_ms,)):
        yield f"{gone} pieces of logs"
    old = "SELECT id FROM job WHERE is_open = 0 AND ended_ms < ? ORDER BY ended_ms LIMIT 500"
    while rows := connection.rows(old, (jobs_ms,)):
        with transaction(connection):
            for table, key in (("job_log", "job"), ("decision", "job"), ("job", "id")):
                connection.many(f"DELETE FROM {table} WHERE {key} = ?", rows)
        yield f"{len(rows)} jobs"


def _finished(connection: Connection, before_day: int) -> list[tuple[int, int]]:
    """Return days and zones that are rolled up, old enough, and have hours; other shards see to theirs."""
    rows = connection.rows(
        "SELECT day, zone FROM day_state WHERE stale = 0 AND day < ? AND EXISTS (SELECT 1 FROM hour WHERE hour.cut = ? "
        "AND hour.zone = day_state.zone AND hour.hour >= day_state.day * 24 AND hour.hour < day_state.day * 24 + 24) "
        f"AND zone NOT IN ({FOREIGN}) ORDER BY day, zone",
        (before_day, NODE, connection.shard),
    )
    return [(int(day), int(zone)) for day, zone in rows]


def _set_meta(connection: Connection, name: str, value: int) -> None:
    """Set a number that only grows."""
    connection.run(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value "
        "WHERE meta.value < excluded.value",
        (name, value),
    )
