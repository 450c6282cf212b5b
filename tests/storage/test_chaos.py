"""What can go wrong at once: killed processes, servers that stop, races between threads, nodes and clocks that lie."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from math import fsum
from pathlib import Path

import pytest
from msgspec.structs import replace

from evenwatt_collector.carbon.labels import LabelSettings
from evenwatt_collector.carbon.shares import interval_ms
from evenwatt_collector.carbon.site import DeviceFacts
from evenwatt_collector.keeper import Keeper
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.build import Made, build_report, open_and_build
from evenwatt_collector.report.model import By
from evenwatt_collector.storage import DatabaseError, LedgerWriter, connect
from evenwatt_collector.storage import intensity as store
from evenwatt_collector.storage.connection import transaction
from evenwatt_collector.storage.keeping import tidy
from evenwatt_collector.storage.rollup import due, roll_up
from evenwatt_collector.storage.weighing import COLUMNS
from evenwatt_collector.store import Store
from evenwatt_daemon import Failure
from tests.storage.databases import Cluster
from tests.storage.made import DAY, HOUR, T0, entry, facts, reading, record, task
from tests.storage.test_reference import ask, roll
from tests.support import wait_for

LONG_S = 400 * DAY


class Between:
    """A connection with something that happens at a moment, as another thread may do at any."""

    def __init__(self, connection, moment, happens):
        self._connection, self._moment, self._happens = connection, moment, happens

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def begin(self):
        self._pass("BEGIN")
        self._connection.begin()

    def rows(self, sql, parameters=()):
        found = self._connection.rows(sql, parameters)
        self._pass(f"{sql} {parameters}")
        return found

    def commit(self):
        self._connection.commit()
        self._pass("COMMIT")

    def _pass(self, what):
        if self._happens is not None and self._moment in what:
            happens, self._happens = self._happens, None
            happens()


def used(seq=1, joules=100.0, start_s=T0, **fields):
    return record(seq=seq, start_ms=int(start_s * 1000), parts=[("unit", "x", joules, 0.0)], **fields)


def put(writer, made, at_s):
    writer.append([entry(made)], at_s)
    writer.settle()


def settled(writer):
    store.set_site(writer.connection, "hall", facts(), None, 1)
    return writer


def energy_j(writer, now_s, by=By.NODE, days=10):
    return ask(writer, by, T0 - DAY, T0 + days * DAY, now_s).total.energy_j


# --- processes that are killed ------------------------------------------------------------------------------------

KILLED = """
import random, sys
from evenwatt_collector.storage import LedgerWriter
from tests.storage.made import HOUR, T0, entry, record, task
where, seed = sys.argv[1], int(sys.argv[2])
rng, writer = random.Random(seed), LedgerWriter(where)
boots = {(b.node): b.mark for b in writer.totals()}
print("ready", flush=True)
while True:
    batch = []
    for _ in range(rng.randrange(1, 6)):
        node = f"n{rng.randrange(3)}"
        seq = boots[node] = boots.get(node, 0) + 1
        run = task(1 + int(node[1]), duration_s=60.0 * seq, units=[("images", 7.0 * seq)])
        made = record(node, seq, (T0 + 60 * seq) * 1000, None, [
            ("unit", "web", float(seq % 7), 0.0), ("task", run.id, 5.0, 0.0), ("idle", "", 0.0, 3.0)], tasks=[run])
        batch.append(entry(made))
    for commit in [writer.append(batch, T0 + 60 * max(boots.values()) + 61)]:
        for boot in commit.totals:
            print(boot.node, boot.mark, flush=True)
    if rng.random() < 0.3:
        writer.settle()
