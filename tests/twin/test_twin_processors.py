"""Frequency ceilings and quotas: what an agent sees, and what they do to power and speed."""

import msgspec
import pytest
from virtual import MS, SECOND, steady

from evenwatt_twin import Machine, MachineSpec
from evenwatt_twin.processors import Policy, Processors

FULL_KHZ = 3_700_000


def settle(machine: Machine, seconds: float = 1.0) -> tuple[float, float]:
    """Move on; return power at the end and the share of the demanded work that was done meanwhile."""
    done, due = machine.plant.work_done, machine.plant.work_demanded
    machine.step_to(machine.mono_ns + round(seconds * SECOND))
    return machine.plant.components["package-0"].power_w, (machine.plant.work_done - done) / (
        machine.plant.work_demanded - due
    )


def ceilings(machine: Machine):
    return sorted((machine.places.sysfs / "devices/system/cpu/cpufreq").glob("policy*/scaling_max_freq"))


def test_the_files_are_the_kernels(run):
    machine = run(steady("epyc"))
    cpu = machine.places.sysfs / "devices/system/cpu"
    policy = cpu / "cpufreq" / "policy16"
    assert (cpu / "online").read_text() == "0-127\n"
    assert int((policy / "cpuinfo_min_freq").read_text()) == 1_500_000
    assert (policy / "related_cpus").read_text().split() == [str(n) for n in range(16, 32)]
    assert (cpu / "cpu16/topology/physical_package_id").read_text() == "0\n"
    quota = machine.places.sysfs / "fs/cgroup/machine.slice/cpu.max"
    assert quota.read_text().split() == ["max", "100000"]


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_half_the_clock_is_half_the_speed_and_a_quarter_of_the_dynamic_power(run, share):
    machine = run(steady("epyc"))
    for path in ceilings(machine):
        path.write_text(f"{round(share * FULL_KHZ)}\n")
    settle(machine)
    power_w, speed = settle(machine)
    assert speed == pytest.approx(share, rel=0.01)
    assert power_w == pytest.approx(65 + 215 * share**2, rel=0.01)


def test_a_light_load_runs_as_fast_at_a_lower_clock_for_less_power(run):
    machine = run(steady("epyc", 0.4))
    before_w, _ = settle(machine)
    for path in ceilings(machine):
        path.write_text(f"{FULL_KHZ // 2}")
    settle(machine)
    power_w, speed = settle(machine)
    assert speed == pytest.approx(1.0)
    assert power_w < before_w - 30


def test_the_fastest_policy_of_a_component_counts(run):
    machine = run(steady("epyc"))
    for path in ceilings(machine)[1:]:
        path.write_text("1500000")
    power_w, speed = settle(machine)
    assert (power_w, speed) == (pytest.approx(280, rel=0.01), pytest.approx(1.0))


@pytest.mark.parametrize(("asked", "shown"), [("1", "1500000"), ("9900000", "3700000"), ("word", "3700000")])
def test_a_ceiling_is_clamped_as_the_kernel_does(run, asked, shown):
    machine = run(steady("epyc"))
    path = ceilings(machine)[0]
    path.write_text(asked)
    settle(machine, 0.1)
    assert path.read_text().strip() == shown


@pytest.mark.parametrize(("fault", "shown"), [({"locked": True}, "3700000"), ({"obey": False}, "1500000")])
def test_firmware_that_restores_and_firmware_that_ignores(run, fault, shown):
    spec = steady("epyc")
    policy = Policy(slows="package-0", cpus="0-127", **fault)
    machine = run(msgspec.structs.replace(spec, processors=Processors(online=128, policies={"policy0": policy})))
    (path,) = ceilings(machine)
    path.write_text("1500000")
    power_w, _ = settle(machine)
    assert path.read_text().strip() == shown
    assert power_w == pytest.approx(280, rel=0.01)


@pytest.mark.parametrize(
    ("written", "shown", "share"),
    [
        ("6400000", "6400000 100000", 0.5),
        ("6400000 100000\n", "6400000 100000", 0.5),
        ("max", "max 100000", 1.0),
        ("99999999", "99999999 100000", 1.0),
        ("12", "max 100000", 1.0),
        ("word", "max 100000", 1.0),
    ],
)
def test_a_quota_is_the_share_of_time_that_work_may_use(run, written, shown, share):
    machine = run(steady("epyc"))
    path = machine.places.sysfs / "fs/cgroup/machine.slice/cpu.max"
    path.write_text(written)
    settle(machine)
    power_w, speed = settle(machine)
    assert path.read_text().strip() == shown
    assert speed == pytest.approx(share)
    assert power_w == pytest.approx(65 + 215 * share, rel=0.01)


def test_a_quota_that_is_lifted_gives_everything_back(run):
    machine = run(steady("edge_ina"))
    path = machine.places.sysfs / "fs/cgroup/machine.slice/cpu.max"
    path.write_text("300000")
    machine.step_to(machine.mono_ns + 500 * MS)
    assert machine.plant.components["cpu-gpu"].power_w == pytest.approx(10, rel=0.01)
    path.write_text("max")
    machine.step_to(machine.mono_ns + 500 * MS)
    assert machine.plant.components["cpu-gpu"].power_w == pytest.approx(18, rel=0.01)
    assert path.read_text().split() == ["max", "100000"]


def test_a_component_that_is_not_there_is_named():
    policy = Policy(slows="package-9", cpus="0")
    with pytest.raises(ValueError, match=r"processors\.policies\.policy0\.slows names component 'package-9'"):
        MachineSpec(
            id="x",
            components=steady("epyc").components,
            processors=Processors(online=1, policies={"policy0": policy}),
        )


def test_a_board_with_bounded_clocks_is_slower_and_draws_less(run, nvml_library, pynvml):
    machine = run(steady("gpu_server"), library=nvml_library)
    said = pynvml(
        machine, "nvmlDeviceSetGpuLockedClocks(h, 210, 705)\nprint(nvmlDeviceGetMaxClockInfo(h, NVML_CLOCK_GRAPHICS))"
    )
    machine.step_to(machine.mono_ns + SECOND)
    board, other = (machine.plant.components[name] for name in ("gpu-0", "gpu-1"))
    assert said == "1410"
    assert board.power_w == pytest.approx(55 + 345 / 4, rel=0.02)
    assert other.power_w == pytest.approx(400, rel=0.01)
    assert pynvml(machine, "print(nvmlDeviceGetClockInfo(h, NVML_CLOCK_GRAPHICS))") == "705"
    pynvml(machine, "nvmlDeviceResetGpuLockedClocks(h)")
    machine.step_to(machine.mono_ns + SECOND)
    assert board.power_w == pytest.approx(400, rel=0.01)
