"""RAPL counters through the kernel's powercap class.

https://docs.kernel.org/power/powercap/powercap.html

Zones nest by *directory*: ``intel-rapl/intel-rapl:0/intel-rapl:0:0``, with flat symlinks to every one of them in
``/sys/class/powercap``. Both shapes are met in the field (containers often show only one), so zones are collected
from the class folder and from below each of them, and told apart by their real path. Names, never indices, say what
a zone is: ``package-N``, ``package-N-die-M``, ``core``, ``uncore``, ``dram``, ``psys``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_agent.sources.held import HeldNumber, answering, entries, open_file, read_int, read_text
from evenwatt_agent.sources.model import Found, Probe, Problem, Unit, plain_id
from evenwatt_wire import Domain, Quality

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NAME_LETTERS: Final = 28
"""Three of them, one inside the other, make an identifier."""
_ZONE = re.compile(r"(?P<control>[a-z-]+(?:-mmio)?):(?P<index>\d+(?::\d+)*)")

# Bounds of what one zone can draw, in watts, twice the largest part sold in 2026: only a lie exceeds them.
MAX_POWER_W: Final = {"package": 2_000.0, "core": 2_000.0, "uncore": 500.0, "dram": 1_000.0, "psys": 10_000.0}

DENIED_FIX: Final = (
    "energy counters are root's since CVE-2020-8694: set control.process to 'actuator' and start evenwatt-actuator, "
    "which lends them (see docs/install-debian.md), or run the agent as root; never make them readable for others"
)


COUNTER: Final = "energy_uj"
"""The one file of a zone that is read at speed, and that only root may open."""


class NotLentError(PermissionError):
    """This user may not open a counter, and whoever should have lent it did not; the text says why.

    Args:
        why: In one sentence.
        fix: What a person can do.
        away: Whether nobody answered, so that asking for the next one is of no use either.
    """

    def __init__(self, why: str, fix: str, *, away: bool) -> None:
        super().__init__(why)
        self.fix, self.away = fix, away


@dataclass(frozen=True, slots=True)
class Zone:
    """One powercap zone as the kernel shows it."""

    path: Path
    control: str
    """Control type: ``intel-rapl`` (also on AMD) or ``intel-rapl-mmio``."""
    name: str
    id: str
    """Unique and stable over boots: names from the outermost zone inwards, joined by ``/``."""
    parent: str | None

    @property
    def kind(self) -> str:
        """``package``, ``core``, ``uncore``, ``dram`` or ``psys``; another name is its own kind."""
        return re.sub(r"-\d+.*$", "", self.name)

    @property
    def mirrored(self) -> bool:
        """Whether this is the memory-mapped copy of the same silicon."""
        return self.control.endswith("-mmio")


def find_zones(sysfs: Path) -> list[Zone]:
    """Return every zone below ``<sysfs>/class/powercap``, parents before children."""
    paths: dict[Path, Path] = {}
    pending = entries(sysfs / "class" / "powercap")
    while pending:
        entry = pending.pop(0)
        real = entry.resolve()
        if real in paths or not (real / "name").exists():
            if _is_control_type(entry):
                pending += entries(real)
            continue
        if _ZONE.fullmatch(entry.name):
            paths[real] = entry
            pending += [child for child in entries(real) if _ZONE.fullmatch(child.name)]
    return _named(sorted(paths, key=lambda path: [(len(part), part) for part in path.parts]))


def discover(sysfs: Path, opener: Callable[[Path], int] = open_file) -> Found:
    """Open every readable energy counter.

    Args:
        sysfs: Usually ``/sys``.
        opener: Opens a counter; it may ask somebody who is allowed to, and raise :class:`NotLentError`.

    Returns:
        Probes in microjoules with their wrap point, and one problem for the zones that deny reading.
    """
    found = Found()
    for zone in find_zones(sysfs):
        counter = zone.path / COUNTER
        try:
            number = answering(HeldNumber(counter, opener))
        except FileNotFoundError:
            continue  # a zone may only limit
        except NotLentError as error:
            found.problems.append(Problem("powercap", str(counter), str(error), error.fix))
            if error.away:
                break
            continue
        except PermissionError as error:
            found.problems.append(Problem("powercap", str(counter), error.strerror or "denied", DENIED_FIX))
            continue
        except (OSError, ValueError) as error:
            fix = "the firmware or hypervisor does not serve this counter; nothing to mend here"
            found.problems.append(Problem("powercap", str(counter), str(error), fix))
            continue
        found.probes.append(_probe(zone, number))
    return found


def _probe(zone: Zone, number: HeldNumber) -> Probe:
    domain = Domain(
        id=zone.id,
        kind=zone.kind,
        source="powercap",
        quality=Quality.MEASURED,
        parent=zone.parent,
        resolution_j=61e-6,
    )
    return Probe(
        domain=domain,
        unit=Unit.ENERGY_UJ,
        read=number.read,
        fd=number.fd,
        reopen=number.reopen,
        close=number.close,
        range_uj=read_int(zone.path / "max_energy_range_uj") or 0,
        max_power_w=MAX_POWER_W.get(zone.kind, 10_000.0),
        silicon=zone.id.removeprefix("mmio:"),
    )


def _is_control_type(entry: Path) -> bool:
    return entry.name.startswith("intel-rapl") and ":" not in entry.name


def _named(paths: list[Path]) -> list[Zone]:
    zones: dict[Path, Zone] = {}
    taken: set[str] = set()
    for path in paths:
        match = _ZONE.fullmatch(path.name)
        name = plain_id(read_text(path / "name") or path.name, _NAME_LETTERS)
        control = match["control"] if match else path.name
        outer = zones.get(path.parent)
        prefix = f"{outer.id}/" if outer else ("mmio:" if control.endswith("-mmio") else "")
        identity = prefix + name
        if identity in taken:  # two zones of one name and parent: only the index tells them apart
            identity = f"{identity}:{path.name.rsplit(':', 1)[-1]}"
        taken.add(identity)
        zones[path] = Zone(path, control, name, identity, outer.id if outer else None)
    return list(zones.values())
