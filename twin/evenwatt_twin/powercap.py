"""The powercap class: RAPL zones with their energy counters and limits.

https://docs.kernel.org/power/powercap/powercap.html. Zones are real folders that nest,
``devices/virtual/powercap/intel-rapl/intel-rapl:0/intel-rapl:0:0``, with a flat symlink to each in ``class/powercap``.

Counters show energy since an arbitrary start, in whole units, and wrap. The limit that a component obeys is the lowest
of the enabled constraints of its zones. Time windows are rounded and read back, but not simulated: a limit acts
``cap_delay_s`` after it is written, as on a device with its shortest window.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from evenwatt_twin import rapl
from evenwatt_twin.sysfile import LimitFile, NumberFile, keep, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from evenwatt_twin.plant import Plant
    from evenwatt_twin.sysfile import Admit

Identifier = Annotated[str, Meta(pattern=r"^\d+(:\d+)*$")]


class Constraint(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One limit of a zone."""

    name: str
    """``long_term``, ``short_term`` or ``peak_power``."""
    limit_w: Annotated[float, Meta(ge=0.0, le=4095.0)]
    window_us: Annotated[int, Meta(ge=0)] = 999_424
    max_power_w: Annotated[float, Meta(ge=0.0)] = 0.0
    """What ``constraint_N_max_power_uw`` claims; on hardware it is often 0 or below the limit in force."""


class Zone(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One zone; its number in the tree is its key in ``Powercap.zones``."""

    name: str
    measures: tuple[str, ...]
    """Components whose energy it counts."""
    idle_share: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0
    """Share of their idle power that belongs to this zone; below 1 for core and uncore."""
    dynamic_share: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0
    """Share of their power above idle."""
    unit_nj: Annotated[int, Meta(gt=0)] = rapl.UNIT_61UJ
    start_uj: Annotated[int, Meta(ge=0)] | None = None
    """First value of the counter; drawn from the machine's id and the zone's number by default."""
    constraints: tuple[Constraint, ...] = ()
    enabled: bool | None = None
    """Whether limits are in force at the start; by default where there is a limit above 0."""
    locked: bool = False
    """The firmware locked it: what is written is silently restored."""
    obey: bool = True
    """Whether the device keeps to what it accepts and reads back."""
    raises_to_w: Annotated[float, Meta(ge=0.0, le=4095.0)] = 0.0
    """The firmware raises lower limits to this, and reads back what it has made of them."""


class Powercap(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A machine's powercap tree."""

    zones: dict[Identifier, Zone]
    mmio: bool = False
    """Show every outermost package a second time as ``intel-rapl-mmio``: same silicon, same joules, own limits."""

    def __post_init__(self) -> None:
        for number in self.zones:
            outer = number.rpartition(":")[0]
            if outer and outer not in self.zones:
                raise ValueError(f"zone {number} has no zone {outer} around it")


class PowercapTree:
    """The files of one machine's powercap class."""

    def __init__(self, spec: Powercap, sysfs: Path, plant: Plant, seed: str) -> None:
        self._counters: list[_Counter] = []
        self._limits: list[_ZoneLimits] = []
        self._windows: list[LimitFile] = []
        self._dormant: list[LimitFile] = []
        self._sysfs = sysfs
        self._plant = plant
        self._order = list(plant.components)
        self._control("intel-rapl")
        for number, zone in sorted(spec.zones.items()):
            self._zone("intel-rapl", number, zone, f"{seed}/{number}")
        if spec.mmio:
            self._control("intel-rapl-mmio")
            packages = [(n, z) for n, z in spec.zones.items() if z.name.startswith("package") and ":" not in n]
            for number, zone in packages:
                self._zone("intel-rapl-mmio", number, zone, f"{seed}/{number}")

    def poll(self) -> bool:
        """Look at every limit; return whether one that is in force changed."""
        changed = False
        for limits in self._limits:
            changed |= limits.poll()
        return changed

    def poll_slowly(self) -> None:
        """Round what was written to files that change no power."""
        for file in self._windows:
            file.poll()
        for file in self._dormant:
            file.poll()

    def lower_caps(self, caps_w: list[float | None]) -> None:
        """Lower ``caps_w``, in the order of the plant's components, to the limits in force."""
        for limits in self._limits:
            cap_w = limits.cap_w
            if cap_w is not None:
                before = caps_w[limits.target]
                caps_w[limits.target] = cap_w if before is None else min(before, cap_w)

    def write(self) -> None:
        """Show the plant's energy."""
        elapsed_s = self._plant.elapsed_s
        for counter in self._counters:
            counter.write(elapsed_s)

    def close(self) -> None:
        """Let go of every file."""
        for counter in self._counters:
            counter.close()
        for limits in self._limits:
            limits.close()
        for file in (*self._windows, *self._dormant):
            file.close()

    def _control(self, control: str) -> None:
        folder = self._sysfs / "devices" / "virtual" / "powercap" / control
        write_text(folder / "enabled", "1", 0o644)
        self._link(control, f"../../devices/virtual/powercap/{control}")

    def _link(self, name: str, target: str) -> None:
        link = self._sysfs / "class" / "powercap" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)

    def _zone(self, control: str, number: str, zone: Zone, seed: str) -> None:
        parts = number.split(":")
        nested = [f"{control}:{':'.join(parts[: depth + 1])}" for depth in range(len(parts))]
        below = f"devices/virtual/powercap/{control}/{'/'.join(nested)}"
        folder = self._sysfs / below
        write_text(folder / "name", zone.name)
        write_text(folder / "max_energy_range_uj", str(rapl.range_uj(zone.unit_nj)))
        self._counters.append(_Counter(folder / "energy_uj", zone, self._plant, seed))
        self._limit_files(folder, zone)
        self._link(nested[-1], f"../../{below}")

    def _limit_files(self, folder: Path, zone: Zone) -> None:
        admit = keep if zone.locked else _raising(round(zone.raises_to_w * 1e6))
        files = []
        for index, constraint in enumerate(zone.constraints):
            stem = f"constraint_{index}_"
            write_text(folder / f"{stem}name", constraint.name)
            write_text(folder / f"{stem}max_power_uw", str(round(constraint.max_power_w * 1e6)))
            limit_uw = rapl.admit_limit(round(constraint.limit_w * 1e6), 0)
            files.append(LimitFile(folder / f"{stem}power_limit_uw", limit_uw, admit))
            window = rapl.admit_window(constraint.window_us, 0)
            self._windows.append(LimitFile(folder / f"{stem}time_window_us", window, rapl.admit_window))
        # A part of a component (core) or several of them (psys) have registers here, but nothing that they regulate.
        whole = zone.idle_share == zone.dynamic_share == 1.0 and len(zone.measures) == 1
        enabled = any(c.limit_w > 0.0 for c in zone.constraints) if zone.enabled is None else zone.enabled
        switch = LimitFile(folder / "enabled", int(enabled), keep if zone.locked else rapl.admit_switch)
        if files and whole and zone.obey:
            self._limits.append(_ZoneLimits(files, switch, self._order.index(zone.measures[0])))
        else:
            self._dormant += [*files, switch]


