import json
import os
import signal
import subprocess
import sys

import msgspec
import pytest
from virtual import MS, SECOND, steady

from evenwatt_twin import (
    PRESETS,
    Burst,
    Diurnal,
    Machine,
    Steady,
    TrainingSteps,
    Truth,
    TwinError,
    over_budget,
    peak_w,
    preset,
    work_lost,
)
from evenwatt_twin.truth import common_span_ns

PROFILES = [Steady(), Burst(period_s=2.0), TrainingSteps(), Diurnal(period_s=5.0)]


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_takes_every_profile(run, name, profile, request):
    options = {"library": request.getfixturevalue("nvml_library")} if name == "gpu_server" else {}
    machine = run(msgspec.structs.replace(preset(name, "m"), profile=profile), **options)
    assert machine.step_to(2 * SECOND) == 400
    assert machine.plant.energy_j > 0
    assert machine.plant.energy_j == pytest.approx(machine.plant.uncapped_energy_j)


def test_burst_node_goes_from_87_to_500_watts_within_250_ms(run):
    machine = run("xeon_2s")
    power = lambda: sum(s.power_w for s in machine.plant.components.values())  # noqa: E731
    assert power() == pytest.approx(87.0)
    machine.step_to(250 * MS)
    assert power() > 0.98 * 500
    machine.step_to(400 * MS)
    assert power() == pytest.approx(500.0, rel=1e-3)


def test_grid_is_fixed_however_late_the_caller(run, tmp_path):
    early = run("xeon_2s")
    late = Machine(preset("xeon_2s", "late"), tmp_path / "late", start_ns=0)
    for now in range(0, 3 * SECOND, 3 * MS):
        early.step_to(now)
    early.step_to(3 * SECOND)
    assert late.step_to(3 * SECOND + 4 * MS) == 600
    assert late.step_to(3 * SECOND + 4 * MS) == 0
    assert late.plant.energy_j == early.plant.energy_j
    assert late.mono_ns == early.mono_ns == 3 * SECOND
    late.close()


def test_truth_log_equals_the_plant(run):
    machine = run(steady("xeon_2s", 0.5))
    (machine.places.sysfs / "class/powercap/intel-rapl:0/constraint_0_power_limit_uw").write_text("80000000")
    machine.step_to(4 * SECOND)
    machine.flush()
    truth = Truth.load(machine.places.truth)
    assert len(truth.mono_ns) == 801
    assert truth.energy_j(0, 4 * SECOND) == pytest.approx(machine.plant.energy_j, abs=1e-6)
    assert truth.uncapped_energy_j(0, 4 * SECOND) == pytest.approx(machine.plant.uncapped_energy_j, rel=1e-9)
    halves = truth.energy_j(0, 1_234_567_890) + truth.energy_j(1_234_567_890, 4 * SECOND)
    assert halves == pytest.approx(machine.plant.energy_j, abs=1e-5)
    assert truth.energy_j(-SECOND, 9 * SECOND) == pytest.approx(machine.plant.energy_j, abs=1e-6)
    done, due = truth.work(0, 4 * SECOND)
    assert done < due == pytest.approx(2.0)
    snapshot = json.loads(machine.places.truth_json.read_text())
    assert snapshot["mono_ns"] == 4 * SECOND
    parts = sum(c["energy_j"] for c in snapshot["components"].values())
    assert parts == pytest.approx(snapshot["energy_j"])


def test_truth_log_knows_what_a_late_twin_had_not_shown(run):
    machine = run(steady("xeon_2s", 0.5))
    machine.step_to(SECOND)
    machine.step_to(2 * SECOND)  # one second late: at 1.4 s the counters still showed the first second
    machine.flush()
    truth = Truth.load(machine.places.truth)
    assert truth.unshown_j(1_400 * MS) == pytest.approx(truth.energy_j(SECOND, 1_400 * MS))
    assert truth.unshown_j(2 * SECOND) == 0.0


