"""Batteries through the kernel's power_supply class.

https://docs.kernel.org/power/power_supply_class.html: microwatts, microvolts, microamperes. Drivers disagree on the
sign of the current, so ``status`` gives the direction and the sign is dropped. Only a battery of the system itself is
a measurement: USB and UCSI entries are negotiated values, a mouse's battery (``scope`` Device) is not this machine.
A battery that charges measures the charger, so it reads as 0 W of consumption until it discharges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evenwatt_agent.sources.held import HeldNumber, answering, entries, read_text
from evenwatt_agent.sources.model import Found, Probe, Problem, Unit
from evenwatt_wire import Domain, Quality

if TYPE_CHECKING:
    from pathlib import Path

_MAX_POWER_W: Final = 1_000.0


def discover(sysfs: Path) -> Found:
    """Open every system battery that tells its power, or voltage and current."""
    found = Found()
    for entry in entries(sysfs / "class" / "power_supply"):
        if read_text(entry / "type") != "Battery" or read_text(entry / "scope") == "Device":
            continue
        try:
            battery = answering(_Battery(entry))
        except (OSError, ValueError) as error:
            fix = "the battery tells neither power_now nor voltage_now and current_now; it cannot be used"
            found.problems.append(Problem("power_supply", str(entry), str(error), fix))
            continue
        domain = Domain(id=f"battery/{entry.name}", kind="battery", source="power_supply", quality=Quality.INTEGRATED)
        found.probes.append(
            Probe(
                domain=domain,
                unit=Unit.POWER_UW,
                read=battery.read,
                reopen=battery.reopen,
                close=battery.close,
                slow=True,
                max_power_w=_MAX_POWER_W,
            )
        )
    return found


class _Battery:
    """Discharge power of one battery in microwatts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = self._open()

    def _open(self) -> list[HeldNumber]:
        if (self._folder / "power_now").exists():
            return [HeldNumber(self._folder / "power_now")]
        voltage = HeldNumber(self._folder / "voltage_now")
        try:
            return [voltage, HeldNumber(self._folder / "current_now")]
        except OSError:
            voltage.close()
            raise

    def read(self) -> int:
        values = [abs(number.read()) for number in self._numbers]
        if read_text(self._folder / "status") != "Discharging":
            return 0
        return values[0] if len(values) == 1 else values[0] * values[1] // 1_000_000

    def reopen(self) -> None:
        fresh = self._open()
        self.close()
        self._numbers = fresh

    def close(self) -> None:
        for number in self._numbers:
            number.close()