"""


def test_killed_at_random_moments_it_keeps_what_was_acknowledged_once(where):
    rng, told = random.Random(11), {}
    for life in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, where, str(life)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        )
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.01, 0.4))
        os.kill(child.pid, signal.SIGKILL)
        for line in child.stdout.read().splitlines():
            node, _, mark = line.partition(" ")
            if line.count(" ") == 1 and mark.isdigit():
                told[node] = max(told.get(node, 0), int(mark))
        child.wait()
    writer = wait_for(lambda: _opened(where), "the dead collector's lock is gone")
    try:
        books = {boot.node: boot for boot in writer.totals()}
        for node, mark in told.items():
            assert books[node].mark >= mark
        rows = writer.connection.rows
        wanted = {node: (sum(s % 7 for s in range(1, b.records + 1)), 5.0 * b.records, 3.0 * b.records)
                  for node, b in books.items()}  # fmt: skip
        assert sum(b.records for b in books.values()) == rows("SELECT count(*) FROM ledger")[0][0] > 0
        assert all(b.missing == 0 for b in books.values())
        by_node = dict(rows("SELECT node.name, SUM(energy_j) FROM hour JOIN node ON node.id = node WHERE cut = 1 "
                            "GROUP BY node.name"))  # fmt: skip
        assert by_node == {node: sum(parts) for node, parts in wanted.items()}
        by_label = dict(rows("SELECT owner.kind, SUM(energy_j) FROM hour JOIN owner ON owner.id = owner WHERE cut = 2 "
                             "GROUP BY owner.kind"))  # fmt: skip
        by_kind = [sum(column) for column in zip(*wanted.values(), strict=True)]
        assert by_label == dict(zip(("unit", "task", "idle"), by_kind, strict=True))
        by_owner = rows("SELECT node.name, owner.kind, SUM(energy_j) FROM hour JOIN node ON node.id = node "
                        "JOIN owner ON owner.id = owner WHERE cut = 3 GROUP BY node.name, owner.kind")  # fmt: skip
        assert {(n, k): j for n, k, j in by_owner} == {
            (n, k): j for n, parts in wanted.items() for k, j in zip(("unit", "task", "idle"), parts, strict=True)
        }
        done = rows("SELECT node.name, SUM(amount) FROM work JOIN node ON node.id = node WHERE unit = 'images' "
                    "GROUP BY node.name")  # fmt: skip
        assert dict(done) == {node: 7.0 * b.last_seq for node, b in books.items()}
    finally:
        writer.close()


def _opened(where):
    try:
        return LedgerWriter(where)
    except Failure as error:
        if "another collector" in str(error):
            return None
        raise


# --- a server that stops ------------------------------------------------------------------------------------------


@pytest.fixture
def own_cluster():
    running = Cluster().start()
    yield running
    running.remove()


def test_a_server_that_stops_for_a_while_loses_nothing(own_cluster, monkeypatch):
    monkeypatch.setattr("evenwatt_collector.store._RETRY_S", 0.05)
    monkeypatch.setattr("evenwatt_collector.keeper._ROUND_S", 0.1)
    url, heard = own_cluster.database(), []
    ledger, keeper = Store(url, heard.append), Keeper(url, 40, 100)
    now_s = int(time.time())
    ledger.start()
    keeper.start()
    try:
        keeper.ask(lambda c: store.set_site(c, "hall", facts(), None, 1)).result(60)
        assert all(ledger.offer(entry(used(seq, 1.0, now_s - 3600 + seq))) for seq in range(1, 50))
        wait_for(lambda: heard and heard[-1].totals[0].mark == 49, "all is stored")
        own_cluster.stop()
        assert all(ledger.offer(entry(used(seq, 1.0, now_s - 3600 + seq))) for seq in range(50, 100))
        wait_for(lambda: ledger.alarm and keeper.alarm, "both alarm")
        own_cluster.start()
        wait_for(lambda: heard[-1].totals[0].mark == 99 and ledger.alarm is None, "the ledger goes on")
        wait_for(lambda: _says(keeper), "the keeper answers queries again")
        keeper.take([reading((now_s - 7200) // 3600 * 3600, (now_s - 3600) // 3600 * 3600, 100.0)])
        wait_for(lambda: keeper.alarm is None, "the keeper is well again")
    finally:
        ledger.close()
        keeper.close()
    connection = connect(url, write=False)
    assert connection.rows("SELECT count(*), SUM(energy_j) FROM ledger") == [(99, 99.0)]
    booked_j = connection.rows("SELECT SUM(energy_j) FROM hour WHERE cut = 1")[0][0]
    assert booked_j == pytest.approx(99.0, rel=1e-12)
    connection.close()


def _says(keeper):
    return keeper.ask(lambda c: c.rows("SELECT 1")).exception(60) is None


def test_connections_that_break_at_any_moment_lose_and_double_nothing(cluster):
    url, stop = cluster.database(), threading.Event()
    writer = settled(LedgerWriter(url))
    breaking = threading.Thread(target=_break, args=(url, stop))
    breaking.start()
    try:
        for seq in range(1, 80):
            while not _done(lambda s=seq: writer.append([entry(used(s, 2.0, T0 + s))], T0 + 61 + s)):
                time.sleep(0.01)
            if seq % 5 == 0:
                _done(writer.settle)
    finally:
        stop.set()
        breaking.join()
    while not _done(writer.settle):
        time.sleep(0.01)
    assert writer.connection.rows("SELECT count(*), SUM(energy_j) FROM ledger") == [(79, 158.0)]
    assert writer.connection.rows("SELECT SUM(energy_j) FROM hour WHERE cut = 1") == [(158.0,)]
    writer.close()


def _break(url, stop):
    other, rng = connect(url, exclusive=False), random.Random(4)
    pause = 1.0
    while not stop.wait(pause * rng.uniform(0.005, 0.03)):
        pause *= 1.005  # on a slow machine nothing would ever come through in the first pauses
        other.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                   "AND datname = current_database()")  # fmt: skip
    other.close()


def _done(step):
    try:
        step()
    except DatabaseError:
        return False
    return True


def test_who_lost_the_lock_to_another_collector_waits_and_goes_on_from_what_that_one_wrote(cluster):
    url = cluster.database()
    first, killer = settled(LedgerWriter(url)), connect(url, exclusive=False)
    put(first, used(1, 1.0), T0 + 61)
    _kill_others(killer)
    second = wait_for(lambda: _opened(url), "the lock is free")
    put(second, used(2, 2.0, T0 + 60), T0 + 130)
    assert not _done(lambda: first.append([entry(used(3, 4.0, T0 + 120))], T0 + 129))
    with pytest.raises(DatabaseError, match="another collector"):
        first.append([entry(used(3, 4.0, T0 + 120))], T0 + 129)
    second.close()
    batch = [entry(used(seq, 2.0 ** (seq - 1), T0 + 60 * (seq - 1))) for seq in (1, 2, 3)]
    commit = wait_for(lambda: _opened_by(first, batch), "the lock is free again")
    assert (commit.stored, commit.duplicate, commit.totals[0].mark) == (1, 2, 3)
    _kill_others(killer)  # it dies before it settles
    first.close()
    third = wait_for(lambda: _opened(url), "the lock is free once more")
    assert third.connection.rows("SELECT SUM(energy_j) FROM hour WHERE cut = 1") == [(7.0,)]
    third.close()
    killer.close()


def _opened_by(writer, batch):
    try:
        return writer.append(batch, T0 + 129)
    except DatabaseError:
        return None


def _kill_others(connection):
    connection.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND datname = current_database()"
    )


def test_a_commit_whose_answer_was_lost_is_not_booked_twice(where):
    writer = settled(LedgerWriter(where))
    writer.connection = Between(writer.connection, "COMMIT", _lost)
    with pytest.raises(DatabaseError):
        writer.append([entry(used())], T0 + 100)
    writer.append([entry(used())], T0 + 99)  # the node sends it again; the clock was set back by a second
    writer.settle()
    writer.close()
    again = LedgerWriter(where)
    assert again.connection.rows("SELECT SUM(energy_j) FROM hour WHERE cut = 1") == [(100.0,)]
    again.close()


def _lost():
    raise DatabaseError("the connection was lost")


# --- reports while something happens ------------------------------------------------------------------------------


def test_a_report_counts_nothing_twice_while_the_books_are_settled(where):
    writer, reader = settled(LedgerWriter(where)), connect(where, write=False)
    writer.append([entry(used())], T0 + 61)
    between = Between(reader, "SELECT booked_ms FROM zone WHERE id = ?", writer.settle)
    query = ReportQuery(by=By.NODE, start_s=T0, end_s=T0 + HOUR, timezone="UTC")
    report = build_report(between, query, Made(now_s=T0 + 120, version="0", fleet="test"))
    reader.close()
    writer.close()
    assert report.total.energy_j == 100.0


def test_reports_never_fail_nor_count_twice_while_records_come_and_days_go(where):
    writer, stop, wrong = settled(LedgerWriter(where)), threading.Event(), []
    asked = threading.Thread(target=_ask_on, args=(where, stop, wrong))
    keeping = threading.Thread(target=_keep_on, args=(where, stop, wrong))
    asked.start()
    keeping.start()
    deadline, seq = time.monotonic() + 3, 0
    while time.monotonic() < deadline:
        batch = [entry(used(seq := seq + 1, 1.0, T0 + seq * 60)) for _ in range(3)]
        writer.append(batch, T0 + seq * 60 + 61)
        writer.settle()
    stop.set()
    asked.join()
    keeping.join()
    writer.close()
    assert wrong == []


def _ask_on(where, stop, wrong):
    """No report may hold more than was stored when it was finished, nor less than when it was begun."""
    counting = connect(where, write=False)
    while not stop.is_set():
        try:
            before = counting.rows("SELECT count(*) FROM ledger")[0][0]
            query = ReportQuery(by=By.NODE, start_s=T0, end_s=T0 + 30 * DAY, timezone="UTC")
            report = open_and_build(where, query, Made(now_s=T0 + 30 * DAY, version="0", fleet="test"))
            after = counting.rows("SELECT count(*) FROM ledger")[0][0]
        except (DatabaseError, Failure) as error:
            wrong.append(str(error))
            continue
        if not before - 1e-6 <= report.total.energy_j <= after + 1e-6:
            wrong.append((before, report.total.energy_j, after))
    counting.close()


def _keep_on(where, stop, wrong):
    connection, value = connect(where, exclusive=False), 0
    while not stop.wait(0.05):
        try:
            for day, zone in due(connection, T0 + 30 * DAY)[:2]:
                roll_up(connection, day, zone, T0 + 30 * DAY)
            value += 1
            store.record(connection, [reading(T0, T0 + HOUR, float(value % 900), recorded_s=T0 + value)])
        except (DatabaseError, Failure) as error:
            wrong.append(str(error))
    connection.close()


def test_late_energy_that_comes_while_its_day_is_rolled_up_is_not_forgotten(where):
    writer, other = settled(LedgerWriter(where)), connect(where, exclusive=False)
    put(writer, used(), T0 + 61)
    now_s = T0 + 2 * DAY
    late = used(2, 7.0, T0 + 60)
    assert roll_up(Between(other, "FROM hour", lambda: put(writer, late, now_s)), T0 // DAY, 1, now_s)
    roll(writer, now_s + DAY)
    assert energy_j(writer, now_s + DAY) == 107.0
    other.close()
    writer.close()


# --- what is forgotten, while something comes ---------------------------------------------------------------------


def test_late_energy_that_is_not_settled_when_its_day_is_compacted_counts_once(database):
    settled(database)
    put(database, used(), T0 + 61)
    now_s = T0 + 200 * DAY
    roll(database, now_s)
    database.append([entry(used(2, 7.0, T0 + 60))], now_s)
    list(tidy(database.connection, now_s, 40, 100))
    database.settle()
    roll(database, now_s + HOUR)
    assert energy_j(database, now_s + HOUR) == 107.0


def test_late_energy_that_is_settled_while_its_day_is_compacted_is_not_deleted(where):
    writer, other = settled(LedgerWriter(where)), connect(where, exclusive=False)
    put(writer, used(), T0 + 61)
    now_s = T0 + 200 * DAY
    roll(writer, now_s)
    between = Between(other, "BEGIN", lambda: put(writer, used(2, 7.0, T0 + 60), now_s))
    list(tidy(between, now_s, 300, 100))
    roll(writer, now_s + HOUR)
    assert energy_j(writer, now_s + HOUR) == 107.0
    other.close()
    writer.close()


def test_a_compacted_day_with_late_energy_keeps_its_qualities_and_its_time(database):
    settled(database)
    put(database, used(quality="estimated"), T0 + 61)
    now_s = T0 + 200 * DAY
    roll(database, now_s)
    list(tidy(database.connection, now_s, 40, 100))
    put(database, used(2, 100.0, T0 + 60, quality="estimated"), now_s)
    for value in (1.0, 2.0, 3.0):
        roll(database, now_s + HOUR)
        total = ask(database, By.NODE, T0 - DAY, T0 + 10 * DAY, now_s + HOUR).total
        assert (total.energy_j, total.estimated_j, total.measured_j, total.covered_s) == (200.0, 200.0, 0.0, 120.0)
        store.record(database.connection, [reading(T0, T0 + HOUR, value, recorded_s=int(now_s + value))])


def test_time_without_energy_is_still_covered_after_its_day_was_compacted(database):
    settled(database)
    store.set_device(database.connection, "n1", DeviceFacts(embodied_g=1e6, lifetime_s=1e6), None, 1)
    put(database, record(total_j=0.0), T0 + 61)
    now_s = T0 + 200 * DAY
    roll(database, now_s)
    list(tidy(database.connection, now_s, 40, 100))
    for value in (1.0, 2.0):
        total = ask(database, By.NODE, T0 - DAY, T0 + 10 * DAY, now_s).total
        assert (total.covered_s, total.embodied_g) == (60.0, 60.0)
        store.record(database.connection, [reading(T0, T0 + HOUR, value, recorded_s=int(now_s + value))])


def test_rules_for_labels_that_were_changed_leave_earlier_reports_as_they_were(where):
    writer = settled(LedgerWriter(where, labels=[LabelSettings(owner="unit/x", workload="old")]))
    put(writer, used(), T0 + 61)
    then = ask(writer, By.WORKLOAD, T0, T0 + HOUR, T0 + 300)
    writer.close()
    writer = LedgerWriter(where, labels=[LabelSettings(owner="unit/x", workload="new")])
    put(writer, record("n2", 1, (T0 + DAY) * 1000, parts=[("unit", "y", 1.0, 0.0)]), T0 + DAY + 61)
    writer.close()
    query = ReportQuery(by=By.WORKLOAD, start_s=T0, end_s=T0 + HOUR, timezone="UTC", known_at_s=T0 + 300)
    again = open_and_build(where, query, Made(now_s=T0 + 2 * DAY, version="0", fleet="test"))
    assert [row.name for row in again.rows] == [row.name for row in then.rows] == ["old"]


# --- nodes and clocks that lie ------------------------------------------------------------------------------------


def test_zero_bytes_anywhere_stop_nobody(database):
    settled(database)
    odd = "\0'; DROP TABLE hour;--" + "\N{BAR CHART}" * 370
    run = replace(task(1, odd, odd, odd, odd, [(odd, 3.0)]), name=odd, parent=odd, state=odd)
    parts = [("task", run.id, 5.0, 0.0), ("unit", odd, 7.0, 0.0), ("idle", odd, 0.0, 1.0), (odd, odd, 1.0, 0.0)]
    database.append([entry(record(parts=parts, tasks=[run]))], T0 + 61)
    database.append([entry(record("n2", 1, parts=[("unit", "x", 100.0, 0.0)]))], T0 + 61)
    database.settle()
    for by in By:
        assert ask(database, by, T0, T0 + HOUR, T0 + 300).total.energy_j == 114.0


def test_a_record_of_years_does_not_hold_up_the_ledger(tmp_path):
    long = replace(record(total_j=1e6), start_mono_ns=0, end_mono_ns=LONG_S * 10**9)
    (tmp_path / "entry").write_bytes(entry(long).payload)
    script = (
        "import sys; from pathlib import Path; from evenwatt_wire import Kind, Topic, decode\n"
        "from evenwatt_collector.storage import LedgerWriter; from tests.storage.made import T0, entry\n"
        "folder = Path(sys.argv[1]); made = decode(Topic('hall', 'n1', Kind.LEDGER), (folder / 'entry').read_bytes())\n"
        "writer = LedgerWriter(str(folder / 'c.db')); writer.append([entry(made)], T0 + 61)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=Path(__file__).parents[2])
    try:
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.wait()


def test_a_place_on_the_wall_clock_is_never_before_1970():
    long = replace(record(), start_mono_ns=0, end_mono_ns=2**63 - 1)
    assert interval_ms(long, (T0 + 61) * 1000)[0] >= 0


def test_odd_numbers_and_clocks_add_up_in_every_cut(database):
    settled(database)
    rng, wanted, at_s = random.Random(2), [], T0 + 600
    walls = (0, 1, 4_102_444_800_000, 2**53, (T0 - 9 * HOUR) * 1000, (T0 + 300) * 1000, T0 * 1000)
    for seq in range(1, 200):
        joules = rng.choice((0.0, -0.0, 5e-324, 1e-300, 1.0, 3.6e6))
        parts = [("unit", f"u{i}", rng.choice((0.0, -0.0, 5e-324, 1.0, 1e18)), rng.choice((0.0, 1e18, 0.5)))
                 for i in range(rng.choice((0, 1, 3)))]  # fmt: skip
        wall_ms, length_s = rng.choice(walls), rng.choice((0, 1, 60, 3 * DAY))
        made = record("n1", seq, parts=parts, total_j=joules)
        made = replace(made, start_wall_ms=rng.choice(walls), end_wall_ms=wall_ms,
                       end_mono_ns=made.start_mono_ns + length_s * 10**9 * rng.choice((1, 1, -1)))  # fmt: skip
        made = replace(made, end_mono_ns=max(0, made.end_mono_ns))
        put(database, made, at_s)
        wanted.append(joules)
    wanted_j, now_s = fsum(wanted), T0 + 3 * DAY
    for _ in range(2):
        for by in By:
            total = ask(database, by, T0 - 9 * DAY, T0 + 9 * DAY, now_s).total
            assert total.energy_j == pytest.approx(wanted_j, rel=1e-9)
            assert total.idle_j >= -1e-9 * wanted_j
        roll(database, now_s)


def test_a_collectors_clock_that_was_wrong_once_hides_no_energy(database):
    settled(database)
    put(database, used(), T0 + 3 * DAY)  # the clock is three days ahead, and is set right then
    put(database, used(2, 7.0, T0 + 60), T0 + 130)
    assert energy_j(database, T0 + 200) == 107.0
    roll(database, T0 + DAY + HOUR)
    assert energy_j(database, T0 + 10 * DAY) == 107.0


def test_work_is_counted_although_a_nodes_clock_goes_back_by_hours(database):
    settled(database)
    for seq, end_s in ((1, T0 + 3 * HOUR), (2, T0 + 60), (3, T0 + 120)):
        run = replace(task(1, units=[("images", 10.0 * seq)]), state="ended" if seq == 3 else "running")
        made = record("n1", seq, (T0 + 60 * seq) * 1000, parts=[("task", run.id, 5.0, 0.0)], tasks=[run])
        made = replace(made, start_wall_ms=(end_s - 60) * 1000, end_wall_ms=end_s * 1000)
        database.append([entry(made)], T0 + 3 * HOUR + 60 * seq)
    database.settle()
    report = ask(database, By.TASK, T0 - HOUR, T0 + DAY, T0 + DAY)
    assert report.total.units == {"images": 30.0}
    assert database.connection.rows("SELECT state FROM task") == [("ended",)]


def test_one_name_in_two_zones_is_two_nodes_and_a_record_sent_to_both_counts_in_each(database):
    for zone in ("hall", "attic"):
        store.set_site(database.connection, zone, facts(), None, 1)
        database.append([entry(used(seq, 10.0), zone) for seq in (1, 2, 1)], T0 + 61)
    database.settle()
    report = ask(database, By.NODE, T0, T0 + HOUR, T0 + 300)
    assert sorted((row.zone, row.name, row.figures.energy_j) for row in report.rows) == [
        ("attic", "n1", 20.0), ("hall", "n1", 20.0),
    ]  # fmt: skip


def test_a_node_that_was_not_heard_of_then_is_in_no_earlier_report(database):
    settled(database)
    put(database, used(), T0 + 61)
    before = ask(database, By.NODE, T0, T0 + DAY, T0 + 300)
    put(database, used(node="n2", start_s=T0 - HOUR), T0 + 400)
    again = ask(database, By.NODE, T0, T0 + DAY, T0 + DAY, known_at_s=T0 + 300)
    assert [row.name for row in again.rows] == [row.name for row in before.rows]
    assert again.total.missing_s == before.total.missing_s


# --- settings that change -----------------------------------------------------------------------------------------


def test_slots_that_are_changed_between_restarts_change_no_sum(where):
    for life, slots in enumerate((12, 60, 20, 12)):
        writer = settled(LedgerWriter(where, {"hall": slots}))
        for seq in range(1, 26):
            number = life * 25 + seq
            writer.append([entry(used(number, 6.0, T0 + 60 * number))], T0 + 60 * number + 61)
        if life % 2:
            writer.settle()
        for by in (By.NODE, By.WORKLOAD, By.TASK):
            assert energy_j(writer, T0 + 3 * HOUR, by) == pytest.approx(6.0 * 25 * (life + 1), rel=1e-12)
        writer.close()
    writer = LedgerWriter(where)
    roll(writer, T0 + 3 * DAY)
    assert energy_j(writer, T0 + 3 * DAY) == pytest.approx(600.0, rel=1e-12)
    writer.close()


def test_a_zone_that_changes_grid_and_pue_within_a_day_is_weighed_by_what_held(database):
    settled(database)
    store.record(database.connection, [reading(T0, T0 + DAY, 100.0), reading(T0, T0 + DAY, 700.0, grid="PL")])
    changed = facts(grid="PL", pue=2.0)
    store.set_site(database.connection, "hall", changed, T0 + 6 * HOUR, T0 + 7 * HOUR)
    for hour in range(12):
        put(database, used(hour + 1, 3.6e6, T0 + hour * HOUR), T0 + hour * HOUR + 61)
    wanted_g = 6 * 1.25 * 100.0 + 6 * 2.0 * 700.0
    for _ in range(2):
        report = ask(database, By.WORKLOAD, T0 - DAY, T0 + 9 * DAY, T0 + 3 * DAY)
        assert report.total.location_g == pytest.approx(wanted_g, rel=1e-9)
        assert {use.grid: use.energy_j for use in report.used} == pytest.approx({"DE": 2.16e7, "PL": 2.16e7})
        roll(database, T0 + 3 * DAY)


def test_seventy_thousand_runs_of_one_workload_can_be_reported(where):
    writer = settled(LedgerWriter(where))
    put(writer, record(parts=[("unit", "other", 1.0, 0.0)]), T0 + 61)
    roll(writer, T0 + 2 * DAY)
    base, runs = 1_000, 70_000
    with transaction(writer.connection):
        if writer.connection.postgres:
            writer.connection.run(
                "INSERT INTO owner (id, label, kind, name, workload, model, phase, team, task) SELECT ? + i, ?, "
                "'task', 'run', 'resnet', '', '', '', 'run-' || i FROM generate_series(1, ?) AS i",
                (base, base + 1, runs),
            )
        else:
            writer.connection.many(
                "INSERT INTO owner (id, label, kind, name, workload, model, phase, team, task) "
                "VALUES (?, ?, 'task', 'run', 'resnet', '', '', '', ?)",
                [(base + i, base + 1, f"run-{i}") for i in range(1, runs + 1)],
            )
        names = [name for name in COLUMNS if name not in {"market_g", "embodied_g", "water_l"}]
        ones = ", ".join("1.0" for _ in names)
        writer.connection.run(
            f"INSERT INTO day (cut, day, zone, node, owner, {', '.join(names)}) "  # noqa: S608  (our own columns)
            f"SELECT 3, ?, 1, 1, id, {ones} FROM owner WHERE id > ?",
            (T0 // DAY, base),
        )
    report = ask(writer, By.TASK, T0 - DAY, T0 + 9 * DAY, T0 + 10 * DAY, workload="resnet")
    assert report.total.energy_j == runs
    writer.close()


# --- disks --------------------------------------------------------------------------------------------------------


def test_a_database_that_is_locked_when_the_books_are_due_is_settled_later(tmp_path, monkeypatch):
    monkeypatch.setattr("evenwatt_collector.storage.connection.BUSY_MS", 20)
    ledger = Store(str(tmp_path / "c.db"), lambda _: None)
    database = ledger._database
    database.append([entry(used())], time.time())
    other = sqlite3.connect(tmp_path / "c.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ledger.start()
    wait_for(lambda: ledger.alarm, "the store alarms")
    other.execute("ROLLBACK")
    other.close()
    try:
        wait_for(lambda: ledger.alarm is None, "the store tries again")
    finally:
        ledger.close()
    again = connect(str(tmp_path / "c.db"), write=False)
    assert again.rows("SELECT SUM(energy_j) FROM hour WHERE cut = 1") == [(100.0,)]
    again.close()


def test_a_database_that_is_removed_under_a_running_collector_acknowledges_nothing(tmp_path):
    writer = settled(LedgerWriter(str(tmp_path / "c.db")))
    put(writer, used(), T0 + 61)
    for path in tmp_path.glob("c.db*"):
        path.unlink()
    with pytest.raises(DatabaseError):
        writer.append([entry(used(2))], T0 + 121)
    writer.close()


def test_a_server_that_hangs_is_given_up_and_nothing_is_lost(own_cluster, monkeypatch):
    monkeypatch.setattr("evenwatt_collector.storage.connection.HUNG_S", 1.0)
    commits = []
    ledger = Store(own_cluster.database(), commits.append)
    ledger.start()
    own_cluster.signal(signal.SIGSTOP)
    try:
        assert ledger.offer(entry(used()))
        wait_for(lambda: ledger.alarm, "a server that hangs is an alarm")
        assert not commits
    finally:
        own_cluster.signal(signal.SIGCONT)
    wait_for(lambda: commits and ledger.alarm is None, "the record is stored when the server goes on")
    ledger.close()
    assert commits[0].stored + commits[0].duplicate == 1
