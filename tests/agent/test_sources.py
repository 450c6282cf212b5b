"""The shipping readers on trees that look like hardware: what is found, counted, and said when it is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evenwatt_agent.counters import counter_for
from evenwatt_agent.hierarchy import choose_total
from evenwatt_agent.sources import hwmon, ina, power_supply, powercap
from evenwatt_agent.sources.powercap import find_zones
from evenwatt_twin.machine import Machine
from evenwatt_twin.presets import preset
from evenwatt_twin.truth import Truth
from evenwatt_wire import Quality

MS = 1_000_000


@pytest.fixture
def machine(tmp_path, request):
    twin = Machine(preset(request.param, "m1"), tmp_path / "m1", start_ns=0, step_ns=5 * MS)
    yield twin
    twin.close()


def kinds(found):
    return sorted((probe.domain.id, probe.domain.kind) for probe in found.probes)


@pytest.mark.parametrize("machine", ["xeon_2s"], indirect=True)
def test_a_server_has_eight_zones_whichever_way_the_tree_is_entered(machine):
    zones = find_zones(machine.places.sysfs)
    assert sorted(zone.id for zone in zones) == [
        f"package-{n}{inner}" for n in (0, 1) for inner in ("", "/core", "/dram", "/uncore")
    ]
    assert {zone.parent for zone in zones} == {None, "package-0", "package-1"}
    found = powercap.discover(machine.places.sysfs)
    assert len(found.probes) == 8
    assert {probe.range_uj for probe in found.probes} == {262_143_328_850, 65_712_999_613}


@pytest.mark.parametrize("machine", ["xeon_2s"], indirect=True)
@pytest.mark.parametrize("keep", ["flat", "nested"])
def test_a_container_that_shows_half_of_the_tree_is_enough(machine, keep):
    """Some show only the flat symlinks, some only the outer folder."""
    entries = sorted((machine.places.sysfs / "class" / "powercap").iterdir())
    for entry in entries:
        is_control_type = ":" not in entry.name
        if is_control_type == (keep == "flat"):
            entry.unlink()
    assert len(find_zones(machine.places.sysfs)) == 8


@pytest.mark.parametrize(
    ("machine", "formula"),
    [
        ("xeon_2s", "package-0 + package-1 + package-0/dram + package-1/dram"),
        ("laptop", "psys"),
        ("epyc", "package-0"),
        ("apu_box", "amdgpu/PPT"),
        ("edge_ina", "ina3221/VDD_IN"),
    ],
    indirect=["machine"],
)
def test_each_machine_has_one_total_that_matches_the_truth(machine, formula):
    """Ten virtual seconds: what the readers count is what the plant drew, to the counters' resolution."""
    found = powercap.discover(machine.places.sysfs)
    found.add(hwmon.discover(machine.places.sysfs))
    found.add(ina.discover(machine.places.sysfs))
    found.add(power_supply.discover(machine.places.sysfs))
    domains, said = choose_total(found.probes)
    assert sorted(said.split(" + ")) == sorted(formula.split(" + "))
    counted = [(p, d) for p, d in zip(found.probes, domains, strict=True) if d.in_total]
    counters = [(p, counter_for(p.unit, p.range_uj, p.max_power_w, d.quality)) for p, d in counted]
    total_uj = 0
    for now_ns in range(10 * MS, 10_000 * MS + 1, 10 * MS):
        machine.step_to(now_ns)
        for probe, counter in counters:
            step = counter.update(now_ns, probe.read())
            assert step is None or step.reason == ""
            total_uj += step.energy_uj if step else 0
    machine.flush()
    true_j = Truth.load(machine.places.truth).energy_j(10 * MS, 10_000 * MS)
    quality = {domain.quality for _, domain in counted}
    assert total_uj * 1e-6 == pytest.approx(true_j, rel=2e-3 if Quality.INTEGRATED in quality else 1e-5)


