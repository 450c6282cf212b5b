"""What this node has: every source and actuator found, and the one sum that is its power."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evenwatt_agent.actuators.pause import FrozenCgroup, StoppedProcess
from evenwatt_agent.governor import Governor
from evenwatt_agent.gpu_use import GpuWatch
from evenwatt_agent.hierarchy import choose_total, worst
from evenwatt_agent.limits import LocalLimits
from evenwatt_agent.settings import read_limits
from evenwatt_agent.sources import (
    Found,
    Probe,
    Problem,
    ReadError,
    estimate,
    hwmon,
    ina,
    nvml,
    perf,
    power_supply,
    powercap,
)
from evenwatt_agent.sources.held import open_file
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evenwatt_agent.actuators import Knob
    from evenwatt_agent.actuators.pause import Pausable
    from evenwatt_agent.settings import AgentSettings
    from evenwatt_wire import Domain, Quality


_IN_SYSFS: Final = frozenset({"powercap", "perf", "hwmon", "ina", "power_supply"})
"""Sources that are looked at again."""


@dataclass(slots=True)
class Inventory:
    """Everything found on a node. It grows when devices appear and never shrinks: what is gone is lost."""

    probes: list[Probe]
    domains: list[Domain]
    formula: str
    problems: list[Problem]
    governor: Governor
    library: nvml.Nvml | None
    outgrown: bool = False
    """The total is a mere estimate, and something that measures has come since."""

    @property
    def quality(self) -> Quality:
        """Least certain quality among the terms of the total."""
        return worst([domain.quality for domain in self.domains if domain.in_total])

    def gpu_watch(self) -> GpuWatch | None:
        """Return what tells who uses the NVIDIA boards, also those that answer later; None without their driver."""
        return None if self.library is None else GpuWatch(self.library, self.library.names())

    def take_in(self, found: Found, integrated_gpus: frozenset[str] = frozenset()) -> list[Probe]:
        """Add what has appeared, and say of sysfs what is wrong now.

        Where it would take the place of what is counted already (a package after an estimate), it is shown and not
        counted, since a total must not change its meaning while it runs; a problem says that a restart would.

        Returns:
            The new probes, whose domains are the last ones of ``domains``.
        """
        self.problems = [p for p in self.problems if p.source not in _IN_SYSFS] + found.problems
        if not found.probes:
            return []
        self.probes = [*self.probes, *found.probes]
        domains, formula = choose_total(self.probes, integrated_gpus)
        before = {domain.id: domain.in_total for domain in self.domains}
        if all(before.get(domain.id, domain.in_total) == domain.in_total for domain in domains):
            self.domains, self.formula = domains, formula
            return found.probes
        self.domains = [*self.domains, *(probe.domain for probe in found.probes)]
        self.outgrown = self.outgrown or self.formula == "estimate"
        names = ", ".join(probe.domain.id for probe in found.probes)
        self.problems.append(
            Problem("hot-plug", names, f"would be counted in place of {self.formula}", "restart the agent to count it")
        )
        return found.probes

    def close(self) -> None:
        """Let go of every file and library."""
        for probe in self.probes:
            probe.close()
        if self.library is not None:
            self.library.close()


def take_inventory(
    settings: AgentSettings, opener: Callable[[Path], int] = open_file, *, steer: bool = True, ask: bool = True
) -> Inventory:
    """Discover what this machine has.

    Args:
        settings: The agent's.
        opener: Opens energy counters.
        steer: Whether this process is to hold limits; otherwise no knob is looked for.
        ask: Whether this process asks management controllers; otherwise it is only known that there is one.

    Raises:
        Failure: limits saved by an earlier run cannot be read, or a pausable target is not there.
    """
    sysfs = Path(settings.sources.sysfs)
    found, library = _sources(sysfs, opener)
    found.add(_whole_machine(settings, ask=ask))
    domains, formula = choose_total(found.probes, frozenset(settings.sources.integrated_gpus))
    if not any(domain.in_total for domain in domains):
        found.add(_estimate(settings))
        domains, formula = choose_total(found.probes)
    knobs, lag_s = _knobs(settings, domains, library) if steer and settings.control.enabled else ([], 0.0)
    listed = settings.control.pausable if steer else []
    pausables = {item.name: _pausable(item.name, item.cgroup, item.pidfile) for item in listed}
    terms = {domain.id for domain in domains if domain.in_total}
    reserve_share = 0.0 if terms <= {knob.domain for knob in knobs} else settings.control.reserve_share
    limits = read_limits(settings.control) if steer else LocalLimits()
    try:
        governor = Governor(knobs, pausables, reserve_share, settings.state_path, lag_s, limits)
    except ValueError as error:
        raise Failure(f"{error}; check the limits by hand, then remove the file") from None
    return Inventory(found.probes, domains, formula, found.problems, governor, library)


def look_again(sysfs: Path, known: Inventory, opener: Callable[[Path], int] = open_file) -> Found:
    """Return what can be read now and could not when ``known`` was taken, and what is wrong in sysfs now.

    It blocks for milliseconds.
    """
    found = _in_sysfs(sysfs, opener)
    fresh = Found(problems=list(found.problems))
    if known.library is not None:
        with suppress(ReadError):  # the boards that are known say so themselves
            found.add(nvml.discover(known.library))
    ids = {domain.id for domain in known.domains}
    for probe in found.probes:
        if probe.domain.id in ids or (probe.silicon and probe.silicon in ids):
            probe.close()
        else:
            fresh.probes.append(probe)
    return fresh


def _in_sysfs(sysfs: Path, opener: Callable[[Path], int]) -> Found:
    found = powercap.discover(sysfs, opener)
    found.add(perf.discover(sysfs, served={probe.silicon for probe in found.probes}))
    found.add(hwmon.discover(sysfs))
    found.add(ina.discover(sysfs))
    found.add(power_supply.discover(sysfs))
    return found


def _sources(sysfs: Path, opener: Callable[[Path], int]) -> tuple[Found, nvml.Nvml | None]:
    found = _in_sysfs(sysfs, opener)
    library = None
    try:
        library = nvml.open_library()
        if library is not None:
            found.add(nvml.discover(library))
    except ReadError as error:
        fix = "driver and library must be of one version and /dev/nvidia* open to this user; see `nvidia-smi`"
        found.problems.append(Problem("nvml", "libnvidia-ml.so.1", str(error), fix))
    return found, library


def _whole_machine(settings: AgentSettings, *, ask: bool) -> Found:
    """Meters of management controllers, whose modules are loaded only where there is one."""
    meter, found = settings.sources.meter, Found()
    if not ask:
        from evenwatt_agent.sources import bmc  # noqa: PLC0415

        return Found([bmc.unasked("bmc", "redfish")]) if meter.redfish_url is not None else found
    if meter.redfish_url is not None:
        from evenwatt_agent.sources import redfish  # noqa: PLC0415

        found.add(redfish.discover(meter))
    if meter.ipmi and any(Path("/dev").glob("ipmi*")):
        from evenwatt_agent.sources import ipmi  # noqa: PLC0415

        found.add(ipmi.discover(meter))
    return found


def _estimate(settings: AgentSettings) -> Found:
    import psutil  # noqa: PLC0415  (2 MB that a machine with counters does without)

    processors = os.cpu_count() or 1
    idle_w = settings.sources.idle_w
    max_w = settings.sources.max_w
    return estimate.discover(
        estimate.IDLE_W_PER_CPU * processors if idle_w is None else idle_w,
        estimate.MAX_W_PER_CPU * processors if max_w is None else max_w,
        lambda: psutil.cpu_percent(interval=None) / 100.0,
    )


def _knobs(settings: AgentSettings, domains: Sequence[Domain], library: nvml.Nvml | None) -> tuple[list[Knob], float]:
    """Return what limits power and how old the node's power may be; its modules are loaded where control is on."""
    from evenwatt_agent.arsenal import find_knobs, lag_of  # noqa: PLC0415

    lag_s = max((lag_of(settings, domain) for domain in domains if domain.in_total), default=0.0)
    return find_knobs(settings, domains, library), lag_s


def _pausable(name: str, cgroup: str | None, pidfile: str | None) -> Pausable:
    if cgroup is not None:
        folder = Path(cgroup)
        if not (folder / "cgroup.freeze").exists():
            raise Failure(f"control.pausable {name!r}: {folder} is not a cgroup v2 folder that can be frozen")
        return FrozenCgroup(name, folder)
    return StoppedProcess(name, Path(pidfile or ""))
