"""What is on the disk is whole, in order, and enough to go on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from evenwatt_agent.counters import Baseline
from evenwatt_agent.spool import Checkpoint, Spool
from evenwatt_daemon import Failure


def checkpoint(n):
    return Checkpoint("kernel", n, {"package-0": Baseline(n * 10, n)})


def payloads(spool):
    return [payload for _, payload in spool.pending(0, 1_000)]


def test_records_wait_in_order_until_they_are_stored(tmp_path):
    spool = Spool(tmp_path / "agent.db", 100)
    for seq in range(1, 6):
        assert spool.append("a" * 16, seq, b"%d" % seq, checkpoint(seq)) == 0
    spool.stored("a" * 16, 3)
    assert payloads(spool) == [b"4", b"5"]
    spool.close()
    again = Spool(tmp_path / "agent.db", 100)
    assert payloads(again) == [b"4", b"5"]
    assert again.checkpoint() == checkpoint(5)
    again.append("b" * 16, 1, b"next boot", checkpoint(6))
    assert payloads(again) == [b"4", b"5", b"next boot"]
    again.stored("a" * 16, 5)
    assert payloads(again) == [b"next boot"]


def test_rows_keep_growing_so_that_a_sender_can_remember_where_it_is(tmp_path):
    spool = Spool(tmp_path / "agent.db", 100)
    spool.append("a" * 16, 1, b"1", checkpoint(1))
    ((row, _),) = spool.pending(0, 10)
    spool.stored("a" * 16, 1)
    spool.append("a" * 16, 2, b"2", checkpoint(2))
    assert [payload for _, payload in spool.pending(row, 10)] == [b"2"]


def test_a_full_spool_drops_the_oldest_and_counts_them(tmp_path):
    spool = Spool(tmp_path / "agent.db", 3)
    assert [spool.append("a" * 16, seq, b"%d" % seq, checkpoint(seq)) for seq in range(1, 6)] == [0, 0, 0, 1, 1]
    assert payloads(spool) == [b"3", b"4", b"5"]


def test_answers_are_kept_and_bounded(tmp_path):
    spool = Spool(tmp_path / "agent.db", 3)
    for n in range(1_005):
        spool.keep_answer(f"{n:032x}", n, b"%d" % n)
    assert spool.answer(f"{1_004:032x}") == b"1004"
    assert spool.answer(f"{0:032x}") is None
    assert spool.answer(f"{5:032x}") == b"5"


def test_a_file_that_is_not_ours_is_one_clear_failure(tmp_path):
    path = tmp_path / "agent.db"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(Failure, match=r"agent\.db.*state directory"):
        Spool(path, 3)


WRITER = """
import sys
from pathlib import Path
from evenwatt_agent.counters import Baseline
from evenwatt_agent.spool import Checkpoint, Spool
spool = Spool(Path(sys.argv[1]), 100_000)
seq = 0
while True:
    seq += 1
    spool.append("a" * 16, seq, b"%d" % seq, Checkpoint("kernel", seq, {"package-0": Baseline(seq * 10, seq)}))
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
    written = [int(payload) for payload in payloads(spool)]
    assert written == list(range(1, len(written) + 1))
    assert len(written) in (said, said + 1)
    assert spool.checkpoint() == checkpoint(len(written))
