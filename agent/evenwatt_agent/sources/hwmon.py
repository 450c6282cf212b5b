"""Power and energy through the kernel's hwmon class.

https://docs.kernel.org/hwmon/sysfs-interface.html: ``powerN_average`` and ``powerN_input`` in microwatts,
``energyN_input`` in microjoules. Numbers of hwmon folders change across boots, so a device is known by its ``name``
and, where two share it, by the device behind it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from evenwatt_agent.sources.held import HeldNumber, answering, entries, read_text
from evenwatt_agent.sources.model import Found, Probe, Problem, Unit, plain_id
from evenwatt_wire import Domain, Quality

if TYPE_CHECKING:
    from pathlib import Path

_READING = re.compile(r"(?P<what>power|energy)(?P<index>\d+)_(?P<form>input|average)")

# What a driver's numbers stand for; any other driver is a ``board`` meter.
_KINDS: Final = {
    "amdgpu": "gpu",
    "nouveau": "gpu",
    "i915": "gpu",
    "xe": "gpu",
    "amd_energy": "package",
    "power_meter": "machine",
}
_MAX_POWER_W: Final = {"gpu": 3_000.0, "package": 2_000.0, "machine": 20_000.0, "board": 2_000.0}
"""No part sold in 2026 draws half of it; readings of 10^12 W have been seen (xpumanager#130)."""


def device_ids(sysfs: Path) -> list[tuple[Path, str, str]]:
    """Return (folder, driver name, stable identifier) of every hwmon device."""
    devices = [
        (entry.resolve(), read_text(entry / "name") or "unknown") for entry in entries(sysfs / "class" / "hwmon")
    ]
    names = [name for _, name in devices]
    result = []
    for folder, name in devices:
        owner = (folder / "device").resolve().name if (folder / "device").exists() else folder.name
        identity = name if names.count(name) == 1 else f"{name}-{owner}"
        result.append((folder, name, plain_id(identity)))
    return result


def discover(sysfs: Path) -> Found:
    """Open every power or energy reading; an energy counter is preferred to a power reading of the same index."""
    found = Found()
    taken: set[tuple[Path, str]] = set()
    for folder, name, identity in device_ids(sysfs):
        for index, (unit, path) in sorted(_readings(folder).items()):
            try:
                number = answering(HeldNumber(path))
            except (OSError, ValueError) as error:
                fix = "the sensor does not answer; if it is needed, check the driver's messages with dmesg"
                found.problems.append(Problem("hwmon", str(path), str(error), fix))
                continue
            label = _label(folder, index)
            label = f"{label}-{index}" if (folder, label) in taken else label
            taken.add((folder, label))
            found.probes.append(_probe(name, identity, label, unit, number))
    return Found(_nested(found.probes), found.problems)


def _label(folder: Path, index: str) -> str:
    named = read_text(folder / f"power{index}_label") or read_text(folder / f"energy{index}_label")
    return named or (f"power{index}" if index != "1" else "")


def _nested(probes: list[Probe]) -> list[Probe]:
    """Put the ``pkg`` channel of an Xe board inside its ``card`` (``drivers/gpu/drm/xe/xe_hwmon.c``)."""
    cards = {probe.domain.id for probe in probes if probe.domain.id.endswith("/card")}
    nested = []
    for probe in probes:
        device, _, channel = probe.domain.id.rpartition("/")
        inside = channel == "pkg" and f"{device}/card" in cards
        domain = msgspec.structs.replace(probe.domain, parent=f"{device}/card") if inside else probe.domain
        nested.append(replace(probe, domain=domain))
    return nested


def _readings(folder: Path) -> dict[str, tuple[Unit, Path]]:
    chosen: dict[str, tuple[int, Unit, Path]] = {}
    for path in entries(folder):
        match = _READING.fullmatch(path.name)
        if match is None or (match["what"] == "energy" and match["form"] == "average"):
            continue
        unit = Unit.ENERGY_UJ if match["what"] == "energy" else Unit.POWER_UW
        rank = 0 if unit is Unit.ENERGY_UJ else (1 if match["form"] == "average" else 2)
        if match["index"] not in chosen or rank < chosen[match["index"]][0]:
            chosen[match["index"]] = (rank, unit, path)
    return {index: (unit, path) for index, (_, unit, path) in chosen.items()}


def _probe(name: str, identity: str, label: str, unit: Unit, number: HeldNumber) -> Probe:
    kind = _KINDS.get(name, "board")
    suffix = f"/{plain_id(label)}" if label else ""
    domain = Domain(
        id=f"{identity}{suffix}",
        kind=kind,
        source="hwmon",
        quality=Quality.MEASURED if unit is Unit.ENERGY_UJ else Quality.INTEGRATED,
    )
    return Probe(
        domain=domain,
        unit=unit,
        read=number.read,
        reopen=number.reopen,
        close=number.close,
        slow=True,  # many of these drivers talk to the device over a bus
        max_power_w=_MAX_POWER_W[kind],
    )
