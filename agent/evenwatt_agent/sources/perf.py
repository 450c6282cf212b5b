"""Energy counters of the kernel's ``power`` events, for machines whose powercap tree is denied or masked.

``arch/x86/events/rapl.c``: ``<sysfs>/bus/event_source/devices/power`` names the events, one processor of every
package (or die) that reads them (``cpumask``), and the scale, 2^-32 J. The kernel accumulates them in 64 bits, so they
never wrap; opening one needs CAP_PERFMON (``perf_event_open(2)``) and no right on ``energy_uj``, and container runtimes
mask ``powercap`` but not these. What such an event counts begins when it is opened and ends with its descriptor, while
powercap's counter goes on while no agent runs: so where powercap can be read, it is read.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_agent.sources.held import answering, parse_cpus, read_int, read_text
from evenwatt_agent.sources.model import Found, Probe, Problem, ReadError, Unit
from evenwatt_agent.sources.powercap import MAX_POWER_W
from evenwatt_wire import Domain, Quality

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

_PARTS: Final = {
    "energy-pkg": ("package", ""),
    "energy-cores": ("core", "/core"),
    "energy-gpu": ("uncore", "/uncore"),
    "energy-ram": ("dram", "/dram"),
    "energy-psys": ("psys", ""),
}
# Numbers of perf_event_open(2): arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
_SYSCALL: Final = {"x86_64": 298, "aarch64": 241}
_FLAG_FD_CLOEXEC: Final = 8
_ATTRIBUTES: Final = struct.Struct("=IIQQQQQ")
"""The first 48 of ``struct perf_event_attr``'s 64 oldest bytes: type, size, config, period, sample type, read format,
flags."""
_ATTRIBUTES_SIZE: Final = 64

DENIED_FIX: Final = (
    "give the agent CAP_PERFMON (its systemd unit may: AmbientCapabilities=CAP_PERFMON), or CAP_DAC_READ_SEARCH for "
    "powercap's counters; do not lower kernel.perf_event_paranoid for everybody"
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one package or die."""

    name: str
    domain: str
    kind: str
    parent: str | None
    type: int
    config: int
    cpu: int
    uj_per_count: tuple[int, int]
    """Microjoules of one count, as an exact fraction."""


class HeldEvent:
    """A counter that began when it was opened."""

    def __init__(self, event: Event) -> None:
        self._event = event
        self._fd = _open(event)

    def read(self) -> int:
        """Return microjoules since the event was opened.

        Raises:
            OSError: the processor that reads it is gone, or the event is.
        """
        raw = os.read(self._fd, 8)
        if len(raw) < 8:  # one u64; nothing at all when the event is in its error state
            raise ReadError(f"event {self._event.name} of cpu {self._event.cpu} no longer counts")
        numerator, denominator = self._event.uj_per_count
        return int.from_bytes(raw, "little") * numerator // denominator

    def reopen(self) -> None:
        """Begin a new count under the old descriptor's number; the counter layer sees it go back and says so."""
        fresh = _open(self._event)
        os.dup2(fresh, self._fd, inheritable=False)
        os.close(fresh)

    def close(self) -> None:
        """Let go of the event."""
        os.close(self._fd)


def discover(sysfs: Path, served: Container[str] = ()) -> Found:
    """Open the events of every domain that is not ``served`` by another source already.

    Returns:
        Probes in microjoules that do not wrap, named as powercap names the same silicon; at most one problem.
    """
    found = Found()
    for event in find_events(sysfs):
        if event.domain in served:
            continue
        try:
            counter = answering(HeldEvent(event))
        except OSError as error:
            if not found.problems:
                found.problems.append(_problem(sysfs, error))
            continue
        found.probes.append(_probe(event, counter))
    return found


def find_events(sysfs: Path) -> list[Event]:
    """Return what ``<sysfs>/bus/event_source/devices/power`` offers and is understood here."""
    folder = sysfs / "bus" / "event_source" / "devices" / "power"
    kind = read_int(folder / "type")
    cpus = parse_cpus(read_text(folder / "cpumask") or "")
    if kind is None or not 0 <= kind < 2**32:
        return []
    places = _places(sysfs, cpus)
    events = []
    for name, (part, suffix) in _PARTS.items():
        config = re.fullmatch(r"event=0x([0-9a-fA-F]{1,16})", read_text(folder / "events" / name) or "")
        scale = _scale(read_text(folder / "events" / f"{name}.scale"), read_text(folder / "events" / f"{name}.unit"))
        if config is None or scale is None:
            continue
        for cpu, package in places.items():
            domain = _platform(package, len(places)) if part == "psys" else package + suffix
            parent = package if suffix else None
            events.append(Event(name, domain, part, parent, kind, int(config[1], 16), cpu, scale))
    return events


def _places(sysfs: Path, cpus: list[int]) -> dict[int, str]:
    """Return the domain each reading processor stands for: its package, or its die where several share a package."""
    topology = {cpu: sysfs / "devices" / "system" / "cpu" / f"cpu{cpu}" / "topology" for cpu in cpus}
    package = {cpu: read_int(folder / "physical_package_id") or 0 for cpu, folder in topology.items()}
    named = {}
    for cpu, number in package.items():
        shared = list(package.values()).count(number) > 1
        named[cpu] = f"package-{number}" + (f"-die-{read_int(topology[cpu] / 'die_id') or 0}" if shared else "")
    return named


def _platform(package: str, places: int) -> str:
    return "psys" if places == 1 else package.replace("package", "psys")


def _scale(scale: str | None, unit: str | None) -> tuple[int, int] | None:
    """Return the scale in microjoules; the kernel's 2^-32 is exact as a float."""
    try:
        joules = float(scale or "")
    except ValueError:
        return None
    if unit != "Joules" or not 0 < joules < 1:
        return None
    numerator, denominator = joules.as_integer_ratio()
    return numerator * 1_000_000, denominator


def _open(event: Event) -> int:
    number = _SYSCALL.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"the number of perf_event_open on {os.uname().machine} is not known here")
    attributes = _ATTRIBUTES.pack(event.type, _ATTRIBUTES_SIZE, event.config, 0, 0, 0, 0)
    buffer = ctypes.create_string_buffer(attributes, _ATTRIBUTES_SIZE)
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    every_process, no_group, flags = ctypes.c_int(-1), ctypes.c_int(-1), ctypes.c_ulong(_FLAG_FD_CLOEXEC)
    fd: int = call(ctypes.c_long(number), buffer, every_process, ctypes.c_int(event.cpu), no_group, flags)
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd


def _problem(sysfs: Path, error: OSError) -> Problem:
    path = str(sysfs / "bus" / "event_source" / "devices" / "power")
    denied = error.errno in {errno.EACCES, errno.EPERM}
    fix = DENIED_FIX if denied else "the kernel does not serve these events here; nothing to mend in evenwatt"
    return Problem("perf", path, error.strerror or str(error), fix)


def _probe(event: Event, counter: HeldEvent) -> Probe:
    domain = Domain(
        id=event.domain,
        kind=event.kind,
        source="perf",
        quality=Quality.MEASURED,
        parent=event.parent,
        resolution_j=61e-6,  # the register's; the event's own scale is finer
    )
    return Probe(
        domain=domain,
        unit=Unit.ENERGY_UJ,
        read=counter.read,
        reopen=counter.reopen,
        close=counter.close,
        max_power_w=MAX_POWER_W[event.kind],
        silicon=event.domain,
        lasting=False,
    )
