"""Several collectors' writers on one PostgreSQL database: each zone has one, and together they are one account."""

from __future__ import annotations

import threading

import pytest

from evenwatt_cli.ledger import release_zone, show_info
from evenwatt_collector.carbon import IntensityTable
from evenwatt_collector.carbon.labels import LabelSettings
from evenwatt_collector.keeper import Keeper
from evenwatt_collector.settings import load
from evenwatt_collector.storage import DatabaseError, FencedError, LedgerWriter, connect
from evenwatt_collector.storage.identity import identities
from evenwatt_collector.storage.jobs import find_records, records_to_plan
from evenwatt_collector.storage.lease import claim, new_epoch, read_lease
from evenwatt_collector.storage.memory import recall, remember
from evenwatt_collector.storage.rollup import due
from evenwatt_collector.storage.shards import shards
from evenwatt_collector.storage.writer import Part
from evenwatt_daemon import Failure
from tests.storage.made import T0, entry, record


@pytest.fixture
def url(server):
    return server.database()


def writer(url, shard, *zones, **more):
    return LedgerWriter(url, part=Part(shard=shard, zones=zones, url=f"http://{shard}"), **more)


def put(one, zone, *, seq=1, node="n1"):
    parts = [("unit", "web", 60.0, 10.0), ("unit", f"job-{seq % 7}", 30.0, 0.0)]
    one.append([entry(record(node, seq, (T0 + 60 * seq) * 1000, parts=parts), zone)], T0 + 60.0 * seq + 61)


def test_no_zone_has_two_shards_and_one_goes_over_when_it_is_let_go_of(url, capsys):
    north, south = writer(url, "north", "hall", "yard"), writer(url, "south", "barn")
    with pytest.raises(Failure, match="zone 'hall' belongs to shard 'north'"):
        writer(url, "west", "hall")
    put(north, "yard")  # not in the books yet
    north.close()
    north = writer(url, "north", "hall")  # lets go of it, and has booked it
    south.close()
    south = writer(url, "south", "barn", "yard")
    put(south, "yard", seq=2)
    for one in (north, south):
        one.settle()
    assert [(one.name, one.zones, one.connected) for one in shards(south.connection)] == [
        ("north", ("hall",), True), ("south", ("barn", "yard"), True)
    ]  # fmt: skip
    with pytest.raises(Failure, match="is at work"):
        release_zone("hall", url)
    north.close()
    assert [one.connected for one in shards(south.connection)] == [False, True]
    release_zone("hall", url)
    assert "shard north has it no more" in capsys.readouterr().out
    show_info(url, as_json=False)
    assert "barn, yard  http://south" in capsys.readouterr().out
    west = writer(url, "west", "hall")
    for one in (south, west):
        one.close()
    assert rows_j(url) == 200.0


def rows_j(url):
    connection = connect(url, write=False)
    try:
        return connection.rows("SELECT SUM(energy_j) FROM hour WHERE cut = 1")[0][0]
    finally:
        connection.close()


def test_one_that_knows_of_no_shards_is_kept_out_and_the_other_way_round(url):
    north = writer(url, "north", "hall")
    with pytest.raises(Failure, match="another collector writes"):
        LedgerWriter(url)
    with pytest.raises(Failure, match="of shard 'north' writes"):
        writer(url, "north", "hall")
    with pytest.raises(Failure, match="belongs to shard 'north'"):
        writer(url, "", "hall", fence=claim(connect(url, shared=True), read_lease(north.connection), 5))
    north.close()
    alone = LedgerWriter(url)  # it has all
    assert shards(alone.connection) == []
    with pytest.raises(Failure, match="writes to this database"):
        writer(url, "north", "hall")
    alone.close()


def test_leases_memories_and_jobs_are_each_shards_own_and_the_name_is_common(url):
    LedgerWriter(url).close()
    north, south = (connect(url, shared=True, shard=name) for name in ("north", "south"))
    first = claim(north, read_lease(north), 100)
    second = claim(south, read_lease(south), 100)
    assert (first, second) == (100, 101)  # none is below another's: a zone may go from one to the other
    north.fence, south.fence = first, second
    one, other = writer(url, "north", "hall", fence=first), writer(url, "south", "barn", fence=second)
    again = connect(url, shared=True, shard="north")
    third = claim(again, read_lease(again), 100)
    assert third == 102
    with pytest.raises(FencedError):
        put(one, "hall")
    put(other, "barn")
    remember(other.connection, "learned", [1])
    assert recall(other.connection, "learned") == [1]
    assert recall(again, "learned") is None
    assert identities(other.connection) == identities(again) != {}
    assert new_epoch(other.connection, 50)[0] == 103
    assert records_to_plan(again) == []
    assert find_records(again, ["a"]) == {}
    for one_ in (one, other):
        one_.close()


def test_two_write_at_once_what_they_have_in_common_and_nothing_is_lost_or_doubled(url):
    """Both name the same owners, make the same partitions and settle at the same moments; half-way both die."""
    rounds, labels = 30, [LabelSettings(owner="unit/*", workload="web")]
    failed = []

    def work(shard, zone):
        try:
            one = writer(url, shard, zone, labels=labels)
            for seq in range(1, rounds + 1):
                until_it_goes(lambda one=one, seq=seq: put(one, zone, seq=seq))
                if seq % 3 == 0:
                    until_it_goes(one.settle)
                if seq == rounds // 2:
                    one.connection.close()  # with records that are in the ledger and not in the books
                    one = writer(url, shard, zone, labels=labels)
            put(one, zone, seq=rounds)  # once more
            until_it_goes(one.settle)
            one.close()
        except BaseException as error:  # noqa: BLE001  (the main thread tells it)
            failed.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in (("north", "hall"), ("south", "barn"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert rows_j(url) == pytest.approx(2 * rounds * 100.0, rel=1e-12)
    connection = connect(url, write=False)
    assert connection.rows("SELECT SUM(energy_j), COUNT(*) FROM ledger")[0] == (2 * rounds * 100.0, 2 * rounds)
    assert connection.rows("SELECT COUNT(*) FROM (SELECT DISTINCT kind, name, task FROM owner) AS o")[0][0] == \
        connection.rows("SELECT COUNT(*) FROM owner")[0][0]  # fmt: skip
    connection.close()


def until_it_goes(step):
    """As the store does: what a deadlock or another one's partition refused is tried again."""
    for _ in range(20):
        try:
            return step()
        except DatabaseError:
            continue
    raise AssertionError("twenty times in vain")


def test_each_shard_sees_to_its_own_days_and_a_report_sees_all(url):
    north, south = writer(url, "north", "hall"), writer(url, "south", "barn")
    put(north, "hall")
    put(south, "barn", node="n2")
    for one in (north, south):
        one.settle()
    now_s = T0 + 3 * 86_400
    assert len(due(north.connection, now_s)) == len(due(south.connection, now_s)) == 1
    assert due(north.connection, now_s) != due(south.connection, now_s)
    assert len(north.totals()) == 1
    keeper = Keeper(url, 40, 100, shard="north")
    keeper.close()
    for one in (north, south):
        one.close()
    assert rows_j(url) == 200.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('database = "postgresql:///x"\n[shard]\nname = "north"', "there are no"),
        ('[shard]\nname = "north"\n[[zones]]\nname = "hall"', "the database is a file"),
        ('database = "postgresql:///x"\n[shard]\nname = "North"\n[[zones]]\nname = "hall"', "shard.name"),
    ],
)
def test_settings_of_a_shard_that_cannot_be_are_refused(tmp_path, text, said):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(Failure, match=said):
        load(str(path), IntensityTable.packaged())
