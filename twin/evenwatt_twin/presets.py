"""Machines that are ready to use. Each takes any load profile; its own default shows what it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from evenwatt_twin import rapl
from evenwatt_twin.hwmon import Hwmon, PowerSensor, Rail
from evenwatt_twin.machine_spec import MachineSpec
from evenwatt_twin.nvml import Board, Nvml
from evenwatt_twin.plant import Component
from evenwatt_twin.power_supply import PowerSupply
from evenwatt_twin.powercap import Constraint, Powercap, Zone
from evenwatt_twin.processors import Cgroup, Policy, Processors
from evenwatt_twin.profiles import Burst, Diurnal, Steady, TrainingSteps

if TYPE_CHECKING:
    from collections.abc import Callable


def preset(name: str, machine_id: str) -> MachineSpec:
    """Return a ready machine.

    Raises:
        KeyError: there is none of that name.
    """
    return PRESETS[name](machine_id)


def xeon_2s(machine_id: str) -> MachineSpec:
    """Two server packages with memory: 87 W idle, 500 W within 250 ms in a burst."""
    components: dict[str, Component] = {}
    zones: dict[str, Zone] = {}
    for socket in range(2):
        package, dram = f"package-{socket}", f"dram-{socket}"
        components[package] = Component(kind="cpu-package", idle_w=36.0, max_w=225.0, min_cap_w=60.0)
        components[dram] = Component(kind="dram", idle_w=7.5, max_w=25.0, follows=package)
        zones |= _intel_package(str(socket), package, tdp_w=225.0)
        zones[f"{socket}:2"] = Zone(
            name="dram",
            measures=(dram,),
            unit_nj=rapl.UNIT_15UJ,
            constraints=(Constraint(name="long_term", limit_w=0.0),),
        )
    # The rise leaves 50 ms for the lag, so that the whole node is up within 250 ms.
    profile = Burst(period_s=4.0, width_s=1.0, rise_s=0.2)
    return MachineSpec(id=machine_id, components=components, profile=profile, powercap=Powercap(zones=zones))


def xeon_psys(machine_id: str) -> MachineSpec:
    """The same server with a platform zone around everything, fans and supplies' losses included."""
    spec = xeon_2s(machine_id)
    rest = Component(kind="platform", idle_w=40.0, max_w=90.0, follows="package-0")
    components = {**spec.components, "rest": rest}
    psys = Zone(name="psys", measures=tuple(components))
    zones = {**(spec.powercap.zones if spec.powercap else {}), "2": psys}
    return msgspec.structs.replace(spec, components=components, powercap=Powercap(zones=zones))


def arc_box(machine_id: str) -> MachineSpec:
    """A desktop package and an Arc card, whose ``pkg`` channel is inside its ``card`` channel."""
    components = {
        "package-0": Component(kind="cpu-package", idle_w=12.0, max_w=125.0, min_cap_w=30.0),
        "chip": Component(kind="gpu", idle_w=15.0, max_w=160.0, min_cap_w=50.0, max_cap_w=190.0),
        "board": Component(kind="platform", idle_w=8.0, max_w=30.0, follows="chip"),
    }
    sensors = (
        PowerSensor(measures=("chip", "board"), attribute="input", label="card", energy=True, caps="chip"),
        PowerSensor(measures=("chip",), attribute="input", label="pkg", energy=True),
    )
    device = Hwmon(name="xe", device="pci0000:00/0000:00:01.0/0000:03:00.0", power=sensors)
    return MachineSpec(
        id=machine_id,
        components=components,
        profile=Burst(period_s=5.0, width_s=2.0),
        powercap=Powercap(zones=_intel_package("0", "package-0", tdp_w=125.0)),
        hwmon={"hwmon2": device},
    )


def gpu_server(machine_id: str) -> MachineSpec:
    """One package with memory and two boards with NVML limits of 100 to 400 W."""
    board = Component(
        kind="gpu", idle_w=55.0, max_w=400.0, tau_s=0.03, cap_delay_s=0.05, min_cap_w=100.0, max_cap_w=400.0
    )
    components = {
        "package-0": Component(kind="cpu-package", idle_w=60.0, max_w=270.0, min_cap_w=90.0, load_gain=0.4),
        "dram-0": Component(kind="dram", idle_w=10.0, max_w=40.0, follows="package-0"),
        "gpu-0": board,
        "gpu-1": board,
    }
    zones = _intel_package("0", "package-0", tdp_w=270.0)
    zones["0:2"] = Zone(name="dram", measures=("dram-0",), unit_nj=rapl.UNIT_15UJ)
    return MachineSpec(
        id=machine_id,
        components=components,
        profile=TrainingSteps(jitter=0.05),
        powercap=Powercap(zones=zones),
        nvml=Nvml(boards=(Board(component="gpu-0"), Board(component="gpu-1"))),
    )


def gpu_8(machine_id: str) -> MachineSpec:
    """An AMD package and eight boards of 700 W, one of them cut by MIG."""
    spec = epyc(machine_id)
    board = Component(kind="gpu", idle_w=70.0, max_w=700.0, cap_delay_s=0.05, min_cap_w=200.0, max_cap_w=700.0)
    names = [f"gpu-{index}" for index in range(8)]
    boards = tuple(Board(component=name, name="NVIDIA H100", mig=index == 3) for index, name in enumerate(names))
    return msgspec.structs.replace(
        spec,
        components={**spec.components, **dict.fromkeys(names, board)},
        profile=TrainingSteps(),
        nvml=Nvml(boards=boards),
    )


