"""What a node reads of its kernel: sysfs, procfs, cgroups. A container or a broken driver may serve anything."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from evenwatt_agent import cgroups
from evenwatt_agent.actuators import cpu_max, cpufreq, pause
from evenwatt_agent.actuators import hwmon as hwmon_knobs
from evenwatt_agent.actuators import powercap as powercap_knobs
from evenwatt_agent.actuators.model import LockedError
from evenwatt_agent.counters import EnergyCounter, PowerIntegrator
from evenwatt_agent.groups import owner_of
from evenwatt_agent.processes import parse_stat, read_busy_ns
from evenwatt_agent.sources import hwmon, ina, ipmi, perf, power_supply, powercap
from evenwatt_agent.sources.held import HeldNumber, read_int
from evenwatt_agent.sources.model import Found, ReadError
from evenwatt_wire import Quality, Topic, decode, encode
from tests.fuzz.parser import Parser, check, check_word
from tests.fuzz.parsers.scratch import folder, tree, write
from tests.wire.examples import BIRTH

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

import msgspec

BIRTH_TOPIC = Topic.parse("evenwatt/v1/hall-1/n1/birth")
NUMBERS = (b"0\n", b"262143328850\n", b"-1\n", b"18446744073709551615\n", b"1e6\n", b"")


@cache
def _held() -> tuple[Path, HeldNumber]:
    path = write("held/energy_uj", b"1\n")
    return path, HeldNumber(path)


def _number(data: bytes) -> None:
    path, held = _held()
    with open(path, "wb", buffering=0) as file:
        file.write(data)
    read_int(path)
    raw = held.read()
    counter, integrator = EnergyCounter(262_143_328_850, 500.0), PowerIntegrator(500.0, Quality.INTEGRATED)
    for one in (counter, integrator):
        one.update(1_000_000_000, 0)
        step = one.update(2_000_000_000, raw)
        if step is not None:
            check(0 <= step.energy_uj <= 750e6, f"a reading of {raw} became {step.energy_uj} uJ in a second at 500 W")


def _found(found: Found) -> None:
    """What was found can be said to a collector: its birth is a valid message."""
    domains = [probe.domain for probe in found.probes]
    for probe in found.probes:
        try:
            probe.read()
        except (OSError, ValueError):
            continue
        finally:
            probe.close()
    birth = msgspec.structs.replace(BIRTH, domains=domains)
    check(decode(BIRTH_TOPIC, encode(birth)) == birth, "its birth does not come back as it was")
    check(len({domain.id for domain in domains}) == len(domains), "two domains have one name")


def _one_of(root: Path, places: list[str], reading: Callable[[Path], object]) -> Callable[[bytes], None]:
    """Put the input into one file of a tree that is good otherwise; its first byte says which."""

    def target(data: bytes) -> None:
        path = root / places[data[0] % len(places)] if data else root / places[0]
        good, held = path.read_bytes(), len(os.listdir("/proc/self/fd"))
        try:
            path.write_bytes(data[1:])
            reading(root)
        finally:
            path.write_bytes(good)
        check(len(os.listdir("/proc/self/fd")) == held, "a file was left open")

    return target


_ZONE = "class/powercap/intel-rapl:0"
_POWERCAP = {
    f"{_ZONE}/name": "package-0\n",
    f"{_ZONE}/energy_uj": "12345678\n",
    f"{_ZONE}/max_energy_range_uj": "262143328850\n",
    f"{_ZONE}/enabled": "1\n",
    f"{_ZONE}/constraint_0_name": "long_term\n",
    f"{_ZONE}/constraint_0_power_limit_uw": "205000000\n",
    f"{_ZONE}/constraint_1_name": "short_term\n",
    f"{_ZONE}/constraint_1_power_limit_uw": "246000000\n",
    f"{_ZONE}/intel-rapl:0:0/name": "dram\n",
    f"{_ZONE}/intel-rapl:0:0/energy_uj": "345678\n",
    f"{_ZONE}/intel-rapl:0:0/max_energy_range_uj": "65712999613\n",
}


def _powercap(root: Path) -> None:
    _found(powercap.discover(root))
    for knob in powercap_knobs.discover(root, 0.4, {}):
        check(0 < knob.floor_w <= knob.ceiling_w, f"a knob from {knob.floor_w} to {knob.ceiling_w} W")


_HWMON = {
    "class/hwmon/hwmon0/name": "amdgpu\n",
    "class/hwmon/hwmon0/power1_average": "31000000\n",
    "class/hwmon/hwmon0/power1_label": "PPT\n",
    "class/hwmon/hwmon0/power1_cap": "200000000\n",
    "class/hwmon/hwmon0/power1_cap_min": "10000000\n",
    "class/hwmon/hwmon0/energy2_input": "12345\n",
    "class/hwmon/hwmon0/energy2_label": "pkg\n",
}
_INA = {
    "class/hwmon/hwmon1/name": "ina3221\n",
    "class/hwmon/hwmon1/in1_input": "19000\n",
    "class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "class/hwmon/hwmon1/curr1_input": "400\n",
}
_BATTERY = {
    "class/power_supply/BAT0/type": "Battery\n",
    "class/power_supply/BAT0/status": "Discharging\n",
    "class/power_supply/BAT0/power_now": "8000000\n",
    "class/power_supply/BAT0/voltage_now": "12000000\n",
    "class/power_supply/BAT0/current_now": "700000\n",
}


def _hwmon(root: Path) -> None:
    _found(hwmon.discover(root))
    for knob in hwmon_knobs.discover(root, ["amdgpu"], 0.4, {}):
        check(knob.floor_w > 0, f"a floor of {knob.floor_w} W")
        check(knob.ceiling_w < 1e9, f"a ceiling of {knob.ceiling_w} W")


_EVENTS = "bus/event_source/devices/power"
_PERF = {
    f"{_EVENTS}/type": "9\n",
    f"{_EVENTS}/cpumask": "0,28\n",
    f"{_EVENTS}/events/energy-pkg": "event=0x02\n",
    f"{_EVENTS}/events/energy-pkg.scale": "2.3283064365386962890625e-10\n",
    f"{_EVENTS}/events/energy-pkg.unit": "Joules\n",
    f"{_EVENTS}/events/energy-ram": "event=0x03\n",
    f"{_EVENTS}/events/energy-ram.scale": "2.3283064365386962890625e-10\n",
    f"{_EVENTS}/events/energy-ram.unit": "Joules\n",
    "devices/system/cpu/cpu0/topology/physical_package_id": "0\n",
    "devices/system/cpu/cpu28/topology/physical_package_id": "1\n",
    "devices/system/cpu/online": "0-55\n",
    "devices/system/cpu/cpufreq/policy0/cpuinfo_min_freq": "800000\n",
    "devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "3200000\n",
    "devices/system/cpu/cpufreq/policy0/scaling_max_freq": "3200000\n",
    "devices/system/cpu/cpufreq/policy0/related_cpus": "0 1 2 3\n",
    "devices/system/cpu/cpufreq/policy0/affected_cpus": "0-3\n",
}


def _processors(root: Path) -> None:
    for event in perf.find_events(root):
        check_word(event.domain, "domain")
        check(0 <= event.config < 2**64, f"an event {event.config}, which no kernel has")
        check(0 <= event.type < 2**32, f"a type {event.type}, which no kernel has")
        check(event.uj_per_count[0] > 0, "an event that counts nothing")
    for policy in cpufreq.find_policies(root, {}):
        check(policy.cpus >= 1, "a policy of no processor")
        check(0 < policy.low_khz < policy.high_khz, f"a policy from {policy.low_khz} to {policy.high_khz} kHz")
    check(cpu_max.processors(root) >= 1, "a machine of no processor")


def _stat(data: bytes) -> None:
    process = parse_stat(7, data)
    if process is not None:
        check(process.pid == 7, "another process than was read")
        check(process.own_ns >= 0 and process.waited_ns >= 0, f"processor time of {process.own_ns} ns")


def _busy(data: bytes) -> None:
    path = write("proc/stat", data)
    check(read_busy_ns(path.parent) >= 0, "the processors were busy for less than no time")


def _cgroup_files(root: Path) -> None:
    check((cgroups.read_usage_ns(root) or 0) >= 0, "a cgroup used less than no time")
    check(0 <= cgroups.reserved_share(root, 8) <= 1, "a share of more than all")
    cgroups.is_populated(root)
    cgroups.processes_in(root)
    found = cpu_max.read_quota(root / "cpu.max")
    check(found is None or found[1] > 0, f"a quota of {found}")


_CGROUP = {
    "cpu.stat": "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\n",
    "cpu.max": "200000 100000\n",
    "cgroup.events": "populated 1\nfrozen 0\n",
    "cgroup.procs": "100\n200\n",
}


def _where(data: bytes) -> None:
    proc = write("procs/7/cgroup", data).parent.parent
    path, _ = cgroups.path_of(proc, 7)
    owner = owner_of(path)
    if owner is not None:
        check(len(owner.name) <= 120, f"a name of {len(owner.name)} characters")
        check_word(owner.name, "owner")
    write("procs/self/mounts", data)
    cgroups.find_root(proc)


def _pidfile(data: bytes) -> None:
    found = pause.StoppedProcess("batch", write("pid", data))._pid()
    check(found > 1, f"process {found} may be stopped")


def _ipmi(data: bytes) -> None:
    watts = ipmi.parse(data.decode(errors="replace"))
    check(0 <= watts < 1e6, f"a machine of {watts} W")


_SAID = b"""
    Instantaneous power reading:                   312 Watts
    Minimum during sampling period:                 21 Watts
    IPMI timestamp:                           Thu Nov 27 11:02:13 2026    Sampling period: 00000001 Seconds.
    Power reading state is:                   activated
