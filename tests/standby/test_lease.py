"""The lease in real databases: many want it at once, one gets it, and whoever had it writes no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from evenwatt_collector.standby.machine import FREE, Lease
from evenwatt_collector.storage import DatabaseError, FencedError, LedgerWriter, connect
from evenwatt_collector.storage.connection import transaction
from evenwatt_collector.storage.lease import claim, give_back, read_lease, renew
from evenwatt_collector.storage.schema import prepare
from evenwatt_daemon import Failure
from tests.storage.conftest import cluster, where  # noqa: F401  (fixtures)
from tests.storage.made import entry, record
from tests.support import eventually


@pytest.fixture
def lease(where):  # noqa: F811
    connection = connect(where, shared=True)
    prepare(connection, where)
    yield connection
    connection.close()


def test_of_many_at_once_one_gets_it(where, lease):  # noqa: F811
    assert read_lease(lease) == Lease(0, FREE)
    for round_ in range(5):
        seen = read_lease(lease)
        barrier, won = threading.Barrier(6), []

        def run(seen=seen, barrier=barrier, won=won):
            connection = connect(where, shared=True)
            try:
                barrier.wait()
                won.append(claim(connection, seen, 100))
            except DatabaseError:
                won.append(None)  # it was locked for too long: it looks again later
            finally:
                connection.close()

        threads = [threading.Thread(target=run) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [epoch for epoch in won if epoch] == [100 + round_]
    assert read_lease(lease) == Lease(104, FREE + 1)


def test_a_beat_between_looking_and_swapping_keeps_it(where, lease):  # noqa: F811
    lease.fence = claim(lease, read_lease(lease), 10)
    seen = read_lease(lease)
    renew(lease)
    second = connect(where, shared=True)
    assert claim(second, seen, 10) is None
    assert read_lease(second) == Lease(10, FREE + 2)
    give_back(lease)
    assert claim(second, read_lease(second), 10) == 11
    with pytest.raises(FencedError, match="epoch 10 has ended, the database is at 11"):
        renew(lease)
    second.close()


def test_whoever_was_followed_writes_no_record_more(where, lease):  # noqa: F811
    first = claim(lease, read_lease(lease), 10)
    old = LedgerWriter(where, fence=first)
    old.append([entry(record(seq=1))], 1.0)
    second = claim(lease, read_lease(lease), 10)
    new = LedgerWriter(where, fence=second)
    with pytest.raises(FencedError):
        old.append([entry(record(seq=2))], 2.0)
    with pytest.raises(FencedError):
        old.settle()
    new.append([entry(record(seq=2))], 2.0)
    assert [row.records for row in new.totals()] == [2]
    old.close()
    new.close()


def test_one_that_knows_of_no_lease_is_kept_out(where, lease):  # noqa: F811
    if not lease.postgres:
        pytest.skip("files are kept by the lock of their folder")
    with pytest.raises(Failure, match="another collector writes to this database"):
        LedgerWriter(where)


async def test_a_process_that_stands_still_in_a_transaction_is_disconnected(where, lease):  # noqa: F811
    if not lease.postgres:
        pytest.skip("only a server can let go of somebody else's lock")
    epoch = claim(lease, read_lease(lease), 10)
    code = (
        "import sys, time\nfrom evenwatt_collector.storage import connect\n"
        f"c = connect({where!r}, exclusive=False, fence={epoch})\nc.begin()\nprint('in', flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as stuck:
        assert stuck.stdout.readline() == "in\n"
        os.kill(stuck.pid, signal.SIGSTOP)

        def taken():
            try:
                return claim(lease, read_lease(lease), 10)
            except DatabaseError:
                return None

        assert await eventually(taken, "the lease is taken") == epoch + 1
        stuck.kill()


def test_a_reader_needs_no_lease(where, lease):  # noqa: F811
    reader = connect(where, write=False)
    assert read_lease(reader).epoch == 0
    reader.close()
    with transaction(lease):
        pass
