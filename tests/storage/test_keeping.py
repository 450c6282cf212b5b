"""What is forgotten, what stays, and what an old day still can do."""

from __future__ import annotations

import gzip
import random
import sqlite3

import pytest
from bench.accounting.reference import grams

from evenwatt_collector.report.model import By
from evenwatt_collector.storage import LedgerWriter
from evenwatt_collector.storage import intensity as store
from evenwatt_collector.storage.exchange import export, import_
from evenwatt_collector.storage.keeping import tidy
from evenwatt_collector.storage.schema import VERSION
from evenwatt_daemon import Failure
from tests.storage.made import DAY, HOUR, T0, entry, facts, reading, record
from tests.storage.test_reference import FALLBACK, ask, fleet, pieces, roll, series, stored


def filled(writer, rng, minutes=600):
    records = fleet(rng, nodes=2, minutes=minutes)
    readings = series(rng, T0, T0 + 12 * HOUR, HOUR)
    store.set_site(writer.connection, "hall", facts(fallback_g_per_kwh=FALLBACK), None, 1)
    store.record(writer.connection, readings)
    stored(writer, records)
    return records, readings


def count(writer, table):
    return writer.connection.rows(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608


def test_old_minutes_and_hours_go_and_days_can_still_be_corrected(database):
    rng = random.Random(5)
    records, readings = filled(database, rng)
    now_s = T0 + 200 * DAY
    roll(database, now_s)
    before = ask(database, By.WORKLOAD, T0, T0 + DAY, now_s)
    assert list(tidy(database.connection, now_s, 40, 100))
    assert (count(database, "ledger"), count(database, "hour")) == (0, 0)
    assert list(tidy(database.connection, now_s, 40, 100)) == []
    after = ask(database, By.WORKLOAD, T0, T0 + DAY, now_s)
    assert {r.name: r.figures.location_g for r in after.rows} == {r.name: r.figures.location_g for r in before.rows}

    fixes = [reading(T0 + 3 * HOUR, T0 + 4 * HOUR, 50.0, recorded_s=int(now_s))]
    store.record(database.connection, fixes)
    wanted = grams(pieces(records), readings + fixes, [(0, 1.25)], FALLBACK, now_s)
    for _ in ("by the hour", "rolled up again"):
        corrected = ask(database, By.NODE, T0, T0 + DAY, now_s)
        assert corrected.total.location_g == pytest.approx(float(wanted), rel=1e-9)
        roll(database, now_s)
    again = ask(database, By.NODE, T0, T0 + DAY, now_s + 1, known_at_s=now_s - 1)
    assert again.total.location_g == pytest.approx(before.total.location_g, rel=1e-9)


def test_energy_that_comes_after_its_day_was_compacted_is_not_lost(database):
    rng = random.Random(6)
    records, _ = filled(database, rng, minutes=120)
    now_s = T0 + 200 * DAY
    roll(database, now_s)
    list(tidy(database.connection, now_s, 40, 100))
    late = record("n0", 9_999, (T0 + 5 * HOUR) * 1000, None, [("unit", "late", 3.6e5, 0.0)])
    database.append([entry(late)], now_s)
    database.settle()
    wanted_j = sum(r.total.energy_j for r in [*records, late])
    now_s += HOUR
    for _ in range(3):
        report = ask(database, By.NODE, T0, T0 + DAY, now_s)
        assert report.total.energy_j == pytest.approx(wanted_j, rel=1e-9)
        roll(database, now_s)
        list(tidy(database.connection, now_s, 40, 100))
    assert count(database, "hour") == 0


def test_what_is_young_or_not_rolled_up_stays(database):
    filled(database, random.Random(7), minutes=60)
    rows = count(database, "ledger"), count(database, "hour")
    assert list(tidy(database.connection, T0 + 30 * DAY, 40, 100)) == []
    assert list(tidy(database.connection, T0 + 200 * DAY, 4_000, 100)) == []  # no day has been rolled up
    assert (count(database, "ledger"), count(database, "hour")) == rows


@pytest.mark.parametrize("kinds", [("sqlite", "postgres"), ("postgres", "sqlite"), ("sqlite", "sqlite")])
def test_an_export_holds_everything(kinds, tmp_path, cluster):
    source, target = (
        str(tmp_path / f"{i}.db") if kind == "sqlite" else cluster.database() for i, kind in enumerate(kinds)
    )
    writer = LedgerWriter(source)
    records, _ = filled(writer, random.Random(8), minutes=200)
    store.record(writer.connection, [reading(T0, T0 + HOUR, 1.0, source="b64:AAAA")])
    now_s = T0 + 3 * DAY
    roll(writer, now_s)
    before = ask(writer, By.TASK, T0, T0 + DAY, now_s)
    writer.append([entry(record("n0", 5_000, (T0 + 5 * HOUR) * 1000, None, [("unit", "x", 9.0, 0.0)]))], now_s)
    writer.close()  # one record is not settled: it travels with the ledger
    told = []
    rows = export(source, tmp_path / "all.gz", lambda table, done: told.append((table, done)))
    assert import_(tmp_path / "all.gz", target, lambda *_: None) == rows > len(records)
    other = LedgerWriter(target)
    after = ask(other, By.TASK, T0, T0 + DAY, now_s, known_at_s=now_s - 1)
    assert [(r.name, r.figures.energy_j, r.figures.location_g) for r in after.rows] == [
        (r.name, r.figures.energy_j, r.figures.location_g) for r in before.rows
    ]
    assert other.append([entry(records[0])], now_s + 60).duplicate == 1
    assert other.append([entry(record("n9", 1, total_j=1.0), "new")], now_s + 60).stored == 1
    other.close()
    with pytest.raises(Failure, match="not empty"):
        import_(tmp_path / "all.gz", target, lambda *_: None)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[: len(data) // 2], "evenwatt ledger export"),
        (lambda data: b"hello", "evenwatt ledger export"),
        (lambda data: gzip.compress(gzip.decompress(data).rsplit(b"\n", 3)[0] + b"\n"), "cut off"),
        (lambda data: gzip.compress(gzip.decompress(data).replace(b'"schema":', b'"schema":9', 1)), "version"),
        (
            lambda data: gzip.compress(gzip.decompress(data).replace(b'"columns":["id"', b'"columns":["x"', 1)),
            "columns",
        ),
        (lambda data: gzip.compress(gzip.decompress(data) + b"{"), "damaged"),
    ],
)
def test_a_damaged_export_imports_nothing(tmp_path, damage, said):
    writer = LedgerWriter(str(tmp_path / "a.db"))
    filled(writer, random.Random(9), minutes=5)
    writer.close()
    export(str(tmp_path / "a.db"), tmp_path / "all.gz", lambda *_: None)
    (tmp_path / "bad.gz").write_bytes(damage((tmp_path / "all.gz").read_bytes()))
    with pytest.raises(Failure, match=said):
        import_(tmp_path / "bad.gz", str(tmp_path / "b.db"), lambda *_: None)
    writer = LedgerWriter(str(tmp_path / "b.db"))
    assert count(writer, "zone") == 0
    writer.close()


def test_other_versions_of_the_schema_are_refused_by_name(where):
    LedgerWriter(where).close()
    writer = LedgerWriter(where)
    writer.connection.run("UPDATE meta SET value = ? WHERE name = 'schema'", (VERSION + 1,))
    writer.close()
    with pytest.raises(Failure, match="install a newer evenwatt"):
        LedgerWriter(where)


def test_the_unreleased_first_version_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "c.db") as old:
        old.executescript("PRAGMA application_id = 1163286356; CREATE TABLE meta (name TEXT, value INTEGER);")
        old.execute("CREATE TABLE ledger (x)")
    with pytest.raises(Failure, match="version 1, expected 2 to"):
        LedgerWriter(str(tmp_path / "c.db"))


def test_only_one_collector_writes_a_postgres_database(cluster):
    url = cluster.database()
    first = LedgerWriter(url)
    with pytest.raises(Failure, match="another collector"):
        LedgerWriter(url)
    first.close()
    LedgerWriter(url).close()
