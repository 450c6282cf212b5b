"""The hwmon class: power sensors, caps of amdgpu's shape, rails of ina3221's shape.

https://docs.kernel.org/hwmon/sysfs-interface.html: ``powerN_*`` in microwatts, ``energyN_input`` in microjoules,
``inN_input`` in millivolts, ``currN_input`` in milliamperes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from evenwatt_twin.sysfile import LimitFile, NumberFile, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from evenwatt_twin.plant import Component, ComponentState, Plant
    from evenwatt_twin.sysfile import Admit


class PowerSensor(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``powerN_average`` or ``powerN_input``, with its cap."""

    measures: tuple[str, ...]
    attribute: Literal["average", "input"] = "average"
    label: str | None = None
    energy: bool = False
    """Show ``energyN_input`` too."""
    caps: str | None = None
    """The component that ``powerN_cap`` limits; no cap files without it."""


class Rail(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rail of an ina3221: a voltage that stays, a current that follows the power."""

    label: str
    measures: tuple[str, ...]
    millivolt: Annotated[int, Meta(gt=0)] = 5000


class Hwmon(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One hwmon device; its key in ``MachineSpec.hwmon`` is its folder's name, ``hwmonN``."""

    name: str
    device: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_:@.-]*(/[A-Za-z0-9_][A-Za-z0-9_:@.-]*)*$")]
    """Path of the device behind it, below ``devices``."""
    driver: Annotated[str, Meta(pattern=r"^[a-z0-9_]+/[a-z0-9_]+$")] | None = None
    """A bus and driver whose folder links to the device too, as ``i2c/ina3221``."""
    power: tuple[PowerSensor, ...] = ()
    rails: tuple[Rail, ...] = ()


class HwmonTree:
    """The files of one hwmon device."""

    def __init__(self, number: str, spec: Hwmon, sysfs: Path, plant: Plant) -> None:
        self._plant = plant
        self._order = list(plant.components)
        self._readings: list[_Reading] = []
        self._caps: list[tuple[int, LimitFile]] = []
        folder = sysfs / "devices" / spec.device / "hwmon" / number
        write_text(folder / "name", spec.name)
        (folder / "device").symlink_to("../..")
        _link(sysfs / "class" / "hwmon" / number, folder)
        if spec.driver is not None:
            bus, _, driver = spec.driver.partition("/")
            device = sysfs / "devices" / spec.device
            _link(sysfs / "bus" / bus / "drivers" / driver / device.name, device)
        for index, sensor in enumerate(spec.power, start=1):
            self._sensor(folder, index, sensor)
        for index, rail in enumerate(spec.rails, start=1):
            self._rail(folder, index, rail)

    def poll(self) -> bool:
        """Look at every cap; return whether one changed."""
        changed = False
        for _, file in self._caps:
            changed |= file.poll()
        return changed

    def poll_slowly(self) -> None:
        """Nothing here changes at a slower pace."""

    def lower_caps(self, caps_w: list[float | None]) -> None:
        """Lower ``caps_w``, in the order of the plant's components, to the caps in force."""
        for at, file in self._caps:
            before, cap_w = caps_w[at], file.value / 1e6
            caps_w[at] = cap_w if before is None else min(before, cap_w)

    def write(self) -> None:
        """Show power and energy as they are now."""
        for reading in self._readings:
            reading.write()

    def close(self) -> None:
        """Let go of every file."""
        for reading in self._readings:
            reading.close()
        for _, file in self._caps:
            file.close()

    def _sensor(self, folder: Path, index: int, sensor: PowerSensor) -> None:
        stem = f"power{index}_"
        states = [self._plant.components[name] for name in sensor.measures]
        self._readings.append(_Power(folder / f"{stem}{sensor.attribute}", states, 1e6))
        if sensor.energy:
            self._readings.append(_Energy(folder / f"energy{index}_input", states))
            if sensor.label is not None:
                write_text(folder / f"energy{index}_label", sensor.label)
        if sensor.label is not None:
            write_text(folder / f"{stem}label", sensor.label)
        if sensor.caps is not None:
            self._cap(folder, stem, self._order.index(sensor.caps))

    def _cap(self, folder: Path, stem: str, at: int) -> None:
        spec = self._plant.components[self._order[at]].spec
        low, high = _cap_range_uw(spec)
        write_text(folder / f"{stem}cap_min", str(low))
        write_text(folder / f"{stem}cap_max", str(high))
        write_text(folder / f"{stem}cap_default", str(high))
        self._caps.append((at, LimitFile(folder / f"{stem}cap", high, _amdgpu_admit(low, high))))

    def _rail(self, folder: Path, index: int, rail: Rail) -> None:
        write_text(folder / f"in{index}_label", rail.label)
        write_text(folder / f"in{index}_input", str(rail.millivolt))
        states = [self._plant.components[name] for name in rail.measures]
        self._readings.append(_Power(folder / f"curr{index}_input", states, 1e6 / rail.millivolt))


class _Power:
    """Power of some components, times a factor, as an integer."""

    __slots__ = ("_factor", "_file", "_states")

    def __init__(self, path: Path, states: list[ComponentState], factor: float) -> None:
        self._states = states
        self._factor = factor
        self._file = NumberFile(path, round(sum(state.power_w for state in states) * factor))

    def write(self) -> None:
        power_w = 0.0
        for state in self._states:
            power_w += state.power_w
        self._file.write(round(power_w * self._factor))

    def close(self) -> None:
        self._file.close()


class _Energy:
    """Microjoules of some components since the driver was loaded."""

    __slots__ = ("_file", "_states")

    def __init__(self, path: Path, states: list[ComponentState]) -> None:
        self._states = states
        self._file = NumberFile(path, 0)

    def write(self) -> None:
        energy_j = 0.0
        for state in self._states:
            energy_j += state.energy_j
        self._file.write(int(energy_j * 1e6))

    def close(self) -> None:
        self._file.close()


_Reading = _Power | _Energy


def _cap_range_uw(spec: Component) -> tuple[int, int]:
    """Return the lowest and the highest cap, both whole watts."""
    return int(spec.min_cap_w) * 1_000_000, int(spec.cap_ceiling_w) * 1_000_000


def _amdgpu_admit(low_uw: int, high_uw: int) -> Admit:
    """Cut to whole watts, as amdgpu does; outside its range it answers EINVAL and the last cap stays."""

    def admit(asked_uw: int, current_uw: int) -> int:
        return asked_uw // 1_000_000 * 1_000_000 if low_uw <= asked_uw <= high_uw else current_uw

    return admit


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(target, link.parent))
