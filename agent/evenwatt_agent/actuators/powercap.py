"""Processor limits through powercap constraints.

https://docs.kernel.org/power/powercap/powercap.html. Constraints are matched by name, since their index is not PL1 or
PL2. ``short_term`` is lowered along with ``long_term``: otherwise the package may run at it for the long term's whole
time window, tens of seconds, which is the very spike that is to be cut. The kernel does not check ranges, so floor
and ceiling are enforced here, and what was written is read back. Setting a limit does not enable it: ``enabled`` does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_agent.actuators.model import LockedError, Original
from evenwatt_agent.sources.held import read_int, read_text
from evenwatt_agent.sources.powercap import Zone, find_zones

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TOLERANCE_W: Final = 1.0
"""Limits are rounded to the zone's power unit, 1/8 W; a reading further off means that the write did not take."""
MOST_LIMIT_UW: Final = 10**15
"""A gigawatt: a limit beyond it is none that a device has."""


@dataclass(frozen=True, slots=True)
class PackageKnob:
    """The limits of one package."""

    zone: Zone
    long_term: Path
    short_term: Path | None
    saved: tuple[Original, ...]
    floor_w: float
    ceiling_w: float
    short_ceiling_w: float
    kind: str = "powercap"
    delay_s: float = 0.3
    """Firmware regulates over the shortest time window, milliseconds; meter and bins add 0.2 s."""

    @property
    def id(self) -> str:
        """Unique on the node."""
        return f"powercap:{self.zone.id}"

    @property
    def domain(self) -> str:
        """The package this limits."""
        return self.zone.id

    def originals(self) -> list[Original]:
        """Both limits and ``enabled``, limits first."""
        return list(self.saved)

    def read(self) -> float:
        """Return the long-term limit."""
        return read_limit_w(self.long_term)

    def write(self, limit_w: float) -> float:
        """Set both limits, enable them, and read the long-term one back."""
        limit_w = min(self.ceiling_w, max(self.floor_w, limit_w))
        if self.short_term is not None:
            short_w = self.short_ceiling_w if limit_w >= self.ceiling_w else limit_w
            write_number(self.short_term, round(short_w * 1e6))
        write_number(self.long_term, round(limit_w * 1e6))
        enabled = self.zone.path / "enabled"
        if read_int(enabled) == 0:
            write_number(enabled, 1)
        now_w = self.read()
        if abs(now_w - limit_w) > _TOLERANCE_W:
            raise LockedError(f"{self.long_term}: wrote {limit_w:.1f} W, read back {now_w:.1f} W")
        return now_w


def discover(sysfs: Path, floor_share: float, originals: Mapping[str, str]) -> list[PackageKnob]:
    """Return a knob for every package with a long-term constraint; AMD packages have none.

    Args:
        sysfs: Usually ``/sys``.
        floor_share: Least limit as a share of the ceiling.
        originals: Values saved by an earlier run that did not restore them, by path: they and not the present limits
            (ours, then) are this machine's own.
    """
    knobs = []
    for zone in find_zones(sysfs):
        if zone.kind != "package" or zone.mirrored:
            continue
        constraints = _constraints(zone.path)
        long_term = constraints.get("long_term")
        if long_term is None:
            continue
        short_term = constraints.get("short_term")
        long_uw = _own(long_term, originals)
        short_uw = _own(short_term, originals) if short_term else 0
        if not 0 < long_uw <= MOST_LIMIT_UW:
            continue
        saved = [Original("file", str(long_term), str(long_uw))]
        saved += [Original("file", str(short_term), str(short_uw))] if short_term else []
        enabled = zone.path / "enabled"
        if enabled.exists():
            saved.append(Original("file", str(enabled), str(_own(enabled, originals))))
        ceiling_w = long_uw / 1e6
        knobs.append(
            PackageKnob(zone, long_term, short_term, tuple(saved), ceiling_w * floor_share, ceiling_w, short_uw / 1e6)
        )
    return knobs


def read_limit_w(path: Path) -> float:
    """Read a limit in microwatts and return watts; raise :class:`OSError` if there is none."""
    limit_uw = read_int(path)
    if limit_uw is None:
        raise OSError(f"{path}: holds no number")
    return limit_uw / 1e6


def write_number(path: Path, value: int) -> None:
    """Write one integer as sysfs expects it: one write, the old content gone.

    Raises:
        LockedError: the file refuses (BIOS-locked limits answer EACCES or EPERM, bad ones EINVAL).
        OSError: the file is gone.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"%d\n" % value)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LockedError(f"{path}: {error.strerror}") from None


def _own(path: Path, originals: Mapping[str, str]) -> int:
    saved = originals.get(str(path))
    return int(saved) if saved is not None else read_int(path) or 0


def _constraints(folder: Path) -> dict[str, Path]:
    return {
        read_text(path) or "": path.with_name(path.name.replace("_name", "_power_limit_uw"))
        for path in sorted(folder.glob("constraint_*_name"))
    }
