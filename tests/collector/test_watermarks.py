"""What is stored of each node and boot: once, whatever comes twice, in whatever grain, whoever dies in between."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
from contextlib import closing
from math import fsum
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from evenwatt_agent.merging import merge
from evenwatt_cli.main import entry as cli
from evenwatt_collector.backlog import MOST, spread_s, window
from evenwatt_collector.books import Books, Entry, cover
from evenwatt_collector.storage import LedgerWriter
from evenwatt_collector.storage.identity import identity_of
from evenwatt_collector.storage.overlap import holes_of, lacking
from evenwatt_wire import encode
from tests.agent.records import BOOT, NEXT, WALL_MS, energy_j, record, total_j
from tests.collector.middle import Middle, stop
from tests.storage.databases import Cluster
from tests.support import process, wait_for

NOW_S = WALL_MS / 1e3 + 86_400
KILLS = int(os.environ.get("EVENWATT_KILLS", "3"))
NODES = Path(__file__).parents[2] / "bench" / "storming" / "nodes.py"


@pytest.fixture(scope="session")
def cluster():
    running = Cluster().start()
    yield running
    running.remove()


@pytest.fixture(params=["sqlite", "postgres"])
def writer(request, tmp_path):
    where = str(tmp_path / "c.db") if request.param == "sqlite" else request.getfixturevalue("cluster").database()
    made = LedgerWriter(where)
    yield made
    made.close()


def put(writer, *records):
    return writer.append([Entry("hall", one, encode(one), one.total.energy_j) for one in records], NOW_S)


def coarse(first, last, boot=BOOT):
    return merge([record(seq, boot) for seq in range(first, last + 1)])


def stored_j(writer):
    writer.settle()
    (sums,) = writer.connection.rows("SELECT COALESCE(SUM(energy_j), 0) FROM ledger")
    (hours,) = writer.connection.rows("SELECT COALESCE(SUM(energy_j), 0) FROM hour WHERE cut = 1")
    assert hours[0] == pytest.approx(sums[0], rel=1e-9)
    return sums[0]


# --- coarse records -----------------------------------------------------------------------------------------------


def test_a_coarse_record_counts_for_all_it_stands_for(writer):
    commit = put(writer, coarse(1, 50), record(51))
    assert (commit.totals[0].mark, commit.totals[0].missing, commit.stored) == (51, 0, 2)
    again = put(writer, *(record(seq) for seq in range(1, 52)), coarse(1, 50))
    assert (again.stored, again.duplicate, again.conflicts) == (0, 52, {})
    assert stored_j(writer) == pytest.approx(total_j(51))


def test_a_coarse_record_adds_only_what_is_not_stored(writer):
    put(writer, record(3), record(7), record(10))
    commit = put(writer, coarse(1, 10))
    assert (commit.totals[0].mark, commit.stored, commit.conflicts) == (10, 1, {})
    assert stored_j(writer) == pytest.approx(total_j(10), rel=1e-9)
    assert commit.totals[0].grams == pytest.approx(total_j(10), rel=1e-9)
    larger = put(writer, coarse(1, 30))
    assert (larger.totals[0].mark, larger.stored) == (30, 1)
    assert stored_j(writer) == pytest.approx(total_j(30), rel=1e-9)
    assert put(writer, coarse(1, 30)).stored == 0


def test_what_a_coarse_record_adds_is_the_rest_of_each_part_and_domain(writer):
    put(writer, record(1), record(2), coarse(1, 4))
    writer.settle()
    rows = writer.connection.rows("SELECT domain, energy_j + energy_low_j FROM domain_energy ORDER BY domain")
    assert dict(rows) == pytest.approx({"dram": 0.25 * total_j(4), "package-0": 0.75 * total_j(4)})
    owners = writer.connection.rows(
        "SELECT owner.name, SUM(hour.energy_j) FROM hour JOIN owner ON owner.id = hour.owner WHERE cut = 3 "
        "AND owner.kind = 'unit' GROUP BY 1 ORDER BY 1"
    )
    wanted = {f"u{k}": fsum(energy_j(n) - 40.0 for n in range(1, 5) if n % 3 == k) for k in range(3)}
    assert dict(owners) == pytest.approx(wanted)


def test_a_coarse_record_that_overlaps_in_part_is_not_guessed_at(writer):
    put(writer, coarse(1, 10))
    commit = put(writer, coarse(5, 15))
    assert (commit.stored, commit.conflicts) == (0, {("hall", "n1"): 1})
    assert stored_j(writer) == pytest.approx(total_j(10))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32))
def test_any_order_and_grain_adds_up_once(seed):
    rng = random.Random(seed)
    with TemporaryDirectory() as folder, closing(LedgerWriter(f"{folder}/c.db")) as made:
        sent, level = [record(seq) for seq in range(1, 25)], []
        for _ in range(rng.randint(1, 6)):  # the node adds up what it has: ever larger records, never across
            at = rng.randrange(len(sent))
            run = sent[at : at + rng.randint(2, 6)]
            rng.shuffle(level)
            put(made, *rng.sample(sent, k=min(3, len(sent))), *level[:2])
            if len(run) > 1:
                level.append(merge(run))
                sent[at : at + len(run)] = [level[-1]]
        put(made, *rng.sample(sent, k=len(sent)))
        commit = put(made, *sent)
        assert (commit.totals[0].mark, commit.totals[0].lacking, commit.conflicts) == (24, (), {})
        assert stored_j(made) == pytest.approx(total_j(24), rel=1e-8)


# --- holes and contradictions -------------------------------------------------------------------------------------


@given(st.sets(st.integers(1, 30)), st.integers(1, 30), st.integers(0, 8))
def test_holes_are_told_as_runs(seqs, first, length):
    numbers = []
    for seq in seqs:
        numbers = cover(numbers, seq, seq + 1)
    told = [n for a, b in holes_of(numbers, 100) for n in range(a, b + 1)]
    assert told == [n for n in range(1, max(seqs, default=0)) if n not in seqs]
    wanted = [n for n in range(first, first + length + 1) if n not in seqs]
    found = lacking(numbers, first, first + length)
    assert found.highest == max(wanted, default=0)
    assert found.whole == (len(wanted) == length + 1)


def test_what_is_lacking_is_told_and_bounded(writer):
    commit = put(writer, record(2), record(5), record(6), record(9))
    assert (commit.totals[0].mark, commit.totals[0].lacking) == (0, ((1, 1), (3, 4), (7, 8)))
    commit = put(writer, *(record(seq) for seq in range(11, 311, 2)))
    assert len(commit.totals[0].lacking) == 100


def test_another_record_under_a_stored_number_is_counted_and_the_first_is_kept(writer):
    put(writer, record(1), record(2), record(1, NEXT))
    commit = put(writer, replace(record(7), seq=2), record(1), record(1, NEXT))
    assert (commit.stored, commit.duplicate, commit.conflicts) == (0, 3, {("hall", "n1"): 1})
    assert stored_j(writer) == pytest.approx(total_j(2) + total_j(1))
    books = Books()
    books.fold(commit)
    assert (len(books.alarms("hall")), books.alarms("attic"), books.conflicts) == (1, [], 1)
    assert "node n1: 1 records differ" in books.alarms("hall")[0]


# --- how fast -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [0, 1, 200, 1_000, 10_000, 100_000])
def test_windows_of_a_fleet_fit_into_the_queue(nodes):
    granted = window(nodes, 20_000)
    assert 2 <= granted <= MOST
    assert granted * nodes <= 20_000 or granted == 2
    assert 1.0 <= spread_s(nodes) <= 60.0


def test_a_name_is_kept_and_a_zone_may_have_a_new_one(writer, tmp_path):
    known = writer.identities
    assert identity_of(known, "hall") == identity_of(known, "attic")
    assert len(identity_of(known, "hall").ledger) == 16


# --- real processes -----------------------------------------------------------------------------------------------


@pytest.fixture
def middle(tmp_path, broker):
    made = Middle(tmp_path, broker.port)
    made.write(zone='[[zones]]\nname = "hall"\ngrid = "DE"\n')
    return made


def fleet(middle, count=6, ledger_s=0.5):
    """Nodes with the shipping link and spool, in a process of their own."""
    plan = middle.folder / "nodes.json"
    plan.write_text(
        json.dumps({
            "zone": "hall", "port": middle.broker_port, "folder": str(middle.folder), "ledger_s": ledger_s,
            "nodes": [f"k{n}" for n in range(count)], "spool_records": 1_000, "truth": str(plan.with_suffix(".truth")),
        })
    )  # fmt: skip
    return process([sys.executable, str(NODES), str(plan)], middle.folder / "nodes.log")


def said(middle):
    path = middle.folder / "nodes.truth"
    return json.loads(path.read_text()) if path.exists() else {"done": False, "truth": {}, "waiting": 0}


def database_j(middle):
    with closing(sqlite3.connect(middle.folder / "state" / "collector.db")) as database:
        rows = database.execute(
            "SELECT node.name, COUNT(*), SUM(ledger.energy_j) FROM ledger JOIN boot ON boot.id = ledger.boot "
            "JOIN node ON node.id = boot.node GROUP BY 1"
        )
        return {name: (count, energy) for name, count, energy in rows}


def assert_complete(middle):
    truth, stored = said(middle)["truth"], database_j(middle)
    assert {name: count for name, (count, _) in stored.items()} == {name: count for name, (count, _) in truth.items()}
    for name, (_, energy) in truth.items():
        assert stored[name][1] == pytest.approx(energy, rel=1e-12)


def stored_records(middle):
    return sum(count for count, _ in database_j(middle).values())


async def test_a_collector_killed_again_and_again_loses_and_doubles_nothing(middle):
    rng = random.Random(5)
    with fleet(middle, ledger_s=0.2) as nodes:
        for n in range(KILLS):
            with middle.run() as collector:
                await middle.ready()
                before = stored_records(middle)
                await asyncio.to_thread(wait_for, lambda b=before: stored_records(middle) > b, "records are stored")
                if n % 2:  # else between the commit and our word on it, as nearly as can be
                    await asyncio.sleep(rng.uniform(0, 0.3))
                collector.kill()
        with middle.run() as collector:
            await middle.ready()
            nodes.send_signal(signal.SIGTERM)
            await asyncio.to_thread(wait_for, lambda: said(middle)["done"], "all is stored", 60)
            assert stop(collector) == 0
    assert_complete(middle)


async def test_a_lost_database_fills_again_from_the_nodes(middle):
    state = middle.folder / "state"
    with fleet(middle) as nodes:
        with middle.run() as collector:
            await middle.ready()
            await asyncio.to_thread(wait_for, lambda: stored_records(middle) >= 30, "records are stored")
            assert stop(collector) == 0
        for path in state.glob("collector.db*"):
            path.unlink()
        with middle.run() as collector:
            await middle.ready()
            await asyncio.to_thread(wait_for, lambda: stored_records(middle) >= 40, "it is filled again", 40)
            nodes.send_signal(signal.SIGTERM)
            await asyncio.to_thread(wait_for, lambda: said(middle)["done"], "all is stored", 60)
            assert stop(collector) == 0
    assert_complete(middle)


async def test_a_part_that_was_lost_is_asked_for_by_hand(middle, capsys):
    path = middle.folder / "state" / "collector.db"
    with fleet(middle, ledger_s=0.3) as nodes:
        with middle.run() as collector:
            await middle.ready()
            await asyncio.to_thread(wait_for, lambda: stored_records(middle) >= 30, "records are stored")
            assert stop(collector) == 0
        with closing(sqlite3.connect(path)) as database, database:  # as after a backup was put back
            database.executescript(
                "DELETE FROM ledger; DELETE FROM boot; DELETE FROM hour; DELETE FROM domain_energy; DELETE FROM settled"
            )
        assert run_cli("ledger", "rebuild", "--zone", "hall", "--since", "1h ago", "--database", str(path)) == 0
        assert "asked" in capsys.readouterr().out
        with middle.run() as collector:
            await middle.ready()
            nodes.send_signal(signal.SIGTERM)
            await asyncio.to_thread(wait_for, lambda: said(middle)["done"], "all is stored", 60)
            assert stop(collector) == 0
    assert_complete(middle)


def run_cli(*arguments):
    before, sys.argv = sys.argv, ["evenwatt", *arguments]
    try:
        return cli()
    except SystemExit as left:
        return left.code
    finally:
        sys.argv = before
