"""GPU limits through hwmon ``powerN_cap`` (amdgpu).

https://docs.kernel.org/gpu/amdgpu/thermal.html: microwatts, truncated by the driver to whole watts, within
``powerN_cap_min`` and ``powerN_cap_max``. On Intel's ``xe`` the file is the short-term limit and writing 0 switches
it off, so only positive limits are ever written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_agent.actuators.model import LockedError, Original
from evenwatt_agent.actuators.powercap import MOST_LIMIT_UW, read_limit_w, write_number
from evenwatt_agent.sources.held import read_int
from evenwatt_agent.sources.hwmon import device_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TOLERANCE_W: Final = 1.5
"""The driver truncates to whole watts."""


@dataclass(frozen=True, slots=True)
class HwmonKnob:
    """One ``powerN_cap`` file."""

    path: Path
    domain: str
    original_uw: int
    floor_w: float
    ceiling_w: float
    kind: str = "hwmon"
    delay_s: float = 1.0
    """``powerN_average`` of amdgpu is a mean over up to a second."""

    @property
    def id(self) -> str:
        """Unique on the node."""
        return f"hwmon:{self.domain}"

    def originals(self) -> list[Original]:
        """The cap found first."""
        return [Original("file", str(self.path), str(self.original_uw))]

    def read(self) -> float:
        """Return the cap."""
        return read_limit_w(self.path)

    def write(self, limit_w: float) -> float:
        """Set the cap and read it back."""
        limit_w = min(self.ceiling_w, max(self.floor_w, limit_w))
        write_number(self.path, round(limit_w * 1e6))
        now_w = self.read()
        if abs(now_w - limit_w) > _TOLERANCE_W:
            raise LockedError(f"{self.path}: wrote {limit_w:.1f} W, read back {now_w:.1f} W")
        return now_w


def discover(sysfs: Path, domains: Sequence[str], floor_share: float, originals: Mapping[str, str]) -> list[HwmonKnob]:
    """Return a knob for every ``powerN_cap`` whose power is one of ``domains``."""
    knobs = []
    for folder, _, identity in device_ids(sysfs):
        for path in sorted(folder.glob("power*_cap")):
            domain = next((d for d in domains if d == identity or d.startswith(f"{identity}/")), None)
            saved = originals.get(str(path))
            original_uw = int(saved) if saved is not None else read_int(path) or 0
            if domain is None or not 0 < original_uw <= MOST_LIMIT_UW:
                continue
            least_uw = read_int(path.with_name(path.name + "_min")) or 0
            floor_w = max(least_uw / 1e6, original_uw / 1e6 * floor_share)
            knobs.append(HwmonKnob(path, domain, original_uw, floor_w, original_uw / 1e6))
    return knobs
