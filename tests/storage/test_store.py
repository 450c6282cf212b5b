from __future__ import annotations

import multiprocessing
import random
import sqlite3
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from math import fsum

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenwatt_collector.books import Books, Entry, complete_up_to, cover, holes
from evenwatt_collector.storage import DatabaseError, LedgerWriter, connect
from evenwatt_collector.storage.schema import VERSION, prepare
from evenwatt_collector.store import Store
from evenwatt_daemon import Failure
from evenwatt_wire import encode
from tests.collector.said import BOOT, NEXT_BOOT, WALL_MS, ZONE, ledger
from tests.support import wait_for

NOW_S = WALL_MS / 1e3 + 60


def entry(record, zone=ZONE, grams=1.0):
    return Entry(zone, record, encode(record), grams)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "collector.db"


def append(database, *records):
    return database.append([entry(record) for record in records], NOW_S)


@given(st.lists(st.integers(1, 40), max_size=80))
def test_mark_and_holes_of_any_order(seqs):
    numbers = []
    for seq in seqs:
        numbers = cover(numbers, seq, seq + 1)
    known = set(seqs)
    assert complete_up_to(numbers) == next(n for n in range(42) if n + 1 not in known)
    assert holes(numbers) == (max(known) - len(known) if known else 0)
    assert {n for start, end in numbers for n in range(start, end)} == known


def test_each_record_once_whatever_arrives_twice(database):
    first = append(database, ledger(seq=1), ledger(seq=2), ledger(seq=1))
    again = append(database, ledger(seq=2), ledger(seq=1, energy_j=999.0))
    assert (first.stored, first.duplicate, again.stored, again.duplicate) == (2, 1, 0, 2)
    (boot,) = again.totals
    assert (boot.records, boot.mark, boot.energy_j, boot.missing) == (2, 2, 120.0, 0)


def test_mark_stops_at_a_hole_and_what_is_beyond_is_said(database):
    commit = append(database, *(ledger(seq=seq) for seq in (1, 2, 5, 4)))
    assert (commit.totals[0].mark, commit.totals[0].missing) == (2, 1)
    assert commit.beyond == {("n1", BOOT): [4, 5]}
    commit = append(database, ledger(seq=3))
    assert (commit.totals[0].mark, commit.beyond) == (5, {("n1", BOOT): []})


def test_energy_by_node_and_domain_can_be_asked(database):
    append(database, *(ledger(seq=seq, energy_j=10.0, domains=("package-0", "dram")) for seq in (1, 2, 3)))
    append(database, ledger(node="n2", energy_j=8.0))
    database.settle()
    rows = database.connection.rows(
        "SELECT node.name, domain, energy_j + energy_low_j FROM domain_energy JOIN node ON node.id = node ORDER BY 1, 2"
    )
    assert rows == [("n1", "dram", 15.0), ("n1", "package-0", 15.0), ("n2", "package-0", 8.0)]


def test_grams_as_counted_on_arrival_add_up_and_survive(database, where):
    database.append([entry(ledger(seq=1), grams=360.0)], NOW_S)
    database.append([entry(ledger(seq=2), grams=200.0), entry(ledger(seq=2), grams=200.0)], NOW_S)
    database.close()
    again = LedgerWriter(where)
    assert again.totals()[0].grams == 560.0
    again.close()


def test_covered_time_merges_where_records_touch(database):
    append(database, *(ledger(seq=seq) for seq in (1, 2, 4)))
    assert database.totals()[0].covered == ((0, 120 * 10**9), (180 * 10**9, 240 * 10**9))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["n1", "n2"]), st.sampled_from([BOOT, NEXT_BOOT]), st.integers(1, 25)), max_size=60
    ),
    st.randoms(use_true_random=False),
)
def test_duplication_reordering_and_crashes_lose_and_double_nothing(tmp_path_factory, sent, rng):
    path = tmp_path_factory.mktemp("store") / "c.db"
    energies = {key: rng.uniform(0, 1e7) for key in set(sent)}
    arrivals = [key for key in sent for _ in range(rng.choice((1, 1, 2)))]
    rng.shuffle(arrivals)
    database = LedgerWriter(str(path))
    duplicates = 0
    while arrivals:
        batch, arrivals = arrivals[: (n := rng.randint(1, 9))], arrivals[n:]
        entries = [entry(ledger(node, seq, boot, energies[node, boot, seq])) for node, boot, seq in batch]
        crash = rng.random()
        if crash < 0.2:  # dies in the middle of the transaction: nothing of it counts, and the nodes send it again
            database.close()
            database = LedgerWriter(str(path))
            arrivals += batch
            continue
        if crash < 0.4:  # a bad disk for a moment
            _fail_once(database, entries)
        commit = database.append(entries, NOW_S)
        duplicates += commit.duplicate
        if crash > 0.8:  # dies after the commit, before anybody heard of it: all is sent again
            database.close()
            database = LedgerWriter(str(path))
            duplicates -= len(batch)
            arrivals += batch
    totals = {(boot.node, boot.boot): boot for boot in database.totals()}
    for node, boot in {(node, boot) for node, boot, _ in sent}:
        seqs = {seq for n, b, seq in sent if (n, b) == (node, boot)}
        found = totals[node, boot]
        assert found.records == len(seqs)
        assert found.mark == next(n for n in range(27) if n + 1 not in seqs)
        assert found.energy_j == pytest.approx(fsum(energies[node, boot, seq] for seq in seqs), rel=1e-15)
    stored = database.connection.rows("SELECT count(*) FROM ledger")[0][0]
    database.settle()
    booked_j = database.connection.rows("SELECT SUM(energy_j) FROM hour WHERE cut = 1")[0][0]
    assert (booked_j or 0.0) == pytest.approx(fsum(energies.values()), rel=1e-12)
    database.close()
    assert stored == len(set(sent))


