"""A database of each earlier version, with all that one holds, is brought up to date: nothing is lost or changed."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass

import msgspec
import pytest

from evenwatt_collector.jobs.logs import LogPiece
from evenwatt_collector.jobs.model import JobState
from evenwatt_collector.report.model import By
from evenwatt_collector.storage import DatabaseError, LedgerWriter, connect
from evenwatt_collector.storage import intensity as readings
from evenwatt_collector.storage import jobs as work
from evenwatt_collector.storage.documents import documents, put_document
from evenwatt_collector.storage.exchange import _NUMBERED as NUMBERED
from evenwatt_collector.storage.exchange import _TABLES as TABLES
from evenwatt_collector.storage.exchange import _columns
from evenwatt_collector.storage.keeping import tidy
from evenwatt_collector.storage.memory import recall, remember
from evenwatt_collector.storage.schema import MIGRATIONS, PARTITIONED, VERSION, Partitions, check, migrate
from evenwatt_daemon import Failure
from tests.jobs.made import decision, outcome
from tests.jobs.made import record as job_record
from tests.storage.made import DAY, HOUR, T0, entry, facts
from tests.storage.test_reference import FALLBACK, ask, corrected, fleet, roll, series

NOW_S = T0 + 110 * DAY
EARLIER = sorted(set(MIGRATIONS) - {VERSION})
SINCE = {"memory": 3, "settled": 3, "job": 4, "decision": 4, "outcome": 4, "job_log": 4, "document": 4, "shard": 5}
"""Which version brought a table; all others are of the first."""
JOB = "0123456789ab"


@dataclass(frozen=True)
class Wanted:
    """What this version makes of the same database."""

    rows: dict
    reports: dict
    totals: tuple
    to_plan: list


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A database of this version, with months behind it: compacted, rolled up, late, corrected, and not yet booked."""
    where = str(tmp_path_factory.mktemp("filled") / "c.db")
    writer, rng = LedgerWriter(where), random.Random(1)
    for zone in ("hall", "barn"):
        readings.set_site(writer.connection, zone, facts(fallback_g_per_kwh=FALLBACK), None, 1)
    old, young = fleet(rng, nodes=2, minutes=60), fleet(rng, nodes=2, minutes=60, start_s=T0 + 100 * DAY)
    young = [msgspec.structs.replace(one, boot="00000000000000bb") for one in young]
    known = [made for start_s in (T0, T0 + 100 * DAY) for made in series(rng, start_s, start_s + 3 * HOUR, 900)]
    readings.record(writer.connection, [*known, *corrected(rng, known)])
    _store(writer, old, rng)
    roll(writer, T0 + 105 * DAY)
    list(tidy(writer.connection, T0 + 105 * DAY, 40, 90))  # the old day has no hours of its own any more
    _store(writer, young[:-6], rng)
    writer.append([_entry(one) for one in young[-6:-3]], NOW_S)
    writer.settle()  # late: its hour is closed
    roll(writer, NOW_S)
    _add_work(writer.connection)
    writer.close()
    writer = LedgerWriter(where)
    writer.append([_entry(one) for one in young[-3:]], NOW_S + 60)
    writer.close()  # died before it was booked
    return where


@pytest.fixture(scope="module")
def wanted(filled, tmp_path_factory):
    where = str(tmp_path_factory.mktemp("wanted") / "c.db")
    with closing(sqlite3.connect(filled)) as source, closing(sqlite3.connect(where)) as copy:
        source.backup(copy)
    writer = LedgerWriter(where)
    found = Wanted(_said(writer.connection), _reports(writer), writer.totals(), work.records_to_plan(writer.connection))
    writer.close()
    return found


def _entry(record):
    return entry(record, zone={"n0": "hall", "n1": "barn"}[record.node], grams=0.125)


def _store(writer, records, rng):
    late = [made for made in records if rng.random() < 0.2]
    times = [made for made in records if made not in late]
    for first in range(0, len(times), 12):
        batch = times[first : first + 12]
        writer.append([_entry(made) for made in batch], batch[-1].end_wall_ms / 1e3 + 1)
    for first in range(0, len(late), 5):  # some hours later, and booked under moments of their own
        writer.append([_entry(made) for made in late[first : first + 5]], records[-1].end_wall_ms / 1e3 + HOUR + first)
        writer.settle()


def _add_work(connection):
    remember(connection, "overrides:hall", [{"zone": "hall"}])
    jobs = [job_record(JOB), job_record("f" * 12, state=JobState.DONE, ended_s=NOW_S - HOUR)]
    work.save_records(connection, jobs)
    work.save_decisions(connection, [decision(JOB, NOW_S), decision(JOB, NOW_S + 1)])
    work.save_outcome(connection, outcome("f" * 12, NOW_S - HOUR))
    work.append_log(connection, [LogPiece(job=JOB, run="c" * 12, start=0, at_s=NOW_S, text="é\n")])
    put_document(connection, "baseline", "hall", {"grams": 1.5}, NOW_S)
    put_document(connection, "baseline", "hall", {"grams": 2.5}, NOW_S + 1)