@pytest.mark.parametrize("machine", ["laptop"], indirect=True)
def test_a_mirror_and_a_battery_are_shown_and_not_counted(machine):
    found = powercap.discover(machine.places.sysfs)
    found.add(power_supply.discover(machine.places.sysfs))
    domains, _ = choose_total(found.probes)
    shown = {domain.id: domain.in_total for domain in domains}
    assert shown["mmio:package-0"] is False
    assert shown["battery/BAT0"] is False
    assert shown["psys"] is True


@pytest.mark.parametrize("machine", ["xeon_2s"], indirect=True)
def test_a_denied_counter_is_said_with_its_fix_and_is_not_zero_watts(machine):
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another user")
    for folder in [machine.places.sysfs, *machine.places.sysfs.parents]:
        if folder.stat().st_uid == 0 and folder != Path("/") and not folder.stat().st_mode & 0o005:
            folder.chmod(0o755)
    os.seteuid(65_534)
    try:
        found = powercap.discover(machine.places.sysfs)
    finally:
        os.seteuid(0)
    assert found.probes == []
    assert len(found.problems) == 8
    assert "CVE-2020-8694" in found.problems[0].fix


@pytest.mark.parametrize("machine", ["xeon_2s"], indirect=True)
@pytest.mark.parametrize("content", ["", "word", "12 34", "\0\0"])
def test_a_counter_that_holds_nonsense_is_a_problem_not_a_crash(machine, content):
    counter = machine.places.sysfs / "class" / "powercap" / "intel-rapl:0" / "energy_uj"
    counter.chmod(0o600)
    counter.write_text(content)
    found = powercap.discover(machine.places.sysfs)
    assert len(found.probes) == 7
    assert found.problems[0].path.endswith("energy_uj")


def test_a_machine_with_nothing_has_nothing(tmp_path):
    assert ina.discover(tmp_path).probes == []
    assert powercap.discover(tmp_path).probes == []
    assert hwmon.discover(tmp_path).probes == []
    assert power_supply.discover(tmp_path).probes == []


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name).write_text(f"{value}\n")


def test_batteries_tell_watts_whatever_sign_and_form_their_driver_uses(tmp_path):
    base = tmp_path / "class" / "power_supply"
    write(base / "BAT0", type="Battery", status="Discharging", voltage_now=12_000_000, current_now=-1_500_000)
    write(base / "BAT1", type="Battery", status="Charging", power_now=20_000_000)
    write(base / "mouse", type="Battery", scope="Device", status="Discharging", power_now=1)
    write(base / "ucsi", type="USB", voltage_now=20_000_000, current_now=3_000_000)
    found = power_supply.discover(tmp_path)
    assert {probe.domain.id: probe.read() for probe in found.probes} == {"battery/BAT0": 18_000_000, "battery/BAT1": 0}


def test_an_energy_counter_is_preferred_and_twins_are_told_apart(tmp_path):
    for number, device in (("hwmon0", "card0"), ("hwmon1", "card1")):
        (tmp_path / "devices" / device).mkdir(parents=True)
        write(tmp_path / "class" / "hwmon" / number, name="xe", power1_input=5, energy1_input=7)
        (tmp_path / "class" / "hwmon" / number / "device").symlink_to(tmp_path / "devices" / device)
    found = hwmon.discover(tmp_path)
    assert kinds(found) == [("xe-card0", "gpu"), ("xe-card1", "gpu")]
    assert [probe.read() for probe in found.probes] == [7, 7]


def total(found):
    return choose_total(found.probes)[1]


def test_an_xe_card_contains_its_package(tmp_path):
    card = tmp_path / "class" / "hwmon" / "hwmon0"
    write(card, name="xe", energy1_input=9, energy1_label="card", energy2_input=7, energy2_label="pkg")
    found = hwmon.discover(tmp_path)
    assert {p.domain.id: p.domain.parent for p in found.probes} == {"xe/card": None, "xe/pkg": "xe/card"}
    assert total(found) == "xe/card"


def test_an_older_xe_driver_shows_only_the_package(tmp_path):
    write(tmp_path / "class" / "hwmon" / "hwmon0", name="xe", energy2_input=7, energy2_label="pkg")
    assert total(hwmon.discover(tmp_path)) == "xe/pkg"


