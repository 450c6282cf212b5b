"""Pausing real processes and a real cgroup, and giving them back after a death."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evenwatt_agent import restore
from evenwatt_agent.actuators import LockedError
from evenwatt_agent.actuators.pause import FrozenCgroup, StoppedProcess
from evenwatt_agent.governor import Governor


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def await_state(pid, wanted, deadline_s=60):
    end = time.monotonic() + deadline_s
    while state(pid) not in wanted:
        assert time.monotonic() < end, f"process {pid} is {state(pid)}, expected one of {wanted}"
        os.sched_yield()


@pytest.fixture
def worker():
    process = subprocess.Popen(["sleep", "300"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def cgroup2():
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(where, os.W_OK):
            return Path(where)
    return None


@pytest.fixture
def group(worker):
    root = cgroup2()
    if root is None or os.geteuid() != 0:
        pytest.skip("needs root and a writable cgroup v2 mount")
    folder = root / f"evenwatt-test-{os.getpid()}"
    folder.mkdir()
    (folder / "cgroup.procs").write_text(str(worker.pid))
    yield folder
    (folder / "cgroup.freeze").write_text("0")
    worker.kill()
    worker.wait()
    end = time.monotonic() + 60
    while "populated 1" in (folder / "cgroup.events").read_text() and time.monotonic() < end:
        os.sched_yield()
    folder.rmdir()


def test_a_cgroup_freezes_with_confirmation_and_thaws(group):
    target = FrozenCgroup("batch", group)
    target.pause()
    assert "frozen 1" in (group / "cgroup.events").read_text()
    target.resume()
    assert "frozen 0" in (group / "cgroup.events").read_text()


def test_our_own_cgroup_is_never_frozen(group):
    helper = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.readline(); exec(sys.stdin.read())"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    (group / "cgroup.procs").write_text(str(helper.pid))
    program = (
        "from pathlib import Path\n"
        "from evenwatt_agent.actuators.pause import FrozenCgroup\n"
        "try:\n"
        f"    FrozenCgroup('self', Path({str(group)!r})).pause()\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    said, _ = helper.communicate("\n" + program, timeout=60)
    assert "never paused" in said


def test_a_process_stops_and_goes_on(worker, tmp_path):
    pidfile = tmp_path / "job.pid"
    pidfile.write_text(f"{worker.pid}\n")
    target = StoppedProcess("job", pidfile)
    target.pause()
    assert state(worker.pid) == "T"
    target.resume()
    await_state(worker.pid, "SR")


@pytest.mark.parametrize("content", ["", "1", "0", "-5", "word"])
def test_a_bad_pidfile_stops_nobody(content, tmp_path):
    pidfile = tmp_path / "job.pid"
    pidfile.write_text(content)
    with pytest.raises(LockedError, match=r"job\.pid"):
        StoppedProcess("job", pidfile).pause()


def test_we_do_not_stop_ourselves(tmp_path):
    pidfile = tmp_path / "job.pid"
    pidfile.write_text(str(os.getpid()))
    with pytest.raises(LockedError, match="never paused"):
        StoppedProcess("job", pidfile).pause()


def test_the_restorer_wakes_what_a_dead_agent_had_stopped(worker, tmp_path):
    pidfile = tmp_path / "job.pid"
    pidfile.write_text(str(worker.pid))
    governor = Governor([], {"job": StoppedProcess("job", pidfile)}, 0, tmp_path)
    governor.pause("job")
    assert state(worker.pid) == "T"
    del governor  # dies without a word
    subprocess.run([sys.executable, "-I", restore.__file__, "--state-dir", str(tmp_path)], check=True)
    await_state(worker.pid, "SR")
    assert not restore.originals_path(tmp_path).exists()


def test_the_restorer_leaves_a_stranger_with_the_same_number_alone(worker, tmp_path):
    pidfile = tmp_path / "job.pid"
    pidfile.write_text(str(worker.pid))
    StoppedProcess("job", pidfile).pause()
    saved = [restore.Saved(kind="signal", where=f"{worker.pid}:1", value="18")]
    restore.save(restore.originals_path(tmp_path), saved)
    assert restore.restore(restore.originals_path(tmp_path)) == []
    assert state(worker.pid) == "T"