def _make_earlier(version, where, filled):
    """Make a database of an earlier version, and put into it what ``filled`` has, as that version kept it."""
    source, target = connect(filled, write=False), connect(where)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evenwatt_collector.storage.schema.VERSION", version)
        migrate(target, where)
    partitions = Partitions(target)
    for table in TABLES:
        if SINCE.get(table, 2) > version or table == "meta":
            continue
        # Numbers are given by the database, in the same order, so that it goes on numbering after them.
        names = [name for name in _columns(source, table) if name not in {"id", "booked_ms", "shard"}]
        names += ["id"] if table == "job" else []
        names = ["mark_ms"] if table == "settled" else names
        order = "rowid" if table in NUMBERED else names[0]
        rows = source.rows(f"SELECT DISTINCT {', '.join(names)} FROM {table} ORDER BY {order}")  # noqa: S608
        if table in PARTITIONED:
            partitions.ensure(table, {row[names.index(PARTITIONED[table][0])] for row in rows})
        target.many(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", rows)  # noqa: S608
    booked = source.rows("SELECT MAX(booked_ms) FROM zone")[0][0]
    kept = source.rows("SELECT name, value FROM meta WHERE name <> 'schema'")
    target.many("INSERT INTO meta VALUES (?, ?)", [*kept, ("booked", booked)])
    source.close()
    target.close()


def _said(connection, version=VERSION):
    """Return all rows of all tables that a version has, by table."""
    return {
        table: sorted(
            (
                tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
                for row in connection.rows(f"SELECT * FROM {table}")  # noqa: S608
            ),
            key=repr,
        )
        for table in TABLES
        if SINCE.get(table, 2) <= version
    }


def _reports(writer):
    """Return the figures of reports over all that there is, as known at many moments."""
    young_s = T0 + 100 * DAY
    moments = [T0 + DAY, young_s + 1800, young_s + 2 * HOUR + 8, young_s + DAY, NOW_S - 1, NOW_S]
    found = {}
    for by in (By.NODE, By.TASK):
        for known_at_s in (*moments, None):
            report = ask(writer, by, T0, NOW_S + DAY, NOW_S + DAY, known_at_s)
            found[by, known_at_s] = [(row.name, row.figures) for row in report.rows] + [report.total]
    return found


@pytest.mark.parametrize("version", EARLIER)
def test_nothing_is_lost_or_changed(version, where, filled, wanted):
    _make_earlier(version, where, filled)
    reader = connect(where, write=False)
    with pytest.raises(Failure, match="start this version's collector once"):
        check(reader, where)
    reader.close()
    writer = LedgerWriter(where)
    rows = _said(writer.connection)
    for table in TABLES:
        if SINCE.get(table, 2) <= version and table not in {"meta", "settled", "memory"}:
            assert rows[table] == wanted.rows[table], table
    assert _reports(writer) == wanted.reports
    assert writer.totals() == wanted.totals
    if version >= SINCE["memory"]:
        assert recall(writer.connection, "overrides:hall") == [{"zone": "hall"}]
    if version >= SINCE["job"]:
        assert work.records_to_plan(writer.connection) == wanted.to_plan != []
        assert len(work.decisions_of(writer.connection, JOB)) == 2
        assert [one.grams for one in work.outcomes(writer.connection)] == [40.0]
        assert [one.text for one in work.log_of(writer.connection, JOB)] == ["é\n"]
        assert [one.value for one in documents(writer.connection, "baseline")] == [{"grams": 2.5}, {"grams": 1.5}]
    # It is used on: what was stored is known again, and what is new gets numbers of its own.
    first, new = fleet(random.Random(3), nodes=2, minutes=1), fleet(random.Random(2), nodes=1, minutes=1)
    assert writer.append([_entry(one) for one in first], NOW_S + DAY).duplicate == 2
    assert writer.append([entry(one, zone="new") for one in new], NOW_S + DAY).stored == 1
    writer.settle()
    writer.close()


def test_a_migration_that_fails_changes_nothing_and_can_be_done_again(where, filled, monkeypatch):
    _make_earlier(VERSION - 1, where, filled)
    connection = connect(where)
    before = _raw(connection)
    with monkeypatch.context() as patch:
        patch.setitem(MIGRATIONS, VERSION, MIGRATIONS[VERSION] + "DROP TABLE nowhere;")
        with pytest.raises(DatabaseError, match="nowhere"):
            migrate(connection, where)
    assert _raw(connection) == before
    migrate(connection, where)
    check(connection, where)
    connection.close()


def _raw(connection):
    return _said(connection, VERSION - 1), connection.rows("SELECT name, value FROM meta ORDER BY name")
