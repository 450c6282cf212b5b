"""The power_supply class: a battery that feeds the machine, and the mains.

https://docs.kernel.org/power/power_supply_class.html: microwatts, microvolts, microamperes, microwatt hours. The
battery's numbers move once a second, as an embedded controller's do, and show the mean of that second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from evenwatt_twin.sysfile import NumberFile, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from evenwatt_twin.plant import Plant

_MICROVOLT = 11_400_000  # three lithium cells in series at their nominal 3.8 V


class PowerSupply(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``BAT0`` and ``AC``."""

    discharging: bool = True
    """Whether the battery feeds the machine; otherwise the mains do and the battery is full."""
    power_now: bool = True
    """Show ``power_now``; otherwise ``voltage_now`` and ``current_now``."""
    capacity_wh: Annotated[float, Meta(gt=0.0)] = 57.0
    update_s: Annotated[float, Meta(gt=0.0)] = 1.0


class PowerSupplyTree:
    """The files of one machine's battery and mains."""

    def __init__(self, spec: PowerSupply, sysfs: Path, plant: Plant) -> None:
        self._spec = spec
        self._plant = plant
        self._shown_s = 0.0
        self._shown_j = 0.0
        folder = sysfs / "devices" / "LNXSYSTM:00" / "PNP0C0A:00" / "power_supply" / "BAT0"
        self._battery_texts(folder)
        idle_uw = round(sum(state.power_w for state in plant.components.values()) * 1e6) if spec.discharging else 0
        if spec.power_now:
            self._now = NumberFile(folder / "power_now", idle_uw)
        else:
            write_text(folder / "voltage_now", str(_MICROVOLT))
            self._now = NumberFile(folder / "current_now", round(idle_uw * 1e6 / _MICROVOLT))
        self._full_uwh = round(spec.capacity_wh * 1e6)
        write_text(folder / "energy_full", str(self._full_uwh))
        self._left = NumberFile(folder / "energy_now", self._full_uwh)
        self._percent = NumberFile(folder / "capacity", 100)
        mains = sysfs / "devices" / "LNXSYSTM:00" / "ACPI0003:00" / "power_supply" / "AC"
        write_text(mains / "type", "Mains")
        write_text(mains / "online", "0" if spec.discharging else "1")
        classes = sysfs / "class" / "power_supply"
        classes.mkdir(parents=True)
        for target in (folder, mains):
            (classes / target.name).symlink_to(f"../../{target.relative_to(sysfs)}")

    def _battery_texts(self, folder: Path) -> None:
        write_text(folder / "type", "Battery")
        write_text(folder / "scope", "System")
        write_text(folder / "present", "1")
        write_text(folder / "status", "Discharging" if self._spec.discharging else "Full")

    def poll(self) -> bool:
        """Look for limits: a battery has none."""
        return False

    def poll_slowly(self) -> None:
        """Nothing is written here by others."""

    def lower_caps(self, caps_w: list[float | None]) -> None:
        """Leave the caps alone."""

    def write(self) -> None:
        """Show the mean power since the last update, once that is ``update_s`` ago."""
        passed_s = self._plant.elapsed_s - self._shown_s
        if passed_s < self._spec.update_s - 1e-9 or not self._spec.discharging:
            return
        energy_j = sum(state.energy_j for state in self._plant.components.values())
        mean_w = (energy_j - self._shown_j) / passed_s
        self._shown_s, self._shown_j = self._plant.elapsed_s, energy_j
        self._now.write(round(mean_w * 1e6 if self._spec.power_now else mean_w * 1e12 / _MICROVOLT))
        left_uwh = max(0, self._full_uwh - round(energy_j / 3600.0 * 1e6))
        self._left.write(left_uwh)
        self._percent.write(left_uwh * 100 // self._full_uwh)

    def close(self) -> None:
        """Let go of every file."""
        for file in (self._now, self._left, self._percent):
            file.close()