def zone(root, path, name, energy_uj=1, range_uj=1000):
    folder = root / "class" / "powercap" / path
    write(folder, name=name, energy_uj=energy_uj, max_energy_range_uj=range_uj)


def test_dies_inside_a_package_are_shown_and_not_added(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0")
    zone(tmp_path, "intel-rapl:0/intel-rapl:0:0", "package-0-die-0")
    zone(tmp_path, "intel-rapl:0/intel-rapl:0:1", "package-0-die-1")
    zone(tmp_path, "intel-rapl:0/intel-rapl:0:2", "dram")
    found = powercap.discover(tmp_path)
    assert len(found.probes) == 4
    assert sorted(total(found).split(" + ")) == ["package-0", "package-0/dram"]


def test_dies_without_a_package_around_them_add_up(tmp_path):
    for number in (0, 1):
        zone(tmp_path, f"intel-rapl:{number}", f"package-0-die-{number}")
    assert sorted(total(powercap.discover(tmp_path)).split(" + ")) == ["package-0-die-0", "package-0-die-1"]


def test_every_platform_of_a_large_machine_counts(tmp_path):
    for number in (0, 1):
        zone(tmp_path, f"intel-rapl:{number}", f"package-{number}")
        zone(tmp_path, f"intel-rapl:{number + 2}", f"psys-{number}")
    assert sorted(total(powercap.discover(tmp_path)).split(" + ")) == ["psys-0", "psys-1"]


def test_a_mirror_counts_where_the_original_is_missing(tmp_path):
    zone(tmp_path, "intel-rapl-mmio:0", "package-0")
    assert total(powercap.discover(tmp_path)) == "mmio:package-0"


def jetson(tmp_path, **more):
    rails = {"in1_label": "VDD_IN", "in1_input": 5000, "curr1_input": 2000}
    rails |= {"in2_label": "VDD_CPU_GPU_CV", "in2_input": 5000, "curr2_input": 800}
    rails |= {"in3_label": "VDD_SOC", "in3_input": 5000, "curr3_input": -4}
    rails |= {f"in{n}_input": 40 for n in (4, 5, 6)} | {"in7_input": 120, "in7_label": "sum of shunt voltages"}
    write(tmp_path / "class" / "hwmon" / "hwmon1", name="ina3221", **(rails | more))
    return ina.discover(tmp_path)


def test_a_jetsons_input_rail_is_its_total_and_shunts_are_no_rails(tmp_path):
    found = jetson(tmp_path)
    assert {probe.domain.id: probe.read() for probe in found.probes} == {
        "ina3221/VDD_IN": 10_000_000,
        "ina3221/VDD_CPU_GPU_CV": 4_000_000,
        "ina3221/VDD_SOC": 0,
    }
    assert total(found) == "ina3221/VDD_IN"


def test_rails_without_a_total_add_up_and_disabled_ones_are_left_out(tmp_path):
    found = jetson(tmp_path, in1_label="VDD_GPU", in3_enable=0)
    assert sorted(total(found).split(" + ")) == ["ina3221/VDD_CPU_GPU_CV", "ina3221/VDD_GPU"]


@pytest.mark.parametrize("content", ["", "word"])
def test_a_rail_that_holds_nonsense_is_a_problem_and_the_others_are_read(tmp_path, content):
    found = jetson(tmp_path, curr2_input=content)
    assert len(found.probes) == 2
    assert "dmesg" in found.problems[0].fix


def test_an_absurd_reading_is_a_gap_and_not_energy(tmp_path):
    write(tmp_path / "class" / "hwmon" / "hwmon0", name="amdgpu", power1_average=50_000_000)
    probe = hwmon.discover(tmp_path).probes[0]
    counter = counter_for(probe.unit, probe.range_uj, probe.max_power_w, probe.domain.quality)
    counter.update(0, probe.read())
    step = counter.update(MS, 10**18)
    assert (step.energy_uj, step.quality) == (0, Quality.UNKNOWN)
