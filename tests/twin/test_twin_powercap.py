import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual import MS, SECOND, steady

from evenwatt_twin import preset, rapl
from evenwatt_twin.fleet import fleet_from
from evenwatt_twin.sysfile import NumberFile


def patched(name: str, **patch):
    return fleet_from({"machines": [{"id": "m", "preset": name, **patch}]}).machines[0]


def klass(machine) -> Path:
    return machine.places.sysfs / "class" / "powercap"


def number(path: Path) -> int:
    return int(path.read_bytes())


def write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.write(fd, text.encode())
    os.close(fd)


def test_tree_has_the_kernels_shape(run):
    machine = run("xeon_2s")
    top = klass(machine)
    assert sorted(p.name for p in top.iterdir()) == [
        "intel-rapl", "intel-rapl:0", "intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:0:2",
        "intel-rapl:1", "intel-rapl:1:0", "intel-rapl:1:1", "intel-rapl:1:2",
    ]  # fmt: skip
    assert all(p.is_symlink() for p in top.iterdir())
    inner = (top / "intel-rapl:0:2").resolve()
    assert inner.relative_to(machine.places.sysfs.resolve()).as_posix() == (
        "devices/virtual/powercap/intel-rapl/intel-rapl:0/intel-rapl:0:2"
    )
    assert (top / "intel-rapl:0:2" / "name").read_text() == "dram\n"
    assert stat.S_IMODE((inner / "energy_uj").stat().st_mode) == 0o400
    assert number(top / "intel-rapl:0/max_energy_range_uj") == 262143328850
    assert number(inner / "max_energy_range_uj") == 65712999613
    assert (top / "intel-rapl:0/constraint_1_name").read_text() == "short_term\n"
    assert number(top / "intel-rapl:0/constraint_0_time_window_us") == 999424


def test_first_line_is_what_the_kernel_prints_and_the_width_never_changes(run):
    machine = run(patched("epyc", powercap={"zones": {"0": {"start_uj": 0}}}))
    file = klass(machine) / "intel-rapl:0/energy_uj"
    assert file.read_bytes() == b"0" + b"\n" * 15
    for second in range(1, 5):
        machine.step_to(second * SECOND)
        raw = file.read_bytes()
        assert len(raw) == 16
        assert raw.splitlines()[0] == b"%d" % int(raw)


@pytest.mark.parametrize(("unit", "top"), [(61_035, 262143328850), (15_300, 65712999613), (15_258, 65532610987)])
def test_wrap_points_are_the_kernels(unit, top):
    assert rapl.range_uj(unit) == top


