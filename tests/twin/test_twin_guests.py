"""Real processes on simulated machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from virtual import MS, SECOND

from evenwatt_twin import Machine, Steady, Truth, preset
from evenwatt_twin import work as program
from evenwatt_twin.guests import Guests


def host(name: str = "m", load: float = 0.0):
    return msgspec.structs.replace(preset("xeon_2s", name), profile=Steady(load=load), guests=True)


@pytest.fixture
def process():
    """Return a process that does nothing."""
    started = subprocess.Popen(["sleep", "60"])
    yield started
    started.kill()
    started.wait()


def register(machine: Machine, pid: int, **claim) -> None:
    (machine.places.guests / f"{pid}.json").write_text(json.dumps(claim))


def fields(machine: Machine, pid: int) -> list[str]:
    return (machine.places.procfs / str(pid) / "stat").read_text().rpartition(")")[2].split()


def test_a_machine_is_loaded_while_a_guest_lives(run, process):
    machine = run(host())
    machine.step_to(SECOND)
    idle_w = 87.0
    assert machine.plant.energy_j == pytest.approx(idle_w)
    register(machine, process.pid, load=1.0)
    machine.step_to(2 * SECOND)
    machine.step_to(4 * SECOND)
    busy_w = sum(state.power_w for state in machine.plant.components.values())
    assert busy_w == pytest.approx(500.0, rel=1e-3)
    process.kill()
    process.wait()
    machine.step_to(5 * SECOND)
    machine.step_to(7 * SECOND)
    assert sum(state.power_w for state in machine.plant.components.values()) == pytest.approx(idle_w)
    assert list(machine.places.guests.iterdir()) == []


def test_it_is_shown_as_what_it_is_and_its_time_adds_up(run, process):
    machine = run(host(load=0.1))
    register(machine, process.pid, load=0.6)
    for now_ns in range(0, 10 * SECOND, 100 * MS):
        machine.step_to(now_ns)
    real = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    shown = fields(machine, process.pid)
    assert (shown[1], shown[19]) == (real[1], real[19])
    total = int((machine.places.procfs / "stat").read_text().split()[1])
    ticks = int(shown[11])
    assert ticks == pytest.approx(total * 0.6 / 0.7, rel=0.05)
    process.kill()
    process.wait()
    for now_ns in range(10 * SECOND, 11 * SECOND, 100 * MS):
        machine.step_to(now_ns)
    assert not (machine.places.procfs / str(process.pid)).exists()
    assert int(fields(machine, os.getpid())[13]) >= ticks  # its parent, who started it, has inherited its time


def test_a_stopped_guest_asks_for_nothing(run, process):
    machine = run(host())
    register(machine, process.pid)
    machine.step_to(SECOND)
    machine.step_to(2 * SECOND)
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    machine.step_to(3 * SECOND)
    at_s = int((machine.places.guests / f"{process.pid}.work").read_text())
    machine.step_to(6 * SECOND)
    assert int((machine.places.guests / f"{process.pid}.work").read_text()) == at_s
    assert sum(state.power_w for state in machine.plant.components.values()) == pytest.approx(87.0)


def test_a_guest_may_ask_for_more_or_less(run, process):
    machine = run(host())
    register(machine, process.pid, load=1.0)
    machine.step_to(SECOND)
    machine.step_to(2 * SECOND)
    draft = machine.places.guests / "draft.new"
    draft.write_text('{"load": 0.0625}')
    draft.replace(machine.places.guests / f"{process.pid}.json")
    machine.step_to(3 * SECOND)
    machine.step_to(4 * SECOND)
    busy_w = 87.0 + 0.0625 * (500.0 - 87.0)
    assert sum(state.power_w for state in machine.plant.components.values()) == pytest.approx(busy_w, rel=1e-3)


@pytest.mark.parametrize("sensitivity", [1.0, 0.5])
def test_work_is_slower_under_a_cap_and_less_so_where_clocks_matter_less(run, process, sensitivity):
    machine = run(host())
    for socket in range(2):
        zone = machine.places.sysfs / "class" / "powercap" / f"intel-rapl:{socket}"
        for index in range(2):
            (zone / f"constraint_{index}_power_limit_uw").write_text(f"{round(0.65 * 225e6)}\n")
    register(machine, process.pid, load=1.0, sensitivity=sensitivity)
    for now_ns in range(0, 30 * SECOND + 1, 100 * MS):
        machine.step_to(now_ns)
    work_s = int((machine.places.guests / f"{process.pid}.work").read_text()) / 1e6
    assert work_s == pytest.approx(30.0 * 0.85**sensitivity, rel=0.01)
    machine.flush()
    done, due = Truth.load(machine.places.truth).work(SECOND, 29 * SECOND)
    assert done / due == pytest.approx(0.85, rel=0.01)


@pytest.mark.parametrize("claim", ["", "{", '{"load": 3}', '{"load": 0.5, "more": 1}', "[]", "x" * 10_000])
def test_nonsense_is_not_served(run, process, claim):
    machine = run(host())
    (machine.places.guests / f"{process.pid}.json").write_text(claim)
    (machine.places.guests / "notes.json").write_text(claim)
    machine.step_to(SECOND)
    machine.step_to(2 * SECOND)
    assert machine.plant.energy_j == pytest.approx(2 * 87.0)
    assert not (machine.places.guests / f"{process.pid}.json").exists()


def test_a_process_that_is_not_there_is_not_served(run):
    machine = run(host())
    register(machine, 2**22 - 7)
    machine.step_to(SECOND)
    assert list(machine.places.guests.iterdir()) == []


def work(machine: Machine, state: Path, units_fd: int, *, resume: bool = False) -> subprocess.Popen[str]:
    environment = {
        "EVENWATT_UNITS_FD": str(units_fd),
        "EVENWATT_STATE_DIR": str(state),
        "EVENWATT_RESUME": str(int(resume)),
    }
    command = [sys.executable, "-I", program.__file__, "--guests", str(machine.places.guests)]
    command += ["--amount", "300", "--units-per-s", "100", "--unit", "steps"]
    return subprocess.Popen(command, env=environment, pass_fds=(units_fd,), stdout=subprocess.PIPE, text=True)


def drive(machine: Machine, child: subprocess.Popen[str], now_ns: int, stop_at: float | None = None) -> int:
    """Move a machine on, ten times as fast as time, until a program ends; ask it to stop after so much work."""
    step_ns = 100 * MS
    for _ in range(6_000):
        if child.poll() is not None:
            return now_ns
        now_ns += step_ns
        machine.step_to(now_ns)
        served = machine.places.guests / f"{child.pid}.work"
        if stop_at is not None and served.exists() and int(served.read_text()) > stop_at * 1e6:
            child.terminate()
            stop_at, step_ns = None, 0  # it need not hear of that before a fast machine has done the rest
        time.sleep(0.01)
    raise AssertionError("it did not end")


def test_the_program_tells_its_units_saves_its_state_and_goes_on(run, tmp_path):
    machine = run(host())
    reader, writer = os.pipe()
    child = work(machine, tmp_path, writer)
    now_ns = drive(machine, child, 0, stop_at=1.0)
    assert child.returncode == 0
    kept = float((tmp_path / "units").read_text())
    assert 100 <= kept < 300
    os.set_blocking(reader, False)
    lines = os.read(reader, 65_536).decode().split("\n")[:-1]
    assert sum(float(line.split()[0]) for line in lines) == pytest.approx(kept, abs=1e-3)
    assert {line.split()[1] for line in lines} == {"steps"}
    child = work(machine, tmp_path, writer, resume=True)
    drive(machine, child, now_ns)
    assert child.returncode == 0
    lines = os.read(reader, 65_536).decode().split("\n")[:-1]
    assert sum(float(line.split()[0]) for line in lines) == pytest.approx(300 - kept, abs=1e-3)
    os.close(reader)
    os.close(writer)


def fake_process(real: Path, pid: int, parent: int, cgroup: str) -> None:
    folder = real / str(pid)
    folder.mkdir(parents=True)
    (folder / "comm").write_text("a (strange) name\n")
    (folder / "cgroup").write_text(f"1:cpu:/elsewhere\n0::{cgroup}\n")
    zeros = " 0" * 10
    stat = f"{pid} (a (strange) name) S {parent} {pid} {pid} 0 -1 0{zeros} 0 20 0 1 0 {pid * 10} 0 0\n"
    (folder / "stat").write_text(stat)


def test_a_task_in_a_cgroup_of_its_own_is_counted_there(tmp_path):
    real, proc, cgroup = tmp_path / "real", tmp_path / "proc", tmp_path / "cgroup"
    for folder in (real, proc, cgroup):
        folder.mkdir()
    fake_process(real, 70, 1, "/")
    for pid in (77, 78):
        fake_process(real, pid, 70, "/user.slice/a.scope/evenwatt-task-0a1b2c3d4e5f")
    guests = Guests(tmp_path / "guests", proc, cgroup, real)
    for pid in (77, 78):
        (tmp_path / "guests" / f"{pid}.json").write_text('{"load": 0.25}')
    guests.look(0)
    guests.advance(4.0, 1.0)
    guests.write()
    group = cgroup / "user.slice" / "a.scope" / "evenwatt-task-0a1b2c3d4e5f"
    processors = os.cpu_count() or 1
    assert f"usage_usec {round(4.0 * 0.5 * processors * 1e6)}\n" in (group / "cpu.stat").read_text()
    assert (group / "cgroup.procs").read_text() == "77\n78\n"
    assert (proc / "77" / "cgroup").read_text() == "0::/user.slice/a.scope/evenwatt-task-0a1b2c3d4e5f\n"
    assert guests.load == 0.5
    for pid in (77, 78):
        (real / str(pid) / "stat").unlink()
    guests.look(SECOND)
    assert "populated 0" in (group / "cgroup.events").read_text()
    assert guests.load == 0.0
    guests.look(40 * SECOND)
    assert not group.exists()
    guests.close()
