"""Whatever happens to the bytes on the disk, the agent starts, invents nothing and counts nothing twice.

A collector is stood in for by what it is promised: each number of each boot once. What the disk still says is held
against what was really used, minute by minute.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
from contextlib import closing
from math import fsum

import pytest
from msgspec import structs

from evenwatt_agent.checkpoint import decode_record
from evenwatt_agent.ledger_desk import LedgerDesk
from evenwatt_agent.memory import DamagedError, Memory
from evenwatt_agent.merging import first_of
from evenwatt_agent.spool import Spool
from evenwatt_wire import Quality, Stored
from tests.agent.records import BOOT, MINUTE_NS, NEXT, WALL_MS, checkpoint, energy_j, record
from tests.support import need

FIRST, SECOND = 40, 25
"""Records of two boots."""
TIMES = int(os.environ.get("EVENWATT_DAMAGES", "1"))
"""How many times as much is broken; CI takes one."""


def make(folder):
    """Return a spool as a power cut leaves it: a database and a write-ahead log that is not in it yet."""
    (folder / "made").mkdir()
    spool = Spool(folder / "made" / "agent.db", 1_000)
    for seq in range(1, FIRST + 1):
        spool.append(record(seq), checkpoint(seq))
    spool.stored(Stored(BOOT, 10))
    spool.remember(mark="5")
    spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for seq in range(1, SECOND + 1):
        spool.append(record(seq, NEXT), checkpoint(seq))
    shutil.copytree(folder / "made", folder / "cut")
    spool.close()
    return folder / "cut"


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    return make(tmp_path_factory.mktemp("spool"))


def start(cut, folder, break_it):
    shutil.copytree(cut, folder)
    break_it(folder)
    return Spool(folder / "agent.db", 1_000)


def judge(spool):
    """Hold what waits against the truth; return which numbers of the two boots it accounts for."""
    try:
        rows = spool.pending(0, 10_000)
    except (sqlite3.DatabaseError, ValueError, TypeError) as error:
        spool.mend(str(error))
        rows = spool.pending(0, 10_000)
    told = {BOOT: [], NEXT: []}
    for one in (decode_record(payload) for _, payload in rows):
        numbers = range(first_of(one), one.seq + 1)
        told[one.boot] += numbers
        assert one.total.energy_j == pytest.approx(fsum(map(energy_j, numbers)), rel=1e-9)
        assert fsum(d.energy_j for d in one.domains) == pytest.approx(one.total.energy_j, rel=1e-9)
    assert all(len(numbers) == len(set(numbers)) for numbers in told.values())
    goes_on_from = spool.checkpoint()
    if (
        goes_on_from is not None
    ):  # what the next agent counts begins here: nothing beyond may wait, nothing up to it lack
        last = goes_on_from.end_ns // MINUTE_NS
        assert goes_on_from == checkpoint(last)
        assert max(told[NEXT], default=0) <= last
        assert set(told[NEXT]) == set(range(1, last + 1))
    spool.append(record(1, "c" * 16), checkpoint(1))
    spool.close()
    return told


def damages(size, count, seed):
    rng = random.Random(seed)
    return sorted(
        {0, 1, 15, 16, 99, 100, size // 2, size - 1, *(rng.randrange(size) for _ in range(count))} & set(range(size))
    )


def test_a_log_that_was_cut_off_anywhere_loses_and_doubles_nothing(cut, tmp_path):
    size = (cut / "agent.db-wal").stat().st_size
    for n, at in enumerate(damages(size, 30 * TIMES, 1)):
        told = judge(start(cut, tmp_path / str(n), lambda folder, at=at: os.truncate(folder / "agent.db-wal", at)))
        assert set(told[NEXT]) == set(range(1, SECOND + 1)), f"log cut off at {at}"
        assert set(told[BOOT]) >= set(range(11, FIRST + 1))


def test_a_database_that_was_cut_off_anywhere_invents_nothing(cut, tmp_path):
    size = (cut / "agent.db").stat().st_size
    for n, at in enumerate(damages(size, 25 * TIMES, 2)):
        told = judge(start(cut, tmp_path / str(n), lambda folder, at=at: os.truncate(folder / "agent.db", at)))
        assert set(told[NEXT]) == set(range(1, SECOND + 1)), f"database cut off at {at}"


@pytest.mark.parametrize(("name", "seed"), [("agent.db", 3), ("agent.db-wal", 4), ("agent.tail", 5)])
def test_flipped_bits_anywhere_invent_nothing(cut, tmp_path, name, seed):
    size, rng = (cut / name).stat().st_size, random.Random(seed)
    for n, at in enumerate(damages(size, 30 * TIMES, seed)):

        def flip(folder, at=at):
            data = bytearray((folder / name).read_bytes())
            for place in {at, *(rng.randrange(size) for _ in range(rng.choice((0, 0, 3, 20))))}:
                data[place] ^= 1 << rng.randrange(8)
            (folder / name).write_bytes(data)

        told = judge(start(cut, tmp_path / str(n), flip))
        assert set(told[NEXT]) <= set(range(1, SECOND + 1))


@pytest.mark.parametrize(
    "missing", [("agent.db",), ("agent.db", "agent.tail"), ("agent.db", "agent.db-wal"), ("agent.tail",)]
)
def test_files_that_are_gone_invent_nothing(cut, tmp_path, missing):
    def remove(folder):
        for name in missing:
            (folder / name).unlink()

    judge(start(cut, tmp_path / "gone", remove))


def test_where_a_boot_began_is_known_when_all_its_records_were_cut_off(tmp_path):
    """It went on from the checkpoint that the database still has, and nobody looked in between."""
    path = tmp_path / "agent.db"
    with closing(Spool(path, 100)) as spool:
        for seq in (1, 2, 3):
            spool.append(record(seq), checkpoint(seq))
    earlier = path.read_bytes()
    with closing(Spool(path, 100)) as spool:
        first = structs.replace(record(1, NEXT), start_mono_ns=3 * MINUTE_NS, end_mono_ns=5 * MINUTE_NS,
                                start_wall_ms=WALL_MS + 180_000, end_wall_ms=WALL_MS + 300_000)  # fmt: skip
        spool.append(first, checkpoint(5))
    path.write_bytes(earlier)
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"agent.db{suffix}").unlink(missing_ok=True)
    with closing(Spool(path, 100)) as spool:
        bridging = decode_record(spool.pending(0, 100)[-1][1])
        assert spool.checkpoint() == checkpoint(5)
    assert (bridging.boot, bridging.seq, bridging.total.energy_j) == (NEXT, 1, energy_j(1))
    assert (bridging.start_mono_ns, bridging.end_mono_ns) == (3 * MINUTE_NS, 5 * MINUTE_NS)
    assert (bridging.start_wall_ms, bridging.end_wall_ms) == (WALL_MS + 180_000, WALL_MS + 300_000)
    [gap] = bridging.gaps
    assert (gap.start_mono_ns, gap.end_mono_ns) == (3 * MINUTE_NS, 5 * MINUTE_NS)


@pytest.mark.parametrize("content", [b"", b"something else entirely" * 100, b"SQLite format 3\0" + bytes(4096)])
def test_what_is_no_database_is_set_aside_and_said(tmp_path, content):
    path = tmp_path / "agent.db"
    path.write_bytes(content)
    spool = Spool(path, 10)
    spool.append(record(1), checkpoint(1))
    aside = [p.name for p in tmp_path.iterdir() if "broken" in p.name]
    assert len(aside) == (1 if content else 0)
    notes = spool.take_notes()
    assert all(aside[0] in note and "not known" in note for note in notes)
    assert len(notes) == len(aside)
    assert spool.take_notes() == []
    spool.close()
    with pytest.raises(DamagedError, match="state directory") if aside else pytest.raises(FileNotFoundError):
        Memory(_only(tmp_path, aside))


def _only(folder, names):
    if not names:
        raise FileNotFoundError
    return folder / names[0]


def test_few_are_kept_aside(cut, tmp_path, monkeypatch):
    shutil.copytree(cut, tmp_path / "s")
    for n in range(6):
        monkeypatch.setattr("time.strftime", lambda *_, n=n: f"{n:03d}")
        (tmp_path / "s" / "agent.db").write_bytes(b"rubbish" * 100)
        Spool(tmp_path / "s" / "agent.db", 10).close()
    aside = sorted(p.name for p in (tmp_path / "s").glob("*broken*") if not p.name.endswith(("-wal", "-shm")))
    assert aside == [f"agent.db.broken-{n:03d}" for n in (3, 4, 5)]


def test_mending_that_is_killed_half_way_begins_again(cut, tmp_path):
    for suffix in ("", "-wal"):
        shutil.copytree(cut, tmp_path / f"s{suffix}")
    folder = tmp_path / "s"
    shutil.rmtree(tmp_path / "s-wal")
    for suffix in ("", "-wal", "-shm"):
        if (folder / f"agent.db{suffix}").exists():
            (folder / f"agent.db{suffix}").rename(folder / f"agent.db.mending{suffix}")
    (folder / "agent.db").write_bytes(b"begun and not finished")
    told = judge(Spool(folder / "agent.db", 1_000))
    assert set(told[NEXT]) == set(range(1, SECOND + 1))
    assert not list(folder.glob("*.mending*"))


def test_what_else_was_remembered_survives(cut, tmp_path):
    def flip_a_record(folder):
        data = bytearray((folder / "agent.db").read_bytes())
        at = data.rindex(b"u1")
        data[at + 3] ^= 0xFF
        (folder / "agent.db").write_bytes(data)

    spool = start(cut, tmp_path / "s", flip_a_record)
    judge(spool)
    again = Spool(tmp_path / "s" / "agent.db", 1_000)
    assert again.recall("mark") == "5"


# --- a disk without room ------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    need(os.geteuid() == 0 or None, "a file system of our own (root)", "sudo")
    where = tmp_path / "disk"
    where.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", where], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("no mount here: " + made.stderr.decode().strip())
    yield where
    subprocess.run(["umount", "-l", where], check=True)


class Desk:
    """A ledger desk on a disk, and what it has said."""

    def __init__(self, where):
        self.spool, self.events = Spool(where / "agent.db", 1_000), []
        self.desk = LedgerDesk(self.spool, self._now, lambda name, _subject, **_facts: self.events.append(name))

    async def _now(self, call):
        return call()

    async def keep(self, seqs):
        for seq in seqs:
            await self.desk.keep(record(seq), checkpoint(seq))


async def test_a_full_disk_loses_no_joule_and_is_said_once(small_disk):
    desk = Desk(small_disk)
    await desk.keep(range(1, 6))
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(bytes(free))
    await desk.keep(range(6, 60))
    assert desk.desk.trouble
    assert desk.events == ["spool-trouble"]
    assert await desk.desk.pending(0, 3) or desk.desk.trouble
    (small_disk / "filler").unlink()
    await desk.keep([60])
    assert (desk.desk.trouble, desk.events) == ("", ["spool-trouble", "spool-well"])
    kept = [decode_record(payload) for _, payload in desk.spool.pending(0, 1_000)]
    assert [n for one in kept for n in range(first_of(one), one.seq + 1)] == list(range(1, 61))
    assert fsum(one.total.energy_j for one in kept) == pytest.approx(fsum(map(energy_j, range(1, 61))))
    assert kept[-1].total.quality is Quality.MEASURED
    assert desk.spool.checkpoint() == checkpoint(60)


async def test_a_disk_that_turns_read_only_loses_no_joule(small_disk):
    desk = Desk(small_disk)
    await desk.keep(range(1, 4))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=False, capture_output=True)
    desk.spool._db.execute("PRAGMA query_only=ON")  # a file that is open for writing keeps the remount from happening
    await desk.keep(range(4, 9))
    assert desk.events == ["spool-trouble"]
    desk.spool._db.execute("PRAGMA query_only=OFF")
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=False, capture_output=True)
    await desk.keep([9])
    kept = [decode_record(payload) for _, payload in desk.spool.pending(0, 1_000)]
    assert [(first_of(one), one.seq) for one in kept] == [(1, 1), (2, 2), (3, 3), (4, 9)]


async def test_damage_that_shows_while_in_use_is_mended_at_once(tmp_path):
    desk = Desk(tmp_path)
    await desk.keep(range(1, 30))
    desk.spool._db.execute("UPDATE ledger SET crc = 1 WHERE seq = 7")
    kept = [decode_record(payload) for _, payload in await desk.desk.pending(0, 1_000)]
    assert [n for one in kept for n in range(first_of(one), one.seq + 1)] == list(range(1, 30))
    assert next(one for one in kept if one.seq == 7).total.energy_j == pytest.approx(energy_j(7))
    await desk.keep([30])
    assert desk.desk.waiting == 30