def test_counters_equal_truth_across_wraps_to_one_unit(run):
    start = {"0": 262143328850 - 50_000_000, "0:2": 65712999613 - 1_000_000}
    machine = run(patched("xeon_2s", powercap={"zones": {k: {"start_uj": v} for k, v in start.items()}}))
    for zone, component, unit in (("0", "package-0", 61.035), ("0:2", "dram-0", 15.3)):
        folder = klass(machine) / f"intel-rapl:{zone}"
        top = number(folder / "max_energy_range_uj")
        state = machine.plant.components[component]
        counted, last, wraps = 0.0, number(folder / "energy_uj"), 0
        begin_j, begin_ns = state.energy_j, machine.mono_ns
        for tick in range(1, 60):
            machine.step_to(begin_ns + tick * SECOND // 2)
            now = number(folder / "energy_uj")
            wraps += now < last
            counted += now - last if now >= last else top - last + now + unit
            last = now
        assert wraps == 1 or zone == "0:2"  # dram wrapped while the package was watched
        assert counted == pytest.approx((state.energy_j - begin_j) * 1e6, abs=1.5 * unit)


@given(st.lists(st.floats(0, 50), max_size=50), st.integers(0, 0xFFFF_FFFF))
def test_register_arithmetic_loses_no_unit(joules, start):
    raw, total, counted = start, 0.0, 0
    for step_j in joules:
        total += step_j
        now = (start + int(total * 1e9 / rapl.UNIT_61UJ)) & rapl.COUNTER_MASK
        counted += (now - raw) & rapl.COUNTER_MASK
        raw = now
        assert rapl.counter_uj(raw, rapl.UNIT_61UJ) <= rapl.range_uj(rapl.UNIT_61UJ)
    assert counted == int(total * 1e9 / rapl.UNIT_61UJ)


def test_package_contains_core_and_uncore(run):
    machine = run("xeon_2s")
    machine.step_to(5 * MS)
    before = {z: number(klass(machine) / f"intel-rapl:{z}/energy_uj") for z in ("0", "0:0", "0:1")}
    machine.step_to(20 * SECOND)
    used = {z: number(klass(machine) / f"intel-rapl:{z}/energy_uj") - v for z, v in before.items()}
    top = number(klass(machine) / "intel-rapl:0/max_energy_range_uj")
    used = {z: v % (top + 61) for z, v in used.items()}
    assert 0 < used["0:1"] < used["0:0"]
    assert used["0:0"] + used["0:1"] < used["0"]


def test_psys_contains_everything_and_mmio_is_the_same_silicon(run):
    machine = run("laptop")
    names = {p.name: (p / "name").read_text().strip() for p in klass(machine).iterdir() if ":" in p.name}
    assert names["intel-rapl:1"] == "psys"
    assert names["intel-rapl-mmio:0"] == "package-0"
    machine.step_to(10 * SECOND)
    twins = [number(klass(machine) / f"{c}:0/energy_uj") for c in ("intel-rapl", "intel-rapl-mmio")]
    assert twins[0] == twins[1]
    assert machine.plant.energy_j == sum(s.energy_j for s in machine.plant.components.values())


@pytest.mark.parametrize("text", ["120060000\n", "120060000"])
def test_cap_is_rounded_read_back_and_obeyed(run, text):
    machine = run(steady("xeon_2s"))
    limit = klass(machine) / "intel-rapl:0/constraint_0_power_limit_uw"
    machine.step_to(SECOND)
    assert machine.plant.components["package-0"].power_w == pytest.approx(225.0)
    write(limit, text)
    machine.step_to(SECOND + 20 * MS)
    assert number(limit) == 120_000_000
    assert machine.plant.components["package-0"].power_w == pytest.approx(225.0)  # the delay
    machine.step_to(2 * SECOND)
    assert machine.plant.components["package-0"].power_w == pytest.approx(120.0)
    assert machine.plant.components["package-1"].power_w == pytest.approx(225.0)
    assert machine.plant.components["package-0"].uncapped_power_w == pytest.approx(225.0)
    assert machine.caps_w["package-0"] == 120.0


def test_lowest_enabled_constraint_counts(run):
    machine = run(steady("xeon_2s"))
    zone = klass(machine) / "intel-rapl:0"
    write(zone / "constraint_1_power_limit_uw", "90000000\n")
    machine.step_to(5 * MS)
    assert machine.caps_w["package-0"] == 90.0
    write(zone / "enabled", "0\n")
    machine.step_to(10 * MS)
    assert machine.caps_w["package-0"] is None
    write(zone / "enabled", "7\n")
    machine.step_to(15 * MS)
    assert number(zone / "enabled") == 0


def test_mmio_limit_binds_the_same_package(run):
    machine = run(steady("laptop"))
    write(klass(machine) / "intel-rapl-mmio:0/constraint_0_power_limit_uw", "15000000")
    machine.step_to(5 * MS)
    assert machine.caps_w["package-0"] == 15.0


def test_dram_limit_acts_only_when_enabled(run):
    machine = run(steady("xeon_2s"))
    zone = klass(machine) / "intel-rapl:0:2"
    write(zone / "constraint_0_power_limit_uw", "10000000")
    machine.step_to(5 * MS)
    assert machine.caps_w["dram-0"] is None
    write(zone / "enabled", "1")
    machine.step_to(10 * MS)
    assert machine.caps_w["dram-0"] == 10.0


def test_empty_file_keeps_the_last_limit_and_nonsense_is_put_back(run):
    machine = run(steady("xeon_2s"))
    limit = klass(machine) / "intel-rapl:0/constraint_0_power_limit_uw"
    write(limit, "100000000\n")
    machine.step_to(5 * MS)
    write(limit, "")
    machine.step_to(10 * MS)
    assert machine.caps_w["package-0"] == 100.0
    for nonsense in ("watts\n", "-5\n", "\n"):
        write(limit, nonsense)
        machine.step_to(machine.mono_ns + 5 * MS)
        assert number(limit) == 100_000_000
        assert machine.caps_w["package-0"] == 100.0


def test_locked_zone_restores_what_was_written(run):
    machine = run(patched("xeon_2s", powercap={"zones": {"0": {"locked": True}}}))
    limit = klass(machine) / "intel-rapl:0/constraint_0_power_limit_uw"
    write(limit, "100000000\n")
    machine.step_to(5 * MS)
    assert number(limit) == 225_000_000
    assert machine.caps_w["package-0"] == 225.0


def test_disobedient_zone_reads_back_and_does_not_limit(run):
    spec = patched("xeon_2s", profile={"kind": "steady", "load": 1}, powercap={"zones": {"0": {"obey": False}}})
    machine = run(spec)
    limit = klass(machine) / "intel-rapl:0/constraint_0_power_limit_uw"
    write(limit, "100060000\n")
    machine.step_to(SECOND)
    assert number(limit) == 100_000_000
    assert machine.plant.components["package-0"].power_w == pytest.approx(225.0)


def test_time_window_is_encoded_and_never_zero(run):
    machine = run("xeon_2s")
    window = klass(machine) / "intel-rapl:0/constraint_0_time_window_us"
    write(window, "1100000\n")
    machine.step_to(200 * MS)
    assert number(window) == 999_424
    write(window, "0\n")
    machine.step_to(400 * MS)
    assert number(window) == 999_424


def test_epyc_has_energy_and_no_limit(run):
    machine = run("epyc")
    assert not list(machine.places.sysfs.rglob("constraint_*"))
    assert (klass(machine) / "intel-rapl:0:0/name").read_text() == "core\n"


def test_package_may_be_a_die():
    spec = preset("epyc", "m")
    zone = msgspec.structs.replace(spec.powercap.zones["0"], name="package-0-die-1")
    assert zone.name == "package-0-die-1"


HAMMER = """
import os, sys
fd, last, faults, reads = os.open(sys.argv[1], os.O_RDONLY), 0, 0, 0
end = int(sys.argv[2])
print("ready", flush=True)
while last < end:
    raw = os.pread(fd, 64, 0)
    value = int(raw)
    reads += 1
    # What is written rises and leaves the same remainder: half old and half new does not.
    faults += value < last or value % 1009 != 3
    last = value
print(reads, faults)
"""


def test_no_reader_sees_a_torn_number(tmp_path):
    """Another process reads as fast as it can; with 13-byte writes this finds dozens of torn numbers."""
    path, step, writes = tmp_path / "energy_uj", 1009 * 100_003, 400_000
    first = 100_000_000_000 // 1009 * 1009 + 3
    file = NumberFile(path, first)
    command = [sys.executable, "-c", HAMMER, str(path), str(first + step * writes)]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert reader.stdout.readline() == "ready\n"
    for write in range(1, writes + 1):
        file.write(first + step * write)
    out, _ = reader.communicate(timeout=60)
    file.close()
    reads, faults = map(int, out.split())
    assert reads > 1000
    assert faults == 0
