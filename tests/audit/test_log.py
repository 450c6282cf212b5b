"""The log on a disk: over restarts, over files, after a torn write, on a full disk, and under SIGKILL."""

from __future__ import annotations

import random
import signal
import stat
import subprocess
import sys

import pytest

from evenwatt_daemon import Failure
from evenwatt_daemon.audit import walk
from evenwatt_daemon.audit_log import NAME, TORN_NAME, AuditError, AuditLog, log_files, read_lines
from tests.support import fill, until_it_fails, wait_for

MEGABYTE = 1024 * 1024


def read(folder):
    return walk(line for path in log_files(folder) for line in read_lines(path))


def write(folder, rows, keep_bytes=MEGABYTE, file_bytes=MEGABYTE):
    log = AuditLog(folder, keep_bytes, file_bytes)
    for row in rows:
        log.append("command", 1_000, row)
    log.close()
    return log.head


def test_what_is_no_entry_is_refused_and_leaves_no_trace(tmp_path):
    log = AuditLog(tmp_path, MEGABYTE)
    for facts in ({"cap_w": float("inf")}, {"why": "x" * 20_000}, {"hash": "0"}):
        with pytest.raises(AuditError, match="cannot be written"):
            log.append("command", 1_000, facts)
    log.append("command", 1_000, {"seq": 1})
    log.close()
    assert (read(tmp_path)[0].faults, read(tmp_path)[0].entries) == ([], 1)


def test_it_goes_on_after_a_restart(tmp_path):
    write(tmp_path, [{"seq": 1}, {"seq": 2}])
    head = write(tmp_path, [{"seq": 3}])
    found, entries = read(tmp_path)
    assert (found.faults, found.head, [e.facts["seq"] for e in entries]) == ([], head, [1, 2, 3])
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_the_chain_goes_on_over_files_and_the_oldest_are_let_go(tmp_path):
    write(tmp_path, ({"seq": n, "why": "x" * 100} for n in range(400)), keep_bytes=20_000, file_bytes=5_000)
    found, entries = read(tmp_path)
    assert found.faults == []
    assert found.first > 1
    assert [e.facts["seq"] for e in entries] == list(range(found.first - 1, 400))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 20_000
    assert all(path.stat().st_blocks * 512 <= 8_192 for path in tmp_path.iterdir())


@pytest.mark.parametrize("torn", [b'{"n":3,"prev":"', b"\0" * 700, b"garbage\n" * 3, b"\xff" * 40_000], ids=range(4))
def test_a_torn_end_is_set_aside_and_said(tmp_path, torn):
    write(tmp_path, [{"seq": 1}, {"seq": 2}])
    with (tmp_path / NAME).open("ab") as file:
        file.write(torn)
    log = AuditLog(tmp_path, MEGABYTE)
    assert log.torn_bytes == len(torn)
    log.append("start", 2_000, {})
    log.close()
    found, entries = read(tmp_path)
    assert found.faults == []
    assert [e.kind for e in entries] == ["command", "command", "torn", "start"]
    assert entries[2].facts["bytes"] == len(torn)
    assert (tmp_path / TORN_NAME).read_bytes() == torn


def test_every_way_to_tear_the_last_entry_is_mended(tmp_path):
    write(tmp_path, [{"seq": 1}, {"seq": 2}])
    whole = (tmp_path / NAME).read_bytes()
    first = whole.index(b"\n") + 1
    for length in random.Random(7).sample(range(first, len(whole)), 40):
        (tmp_path / NAME).write_bytes(whole[:length])
        log = AuditLog(tmp_path, MEGABYTE)
        assert log.head.n == 1
        log.append("start", 2_000, {})
        log.close()
        assert read(tmp_path)[0].faults == []


def test_a_fault_in_the_middle_stays_where_it_is_as_evidence(tmp_path):
    write(tmp_path, [{"seq": n} for n in range(5)])
    text = (tmp_path / NAME).read_bytes().replace(b'"seq":2', b'"seq":7')
    (tmp_path / NAME).write_bytes(text)
    log = AuditLog(tmp_path, MEGABYTE)
    assert (log.torn_bytes, log.head.n) == (0, 5)
    log.append("start", 2_000, {})
    log.close()
    faults = read(tmp_path)[0].faults
    assert faults[0].n == 3
    assert "its bytes are not" in faults[0].what


def test_only_one_process_writes_it_and_never_through_a_link(tmp_path):
    log = AuditLog(tmp_path, MEGABYTE)
    with pytest.raises(Failure, match="another process writes"):
        AuditLog(tmp_path, MEGABYTE)
    log.close()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / NAME).symlink_to(tmp_path / "victim")
    with pytest.raises(Failure, match="ordinary file"):
        AuditLog(tmp_path / "elsewhere", MEGABYTE)
    assert not (tmp_path / "victim").exists()


def test_a_full_disk_is_known_before_anything_is_done(small_disk):
    log = AuditLog(small_disk, 10 * MEGABYTE)
    log.check()
    fill(small_disk / "filler")

    def careful():
        log.check()
        entered = log.head.n
        log.append("command", 1_000, {"why": "x" * 400})  # never fails: its room was taken before
        assert log.head.n == entered + 1

    assert until_it_fails(careful, AuditError) > 50
    until_it_fails(lambda: log.append("command", 1_000, {"why": "x" * 400}), AuditError)
    assert read(small_disk)[0].faults == []
    (small_disk / "filler").unlink()
    log.check()
    log.append("command", 1_000, {"why": "room again"})
    log.close()
    found, entries = read(small_disk)
    assert (found.faults, entries[-1].facts["why"]) == ([], "room again")


WRITER = """
import sys
from pathlib import Path
from evenwatt_daemon.audit_log import AuditLog
log = AuditLog(Path(sys.argv[1]), 200_000, 20_000)
while True:
    log.append("command", 1, {"why": "x" * 200})
    print(log.head.n, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_called_written(tmp_path):
    told = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "log"], stdout=subprocess.PIPE) as child:
            for _ in range(60):
                told = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            told = int((child.stdout.read().split() or [told])[-1])
        wait_for(lambda child=child: child.poll() is not None, "the writer is dead")
        log = AuditLog(tmp_path / "log", 200_000, 20_000)
        assert log.head.n >= told
        log.close()
        assert read(tmp_path / "log")[0].faults == []