def test_torn_tail_of_a_truth_log_is_ignored_and_other_files_refused(run, tmp_path):
    machine = run("epyc")
    machine.step_to(SECOND)
    machine.flush()
    torn = tmp_path / "torn.bin"
    torn.write_bytes(machine.places.truth.read_bytes()[:-20])
    assert len(Truth.load(torn).mono_ns) == 200
    torn.write_bytes(b"something else entirely")
    with pytest.raises(ValueError, match="not a truth log"):
        Truth.load(torn)


def test_fleet_over_budget_with_and_without_control(tmp_path):
    truths = []
    for name in ("a", "b"):
        spec = msgspec.structs.replace(preset("xeon_2s", name), profile=Steady(load=1.0))
        machine = Machine(spec, tmp_path / name, start_ns=0)
        for zone in "01":
            path = machine.places.sysfs / f"class/powercap/intel-rapl:{zone}/constraint_0_power_limit_uw"
            path.write_text("125000000")
        machine.step_to(3 * SECOND + (5 * MS if name == "b" else 0))
        machine.close()
        truths.append(Truth.load(machine.places.truth))
    t0, t1 = common_span_ns(truths)
    assert (t0, t1) == (0, 3 * SECOND)
    without = over_budget(truths, 800.0, SECOND, t1, control=False)
    assert without.peak_over_w == pytest.approx(200.0, abs=0.01)
    assert without.over_ws == pytest.approx(400.0, abs=0.1)
    assert without.over_s == pytest.approx(2.0)
    assert over_budget(truths, 800.0, SECOND, t1).over_ws == 0.0
    assert peak_w(truths, SECOND, t1) < 600.0
    assert peak_w(truths, SECOND, t1, control=False) == pytest.approx(1000.0, abs=0.01)
    assert 0.1 < work_lost(truths, SECOND, t1) < 0.5


def test_stopped_job_makes_no_load(run):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        machine = run(msgspec.structs.replace(steady("xeon_2s"), job_pidfile="job.pid"))
        (machine.places.sysfs.parent / "job.pid").write_text(f"{child.pid}\n")
        machine.step_to(SECOND)
        package = machine.plant.components["package-0"]
        assert package.power_w == pytest.approx(225.0)
        os.kill(child.pid, signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        machine.step_to(1200 * MS)
        machine.step_to(2200 * MS)
        assert package.power_w == pytest.approx(36.0)
        assert package.uncapped_power_w == pytest.approx(225.0)
        os.kill(child.pid, signal.SIGCONT)
        os.waitpid(child.pid, os.WCONTINUED)
        machine.step_to(4 * SECOND)
        assert package.power_w == pytest.approx(225.0)
    finally:
        child.kill()
        child.wait()


def test_frozen_cgroup_counts_as_stopped(tmp_path):
    from evenwatt_twin.jobs import Job

    proc, group = tmp_path / "proc", tmp_path / "cgroup" / "job"
    for path, text in (
        (proc / "self/mounts", f"cgroup2 {tmp_path / 'cgroup'} cgroup2 rw 0 0\n"),
        (proc / "42/stat", "42 (a) b) S 1 42\n"),
        (proc / "42/cgroup", "9:cpu:/x\n0::/job\n"),
        (group / "cgroup.events", "populated 1\nfrozen 0\n"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    pidfile = tmp_path / "pid"
    job = Job(pidfile, proc)
    assert not job.is_stopped()  # nothing started yet
    pidfile.write_text("42")
    assert not job.is_stopped()
    (group / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    assert job.is_stopped()
    pidfile.write_text("43")
    assert job.is_stopped()  # ended


def test_a_folder_that_is_not_ours_is_refused_and_ours_is_reused(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.tex").touch()
    with pytest.raises(TwinError, match="holds something"):
        Machine(preset("epyc", "x"), tmp_path / "x", start_ns=0)
    for _ in range(2):
        Machine(preset("laptop", "y"), tmp_path / "y", start_ns=0).close()
