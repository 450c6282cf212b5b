"""What is on the disk is whole, in order, and enough to go on; a full spool loses detail and no joule."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import pairwise
from math import fsum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from evenwatt_agent.checkpoint import decode_record
from evenwatt_agent.merging import first_of, merge
from evenwatt_agent.room import Row, runs
from evenwatt_agent.spool import Spool
from evenwatt_wire import MAX_PAYLOAD_BYTES, Gap, PartEnergy, Quality, Stored, encode
from evenwatt_wire.messages import TaskEnergy
from tests.agent.records import BOOT, NEXT, checkpoint, energy_j, record, total_j


def waiting(spool):
    return [decode_record(payload) for _, payload in spool.pending(0, 100_000)]


def spans(spool):
    return [(one.boot[0], first_of(one), one.seq) for one in waiting(spool)]


def fill(spool, seqs, boot=BOOT):
    for seq in seqs:
        spool.append(record(seq, boot), checkpoint(seq))


def test_records_wait_in_order_until_they_are_stored(tmp_path):
    spool = Spool(tmp_path / "agent.db", 100)
    fill(spool, range(1, 6))
    spool.stored(Stored(BOOT, 3))
    assert waiting(spool) == [record(4), record(5)]
    spool.close()
    again = Spool(tmp_path / "agent.db", 100)
    assert waiting(again) == [record(4), record(5)]
    assert again.checkpoint() == checkpoint(5)
    fill(again, [1], NEXT)
    again.stored(Stored(BOOT, 5))
    assert waiting(again) == [record(1, NEXT)]
    assert again.kept[0] == 6


def test_rows_keep_growing_so_that_a_sender_can_remember_where_it_is(tmp_path):
    spool = Spool(tmp_path / "agent.db", 100)
    fill(spool, [1])
    ((row, _),) = spool.pending(0, 10)
    spool.stored(Stored(BOOT, 1))
    fill(spool, [2])
    assert [payload for _, payload in spool.pending(row, 10)] == [encode(record(2))]
    assert (spool.waiting(0, row), spool.waiting(row)) == (0, 1)


# --- what the collector says --------------------------------------------------------------------------------------


def test_what_the_collector_lacks_waits_again(tmp_path):
    spool = Spool(tmp_path / "agent.db", 100)
    fill(spool, range(1, 10))
    assert spool.stored(Stored(BOOT, 9)) == 0
    assert spool.stored(Stored(BOOT, 3, [9], [(4, 5), (7, 8)])) == 4
    assert spans(spool) == [("a", 4, 4), ("a", 5, 5), ("a", 7, 7), ("a", 8, 8)]


def test_an_older_word_makes_nothing_wait_again_nor_forgets_what_is_lacking(tmp_path):
    spool = Spool(tmp_path / "agent.db", 100)
    fill(spool, range(1, 10))
    spool.stored(Stored(BOOT, 3, [9], [(4, 8)]))
    spool.stored(Stored(BOOT, 2))
    assert spans(spool) == [("a", seq, seq) for seq in range(4, 9)]


def test_a_new_database_is_sent_all_that_is_kept_once(tmp_path):
    spool = Spool(tmp_path / "agent.db", 100)
    fill(spool, range(1, 6))
    assert spool.meet("one", 0) == 0
    spool.stored(Stored(BOOT, 5))
    assert spool.meet("one", 0) == 0
    assert spool.meet("two", record(4).end_wall_ms) == 2
    assert spans(spool) == [("a", 4, 4), ("a", 5, 5)]
    spool.stored(Stored(BOOT, 5))
    spool.close()
    again = Spool(tmp_path / "agent.db", 100)
    assert (again.meet("two", 0), again.meet("one", 0), again.meet("", 0)) == (0, 0, 0)


def test_a_coarse_record_is_safe_only_when_all_of_it_is(tmp_path):
    spool = Spool(tmp_path / "agent.db", 10)
    fill(spool, range(1, 13))
    (first, *_) = spans(spool)
    assert first == ("a", 1, 3)
    spool.stored(Stored(BOOT, 1, [3, 5], [(2, 2), (4, 4)]))
    assert spans(spool)[:2] == [("a", 1, 3), ("a", 4, 4)]
    spool.stored(Stored(BOOT, 0, [1, 3]))
    assert spans(spool)[0] == ("a", 1, 3)
    spool.stored(Stored(BOOT, 3))
    assert spans(spool)[0] == ("a", 4, 4)


# --- no room ------------------------------------------------------------------------------------------------------


def test_stored_records_go_first(tmp_path):
    spool = Spool(tmp_path / "agent.db", 10)
    fill(spool, range(1, 8))
    spool.stored(Stored(BOOT, 5))
    fill(spool, range(8, 16))
    assert spans(spool) == [("a", seq, seq) for seq in range(6, 16)]
    assert spool.kept[0] == 10


@pytest.mark.parametrize("bounds", [(10, 10**9), (10**6, 4_000)])
def test_a_full_spool_adds_the_oldest_up_and_loses_no_joule(tmp_path, bounds):
    spool = Spool(tmp_path / "agent.db", *bounds)
    fill(spool, range(1, 201))
    fill(spool, range(1, 41), NEXT)
    kept = waiting(spool)
    assert spool.kept[0] <= bounds[0]
    assert spool.kept[1] <= bounds[1]
    assert fsum(one.total.energy_j for one in kept) == pytest.approx(total_j(200) + total_j(40), rel=1e-12)
    for one in kept:
        numbers = range(first_of(one), one.seq + 1)
        assert one.total.energy_j == pytest.approx(fsum(map(energy_j, numbers)), rel=1e-12)
        parts_j = fsum(part.cpu_j + part.gpu_j + part.idle_j for part in one.parts)
        assert parts_j == pytest.approx(one.total.energy_j, rel=1e-12)
        assert (one.start_mono_ns, one.end_mono_ns) == (record(numbers[0]).start_mono_ns, record(one.seq).end_mono_ns)
    assert spool.take_notes() == []


def test_what_cannot_be_added_up_is_dropped_and_said(tmp_path):
    spool = Spool(tmp_path / "agent.db", 10)
    freed = [spool.append(record(1, f"{n:016x}"), checkpoint(n)) for n in range(1, 14)]
    assert [one.dropped for one in freed] == [0] * 10 + [1] * 3
    assert freed[-1].dropped_j == energy_j(1)
    assert spool.take_notes() == [f"spool full: the oldest 1 records were dropped, {energy_j(1):.3f} J"] * 3


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 70)), max_size=60), st.integers(1, 80))
def test_runs_are_of_one_boot_touch_and_free_no_more_than_needed(pieces, excess):
    rows, ends = [], {}
    for n, (boot, length) in enumerate(sorted(pieces, key=lambda piece: piece[0])):
        first = ends.get(boot, 0) + 1
        ends[boot] = first + length - 1
        rows.append(Row(n, str(boot), first, ends[boot]))
    found = runs(rows, excess)
    freed = sum(len(run) - 1 for run in found)
    assert freed <= excess
    assert all(len(run) > 1 for run in found)
    for run in found:
        pairs = list(pairwise(run))
        assert all(a.boot == b.boot and a.seq + 1 == b.first and a.row + 1 == b.row for a, b in pairs)
    assert found or len(rows) == len({row.boot for row in rows})


def large(seq):
    """Return a record that nearly fills a message by itself."""
    gap = Gap("d" * 96, 0, 1, "x" * 400, Quality.UNKNOWN)
    parts = [PartEnergy("unit", f"{seq}-{n}" + "x" * 200, 1.0, 1.0, 1.0, 1.0) for n in range(60)]
    word = "t" * 400
    tasks = [
        TaskEnergy(
            f"{seq * 1000 + n:012x}", word, word, word, word, "", "running", 0, 1.0, 1.0, 1.0, 0.0, 1.0
        )
        for n in range(20)
    ]  # fmt: skip
    return replace(record(seq), gaps=[gap] * 64, parts=parts, tasks=tasks)


def test_a_coarse_record_of_the_largest_ones_fits_a_message():
    coarse = merge([merge([large(seq) for seq in range(first, first + 3)]) for first in (1, 4)])
    assert len(encode(coarse)) <= MAX_PAYLOAD_BYTES
    assert (first_of(coarse), coarse.seq) == (1, 6)
    assert coarse.total.energy_j == pytest.approx(total_j(6))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32))
def test_whatever_is_stored_and_added_up_each_joule_waits_or_is_stored_once(seed):
    rng = random.Random(seed)
    spool, stored, seq = Spool(":memory:", rng.choice((10, 12, 30))), set(), 0
    for _ in range(rng.randint(5, 60)):
        seq += 1
        spool.append(record(seq), checkpoint(seq))
        if rng.random() < 0.2:  # the collector takes some of what waits, and says so, or its word is lost
            for one in rng.sample(waiting(spool), k=min(3, spool.waiting())):
                stored |= set(range(first_of(one), one.seq + 1))
            if rng.random() < 0.7:
                mark = next(n for n in range(seq + 2) if n + 1 not in stored)
                beyond = sorted(n for n in stored if n > mark)
                lacking = [(n, n) for n in range(1, max(stored, default=0)) if n not in stored]
                spool.stored(Stored(BOOT, mark, beyond, lacking[:100]))
    held = {n for one in waiting(spool) for n in range(first_of(one), one.seq + 1)}
    assert held | stored == set(range(1, seq + 1))
    covered = [n for one in waiting(spool) for n in range(first_of(one), one.seq + 1)]
    assert len(covered) == len(set(covered))


# --- small memory -------------------------------------------------------------------------------------------------


def test_answers_are_kept_and_bounded(tmp_path):
    spool = Spool(tmp_path / "agent.db", 10)
    for n in range(1_005):
        spool.keep_answer(f"{n:032x}", n, "hash", b"%d" % n)
    assert spool.answer(f"{1_004:032x}") == ("hash", b"1004")
    assert spool.answer(f"{0:032x}") is None
    assert spool.answer(f"{5:032x}") == ("hash", b"5")


WRITER = """
import sys
from pathlib import Path
from evenwatt_agent.spool import Spool
from tests.agent.records import checkpoint, record
spool = Spool(Path(sys.argv[1]), 100_000)
seq = 0
while True:
    seq += 1
    spool.append(record(seq), checkpoint(seq))
    print(seq, flush=True)
"""


def test_a_sigkill_loses_no_acknowledged_record_and_leaves_the_checkpoint_in_step(tmp_path):
    path = tmp_path / "agent.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        for line in writer.stdout:
            if int(line) == 40:
                writer.kill()
                break
        rest = [int(line) for line in writer.stdout.read().split("\n")[:-1] if line.isdigit()]
    said = max([40, *rest])
    spool = Spool(path, 100_000)
    written = [one.seq for one in waiting(spool)]
    assert written == list(range(1, len(written) + 1))
    assert len(written) in (said, said + 1)
    assert spool.checkpoint() == checkpoint(len(written))