def _raising(least_uw: int) -> Admit:
    return lambda asked_uw, current_uw: rapl.admit_limit(max(least_uw, asked_uw), current_uw)


class _ZoneLimits:
    """The limits of one zone that a device obeys."""

    __slots__ = ("_files", "_polls", "_switch", "cap_w", "target")

    def __init__(self, files: list[LimitFile], switch: LimitFile, target: int) -> None:
        self._files = files
        self._switch = switch
        self._polls = [file.poll for file in (*files, switch)]
        self.target = target
        self.cap_w: float | None = self._lowest_w()

    def poll(self) -> bool:
        changed = False
        for poll in self._polls:
            if poll():
                changed = True
        if changed:
            self.cap_w = self._lowest_w()
        return changed

    def _lowest_w(self) -> float | None:
        return min(file.value for file in self._files) / 1e6 if self._switch.value else None

    def close(self) -> None:
        for file in (*self._files, self._switch):
            file.close()


class _Counter:
    """One ``energy_uj``, readable by its owner only, as in kernels since CVE-2020-8694."""

    __slots__ = ("_dynamic", "_file", "_raw", "_start", "_states", "_static_w", "_unit_nj", "_units_per_j")

    def __init__(self, path: Path, zone: Zone, plant: Plant, seed: str) -> None:
        self._states = [plant.components[name] for name in zone.measures]
        self._dynamic = zone.dynamic_share
        self._static_w = (zone.idle_share - zone.dynamic_share) * sum(state.spec.idle_w for state in self._states)
        self._unit_nj = zone.unit_nj
        self._units_per_j = 1e9 / zone.unit_nj
        first = zone.start_uj * 1000 // zone.unit_nj if zone.start_uj is not None else zlib.crc32(seed.encode())
        self._start = first & rapl.COUNTER_MASK
        self._raw = self._start
        self._file = NumberFile(path, rapl.counter_uj(self._start, zone.unit_nj), 0o400)

    def write(self, elapsed_s: float) -> None:
        energy_j = 0.0
        for state in self._states:
            energy_j += state.energy_j
        energy_j = energy_j * self._dynamic + self._static_w * elapsed_s
        raw = (self._start + int(energy_j * self._units_per_j)) & rapl.COUNTER_MASK
        if raw != self._raw:
            self._raw = raw
            self._file.write(raw * self._unit_nj // 1000)

    def close(self) -> None:
        self._file.close()