"""


def _seeds(files: dict[str, str]) -> tuple[bytes, ...]:
    return tuple(bytes((i,)) + text.encode() for i, text in enumerate(files.values()))


def _tree_parser(
    name: str, files: dict[str, str], reading: Callable[[Path], object], covers: tuple[str, ...]
) -> Parser:
    def target(data: bytes) -> None:
        _made(name, tuple(files.items()), reading)(data)

    return Parser(name, covers, target, (), _seeds(files), "text", (b"0-3", b",", b"0-99999999", b"max"), slow=True)


@cache
def _made(name: str, files: tuple[tuple[str, str], ...], reading: Callable[[Path], object]) -> Callable[[bytes], None]:
    return _one_of(tree(name, dict(files)), [path for path, _ in files], reading)


PARSERS = [
    Parser("sysfs-number", ("evenwatt_agent.sources.held", "evenwatt_agent.counters"), _number, (ValueError,), NUMBERS),
    _tree_parser(
        "sysfs-powercap", _POWERCAP, _powercap, ("evenwatt_agent.sources.powercap", "evenwatt_agent.actuators.powercap")
    ),
    _tree_parser("sysfs-hwmon", _HWMON, _hwmon, ("evenwatt_agent.sources.hwmon", "evenwatt_agent.actuators.hwmon")),
    _tree_parser("sysfs-ina", _INA, lambda root: _found(ina.discover(root)), ("evenwatt_agent.sources.ina",)),
    _tree_parser(
        "sysfs-battery",
        _BATTERY,
        lambda root: _found(power_supply.discover(root)),
        ("evenwatt_agent.sources.power_supply",),
    ),
    _tree_parser(
        "sysfs-processors",
        _PERF,
        _processors,
        ("evenwatt_agent.sources.perf", "evenwatt_agent.actuators.cpufreq", "evenwatt_agent.actuators.cpu_max"),
    ),
    _tree_parser(
        "cgroup-files", _CGROUP, _cgroup_files, ("evenwatt_agent.cgroups", "evenwatt_agent.actuators.cpu_max")
    ),
    Parser(
        "proc-stat",
        ("evenwatt_agent.processes",),
        _stat,
        (),
        (
            b"7 (a b) c) S 1 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 99 1 2 3 4",
            b"7 (kworker/0:1) I 2 0 0 0 -1 69238880 0 0 0 0 0 12 0 0 20 0 1 0 33 0 0",
        ),
    ),
    Parser(
        "proc-busy",
        ("evenwatt_agent.processes",),
        _busy,
        (ValueError,),
        (b"cpu  100 2 30 4000 5 6 7 8 9 10\ncpu0 1 2 3\n",),
        "text",
    ),
    Parser(
        "proc-cgroup",
        ("evenwatt_agent.cgroups", "evenwatt_agent.groups"),
        _where,
        (),
        (
            b"0::/system.slice/nginx.service\n",
            b"0::/system.slice/docker-" + b"ab" * 32 + b".scope\n",
            b"12:cpu,cpuacct:/x\n1:name=systemd:/user.slice/user-1000.slice\n0::/\n",
            b"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod01234567_89ab.slice\n",
            b"0::/machine.slice/machine-qemu\\x2d1\\x2dvm.scope\n",
            b"0::/system.slice/slurmstepd.scope/job_7/step_0\n",
            b"cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n",
        ),
        "text",
        (b"\\x0a", b"\\x2d", b"/..", b"evenwatt-task-"),
    ),
    Parser("pidfile", ("evenwatt_agent.actuators.pause",), _pidfile, (LockedError,), (b"1234\n",), "text"),
    Parser("ipmi-answer", ("evenwatt_agent.sources.ipmi",), _ipmi, (ReadError,), (_SAID,), "text"),
]
folder  # noqa: B018  (made on first use, so that listing the parsers makes no files)
