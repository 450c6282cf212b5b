from pathlib import Path

import pytest
from virtual import MS, SECOND, steady

from evenwatt_twin import Machine, preset
from evenwatt_twin.fleet import fleet_from


def number(path: Path) -> int:
    return int(path.read_bytes())


def test_amdgpu_shape_and_whole_watt_cap(run):
    machine = run(steady("apu_box"))
    link = machine.places.sysfs / "class/hwmon/hwmon3"
    assert link.is_symlink()
    assert (link / "name").read_text() == "amdgpu\n"
    assert (link / "device").resolve().name == "0000:c4:00.0"
    assert (link / "power1_label").read_text() == "PPT\n"
    assert [number(link / f"power1_cap{s}") for s in ("", "_min", "_max", "_default")] == [
        65_000_000, 15_000_000, 65_000_000, 65_000_000,
    ]  # fmt: skip
    machine.step_to(SECOND)
    assert number(link / "power1_average") == 65_000_000
    (link / "power1_cap").write_text("30700000\n")
    machine.step_to(2 * SECOND)
    assert number(link / "power1_cap") == 30_000_000
    assert number(link / "power1_average") == pytest.approx(30_000_000, abs=1)
    (link / "power1_cap").write_text("5000000")  # below the minimum: EINVAL on hardware
    machine.step_to(3 * SECOND)
    assert number(link / "power1_cap") == 30_000_000


def test_ina3221_rails(run):
    machine = run(steady("edge_ina"))
    (hwmon,) = (machine.places.sysfs / "bus/i2c/drivers/ina3221/1-0040/hwmon").iterdir()
    assert hwmon.resolve() == (machine.places.sysfs / "class/hwmon/hwmon1").resolve()
    machine.step_to(SECOND)
    watts = {
        (hwmon / f"in{n}_label").read_text().strip(): number(hwmon / f"in{n}_input")
        * number(hwmon / f"curr{n}_input")
        / 1e6
        for n in (1, 2, 3)
    }
    assert watts == pytest.approx({"VDD_IN": 25.0, "VDD_CPU_GPU_CV": 18.0, "VDD_SOC": 4.0}, abs=0.005)
    assert not [p for p in hwmon.iterdir() if "cap" in p.name]


def test_hwmon_energy_is_optional(run):
    patch = {"hwmon": {"hwmon3": {"power": [{"measures": ["socket"], "attribute": "input", "energy": True}]}}}
    machine = run(fleet_from({"machines": [{"id": "m", "preset": "apu_box", **patch}]}).machines[0])
    machine.step_to(7 * SECOND)
    hwmon = machine.places.sysfs / "class/hwmon/hwmon3"
    assert number(hwmon / "energy1_input") == int(machine.plant.energy_j * 1e6)
    assert (hwmon / "power1_input").exists()
    assert not (hwmon / "power1_cap").exists()


@pytest.mark.parametrize("power_now", [True, False])
def test_battery_shows_the_mean_of_the_last_second(run, power_now):
    patch = {"preset": "laptop", "profile": {"kind": "steady", "load": 0.5}, "power_supply": {"power_now": power_now}}
    machine = run(fleet_from({"machines": [{"id": "m", **patch}]}).machines[0])
    battery = machine.places.sysfs / "class/power_supply/BAT0"
    machine.step_to(SECOND)
    first_j = machine.plant.energy_j
    machine.step_to(2 * SECOND)
    mean_uw = (machine.plant.energy_j - first_j) * 1e6
    texts = [(battery / name).read_text().strip() for name in ("type", "scope", "present", "status")]
    assert texts == ["Battery", "System", "1", "Discharging"]
    if power_now:
        assert number(battery / "power_now") == pytest.approx(mean_uw, abs=1)
    else:
        shown = number(battery / "voltage_now") * number(battery / "current_now") / 1e6
        assert shown == pytest.approx(mean_uw, rel=1e-5)
    assert (battery.parent / "AC/online").read_text() == "0\n"
    assert number(battery / "energy_now") < number(battery / "energy_full")


def test_battery_on_the_mains_is_still(run):
    patch = {"preset": "laptop", "power_supply": {"discharging": False}}
    machine = run(fleet_from({"machines": [{"id": "m", **patch}]}).machines[0])
    machine.step_to(3 * SECOND)
    supply = machine.places.sysfs / "class/power_supply"
    assert (supply / "BAT0/status").read_text() == "Full\n"
    assert number(supply / "BAT0/power_now") == 0
    assert (supply / "AC/online").read_text() == "1\n"
    assert (supply / "AC/type").read_text() == "Mains\n"


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_files_are_closed(tmp_path):
    before = open_files()
    machine = Machine(preset("laptop", "m"), tmp_path / "m", start_ns=0)
    machine.step_to(10 * MS)
    assert open_files() > before + 20
    machine.close()
    assert open_files() == before
