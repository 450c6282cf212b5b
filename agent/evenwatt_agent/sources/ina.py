"""Rails of current monitors on small boards: INA3221 and INA238 of Jetson modules, and any chip that shows the same.

https://docs.kernel.org/hwmon/ina3221.html and ina238: ``inN_input`` in millivolts, ``currN_input`` in milliamperes,
``inN_label``. Matched by capability and not by chip: a rail is an ``inN`` that has a ``currN`` of the same number and a
label. On the INA3221 ``in4`` to ``in6`` are shunt voltages in microvolts and ``in7`` is their sum: they have no current
of their own and so are no rails. A chip that gives ``power1_input`` itself is read by ``hwmon``.

``VDD_IN`` is the module's whole input (NVIDIA Jetson Linux Developer Guide, "Power monitoring"): it contains the other
rails of its chip and is the total; without it the rails are separate supplies and add up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from evenwatt_agent.sources.held import HeldNumber, answering, read_int, read_text
from evenwatt_agent.sources.hwmon import device_ids
from evenwatt_agent.sources.model import Found, Probe, Problem, Unit, plain_id
from evenwatt_wire import Domain, Quality

if TYPE_CHECKING:
    from pathlib import Path

_CURRENT = re.compile(r"curr(?P<index>\d+)_input")
_TOTALS: Final = frozenset({"VDD_IN", "POM_5V_IN"})
"""Whole input of Orin and Xavier NX modules, and of the Nano before them."""
_NO_RAIL: Final = frozenset({"", "NC", "sum of shunt voltages"})
_MAX_POWER_W: Final = 500.0
_FIX: Final = "the sensor does not answer; check the driver's messages with dmesg"


class Rail:
    """Power of one rail in microwatts: millivolts times milliamperes, through two held descriptors."""

    def __init__(self, folder: Path, index: str) -> None:
        self._voltage = HeldNumber(folder / f"in{index}_input")
        try:
            self._current = HeldNumber(folder / f"curr{index}_input")
        except OSError:
            self._voltage.close()
            raise

    def read(self) -> int:
        """Return the power; a current that flows backwards (regulators at rest show a few milliamperes) counts as 0."""
        return self._voltage.read() * max(0, self._current.read())

    def reopen(self) -> None:
        """Open both files again."""
        self._voltage.reopen()
        self._current.reopen()

    def close(self) -> None:
        """Let go of both files."""
        self._voltage.close()
        self._current.close()


def discover(sysfs: Path) -> Found:
    """Open every rail of every chip that shows voltage and current but no power."""
    found = Found()
    for folder, _, identity in device_ids(sysfs):
        if (folder / "power1_input").exists() or (folder / "power1_average").exists():
            continue
        rails = _rails(folder)
        total = next((label for label in rails.values() if label in _TOTALS), None)
        for index, label in rails.items():
            try:
                rail = answering(Rail(folder, index))
            except (OSError, ValueError) as error:
                found.problems.append(Problem("ina", str(folder / f"curr{index}_input"), str(error), _FIX))
                continue
            found.probes.append(_probe(identity, label, total, rail))
    return found


def _rails(folder: Path) -> dict[str, str]:
    """Return the label of each rail by its number."""
    rails: dict[str, str] = {}
    for path in sorted(folder.glob("curr*_input")):
        match = _CURRENT.fullmatch(path.name)
        if match is None or read_int(folder / f"in{match['index']}_enable") == 0:
            continue
        label = read_text(folder / f"in{match['index']}_label") or ""
        if label not in (*_NO_RAIL, *rails.values()) and (folder / f"in{match['index']}_input").exists():
            rails[match["index"]] = label
    return rails


def _probe(identity: str, label: str, total: str | None, rail: Rail) -> Probe:
    inside = total is not None and label != total
    kind = "rail" if inside else ("machine" if label == total else "board")
    domain = Domain(
        id=_id(identity, label),
        kind=kind,
        source="ina",
        quality=Quality.INTEGRATED,
        parent=_id(identity, total) if inside and total is not None else None,
    )
    return Probe(
        domain=domain,
        unit=Unit.POWER_UW,
        read=rail.read,
        reopen=rail.reopen,
        close=rail.close,
        slow=True,  # a bus of its own
        max_power_w=_MAX_POWER_W,
    )


def _id(identity: str, label: str) -> str:
    return f"{identity}/{plain_id(label)}"