def laptop(machine_id: str) -> MachineSpec:
    """A battery, psys around one package, and the package a second time as ``intel-rapl-mmio``."""
    components = {
        "package-0": Component(kind="cpu-package", idle_w=2.5, max_w=45.0, min_cap_w=6.0),
        "rest": Component(kind="platform", idle_w=5.5, max_w=9.0, follows="package-0"),
    }
    zones = _intel_package("0", "package-0", tdp_w=45.0, peak=True)
    zones["1"] = Zone(
        name="psys",
        measures=("package-0", "rest"),
        constraints=(Constraint(name="long_term", limit_w=0.0), Constraint(name="short_term", limit_w=0.0)),
    )
    return MachineSpec(
        id=machine_id,
        components=components,
        profile=Burst(period_s=6.0, width_s=2.0, low=0.05, high=0.9),
        powercap=Powercap(zones=zones, mmio=True),
        power_supply=PowerSupply(),
    )


def apu_box(machine_id: str) -> MachineSpec:
    """A processor with graphics whose socket power and cap amdgpu shows through hwmon."""
    socket = Component(kind="soc", idle_w=9.0, max_w=65.0, cap_delay_s=0.05, min_cap_w=15.0, max_cap_w=65.0)
    sensor = PowerSensor(measures=("socket",), attribute="average", label="PPT", caps="socket")
    device = Hwmon(name="amdgpu", device="pci0000:00/0000:00:08.1/0000:c4:00.0", power=(sensor,))
    return MachineSpec(
        id=machine_id,
        components={"socket": socket},
        profile=Burst(period_s=5.0, width_s=2.0),
        hwmon={"hwmon3": device},
    )


def edge_ina(machine_id: str) -> MachineSpec:
    """A small board whose ina3221 shows three rails; the first is the total. No limit in watts: clocks and quotas."""
    components = {
        "cpu-gpu": Component(kind="soc", idle_w=2.0, max_w=18.0),
        "soc": Component(kind="platform", idle_w=1.5, max_w=4.0, follows="cpu-gpu"),
        "carrier": Component(kind="platform", idle_w=2.5, max_w=3.0, follows="cpu-gpu"),
    }
    rails = (
        Rail(label="VDD_IN", measures=("cpu-gpu", "soc", "carrier")),
        Rail(label="VDD_CPU_GPU_CV", measures=("cpu-gpu",)),
        Rail(label="VDD_SOC", measures=("soc",)),
    )
    device = Hwmon(name="ina3221", device="platform/bus@0/c240000.i2c/i2c-1/1-0040", driver="i2c/ina3221", rails=rails)
    policy = Policy(slows="cpu-gpu", cpus="0-5", min_khz=115_200, max_khz=1_510_400)
    return MachineSpec(
        id=machine_id,
        components=components,
        profile=Diurnal(period_s=30.0, peak_s=15.0),
        hwmon={"hwmon1": device},
        processors=Processors(
            online=6, policies={"policy0": policy}, cgroups={"machine.slice": Cgroup(slows=("cpu-gpu",))}
        ),
    )


def epyc(machine_id: str) -> MachineSpec:
    """Package and core energy in AMD's unit, and no limit register: frequency ceilings of eight policies, quotas."""
    zones = {
        "0": Zone(name="package-0", measures=("package-0",), unit_nj=rapl.UNIT_AMD),
        "0:0": Zone(name="core", measures=("package-0",), idle_share=0.2, dynamic_share=0.75, unit_nj=rapl.UNIT_AMD),
    }
    return MachineSpec(
        id=machine_id,
        components={"package-0": Component(kind="cpu-package", idle_w=65.0, max_w=280.0)},
        profile=Steady(load=0.6),
        powercap=Powercap(zones=zones),
        processors=Processors(
            online=128,
            policies={
                f"policy{first}": Policy(slows="package-0", cpus=f"{first}-{first + 15}") for first in range(0, 128, 16)
            },
            cgroups={"machine.slice": Cgroup(slows=("package-0",))},
        ),
    )


PRESETS: Final[dict[str, Callable[[str], MachineSpec]]] = {
    make.__name__: make for make in (xeon_2s, gpu_server, laptop, apu_box, edge_ina, epyc, xeon_psys, arc_box, gpu_8)
}


def _intel_package(number: str, component: str, *, tdp_w: float, peak: bool = False) -> dict[str, Zone]:
    """Return a package zone with core and uncore inside it."""
    constraints = [
        Constraint(name="long_term", limit_w=tdp_w, max_power_w=tdp_w),
        Constraint(name="short_term", limit_w=1.2 * tdp_w, window_us=1952, max_power_w=0.0),
    ]
    if peak:
        constraints.append(Constraint(name="peak_power", limit_w=2.0 * tdp_w, window_us=976))
    none = (Constraint(name="long_term", limit_w=0.0),)
    return {
        number: Zone(name=f"package-{number}", measures=(component,), constraints=tuple(constraints)),
        f"{number}:0": Zone(name="core", measures=(component,), idle_share=0.25, dynamic_share=0.8, constraints=none),
        f"{number}:1": Zone(name="uncore", measures=(component,), idle_share=0.1, dynamic_share=0.05, constraints=none),
    }