def _fail_once(database, entries):
    database.connection.run("CREATE TEMP TRIGGER broken BEFORE INSERT ON boot BEGIN SELECT RAISE(FAIL, 'io'); END")
    with pytest.raises(DatabaseError):
        database.append(entries, NOW_S)
    database.connection.run("DROP TRIGGER broken")


class Heard:
    def __init__(self):
        self.commits = []
        self.books = Books()

    def __call__(self, commit):
        self.commits.append(commit)
        self.books.fold(commit)


def test_store_thread_commits_and_drains(path):
    heard = Heard()
    store = Store(str(path), heard)
    store.start()
    records = [ledger(f"n{i % 7}", 1 + i // 7, energy_j=0.1 * i) for i in range(700)]
    random.Random(3).shuffle(records)
    assert all(store.offer(entry(record)) for record in records)
    store.close()
    assert heard.books.records == 700
    assert heard.books.missing == 0
    assert not store.offer(entry(ledger(seq=999)))
    assert len(heard.commits) < 100  # grouped, not one by one
    again = Store(str(path), heard)
    assert sum(boot.records for boot in again.loaded) == 700
    assert again.took_over
    assert again.epoch > store.epoch
    again.close()


def test_full_queue_refuses_and_acknowledges_nothing(path, monkeypatch):
    monkeypatch.setattr("evenwatt_collector.store.QUEUE_RECORDS", 3)
    heard = Heard()
    store = Store(str(path), heard)
    assert [store.offer(entry(ledger(seq=seq))) for seq in range(1, 6)] == [True] * 3 + [False] * 2
    assert store.refused == 2
    store.start()
    wait_for(lambda: heard.commits, "the queue is written")
    store.close()
    assert heard.commits[0].totals[0].mark == 3


def test_full_disk_alarms_and_goes_on_when_there_is_room(path, monkeypatch):
    monkeypatch.setattr("evenwatt_collector.store._RETRY_S", 0.02)
    heard = Heard()
    store = Store(str(path), heard)
    pages = store._database.connection._db.execute("PRAGMA page_count").fetchone()[0]
    store._database.connection._db.execute(f"PRAGMA max_page_count={pages}")
    store.start()
    record = ledger(domains=tuple(f"d{i}" for i in range(400)))
    store.offer(entry(record))
    wait_for(lambda: store.alarm, "the store alarms")
    assert "full" in store.alarm
    assert heard.commits == []
    turned_s = store.turned_s
    wait_for(lambda: store.turned_s > turned_s, "the writer still comes round")
    wait_for(lambda: _widen(store), "there is room again")
    wait_for(lambda: heard.commits and store.alarm is None, "the record is stored")
    store.close()


def _widen(store):
    try:
        store._database.connection._db.execute("PRAGMA max_page_count=100000")
    except sqlite3.Error:
        return False
    return True


def test_locked_database_alarms_and_goes_on(path, monkeypatch):
    monkeypatch.setattr("evenwatt_collector.store._RETRY_S", 0.02)
    monkeypatch.setattr("evenwatt_collector.storage.connection.BUSY_MS", 20)
    heard = Heard()
    store = Store(str(path), heard)
    store.start()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.offer(entry(ledger()))
    wait_for(lambda: store.alarm and "locked" in store.alarm, "the store alarms")
    other.execute("ROLLBACK")
    other.close()
    wait_for(lambda: heard.commits and store.alarm is None, "the record is stored")
    store.close()


def test_two_collectors_may_make_one_file_at_the_same_moment(tmp_path):
    """As the two of a pair do when a machine starts: neither gives up, and one makes the tables."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        for turn in range(40):
            where = str(tmp_path / f"{turn}.db")
            begin_ns = time.monotonic_ns() + 5_000_000
            assert VERSION in list(pool.map(_make, [where] * 2, [begin_ns] * 2))


def _make(where, begin_ns):
    while time.monotonic_ns() < begin_ns:
        pass
    connection = connect(where, shared=True)
    prepare(connection, where)
    version = connection.rows("SELECT value FROM meta WHERE name = 'schema'")[0][0]
    connection.close()
    return version


def test_stopping_with_a_broken_disk_does_not_hang(path, monkeypatch):
    monkeypatch.setattr("evenwatt_collector.storage.connection.BUSY_MS", 20)
    heard = Heard()
    store = Store(str(path), heard)
    store.start()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.offer(entry(ledger()))
    wait_for(lambda: store.alarm, "the store alarms")
    closing = threading.Thread(target=store.close)
    closing.start()
    closing.join(60)
    assert not closing.is_alive()
    other.close()
    assert heard.commits == []


@pytest.mark.parametrize("content", [b"this is not a database at all, but text" * 100, None])
def test_a_file_that_is_not_ours_is_refused(path, content):
    if content is None:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE something (x)")
    else:
        path.write_bytes(content)
    with pytest.raises(Failure, match="move it away or name another file"):
        LedgerWriter(str(path))


def test_missing_folder_is_a_failure_with_the_fix(tmp_path):
    with pytest.raises(Failure, match="must exist"):
        LedgerWriter(str(tmp_path / "no" / "c.db"))
