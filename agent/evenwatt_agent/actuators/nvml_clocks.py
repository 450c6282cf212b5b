"""GPU clock ceilings through NVML, for boards whose power limit is locked or not settable.

``nvmlDeviceSetGpuLockedClocks`` (Volta and later, root) bounds the graphics clock in megahertz. NVML has no call that
returns the bounds, so what is read back is the clock itself: above the bound it does not hold. Bounds that somebody
else had set cannot be read either; giving back means ``nvmlDeviceResetGpuLockedClocks``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_agent.actuators.model import LockedError, Original
from evenwatt_agent.actuators.nvml import REFUSALS
from evenwatt_agent.sources.model import ReadError
from evenwatt_agent.sources.nvml import NvmlError

if TYPE_CHECKING:
    from evenwatt_agent.sources.nvml import Nvml

_GRAPHICS: Final = 0
"""NVML_CLOCK_GRAPHICS."""
_LOWEST_MHZ: Final = 210
"""Idle clock of boards from Volta to Hopper; the driver raises a lower bound to what the board can do."""
_DEEPEST: Final = 0.3
"""Below this share of the full clock a board saves little more power and loses all its speed (our choice)."""
_DELAY_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class ClockLever:
    """The graphics clock's upper bound of one board."""

    nvml: Nvml
    uuid: str
    domain: str
    top_mhz: int
    kind: str = "nvml-clocks"
    delay_s: float = _DELAY_S

    @property
    def least(self) -> float:
        """Lowest bound over the board's full clock."""
        return max(_DEEPEST, _LOWEST_MHZ / self.top_mhz)

    def originals(self) -> list[Original]:
        """No bounds."""
        return [Original("nvml-clocks", self.uuid, "0")]

    def read(self) -> float:
        """Return the clock of this moment as a share of the full one; it idles below its bound."""
        return float(self.nvml.call("nvmlDeviceGetClockInfo", self.nvml.handle_of(self.uuid), _GRAPHICS)) / self.top_mhz

    def set(self, share: float) -> None:
        """Bound the clock; the whole of it takes the bounds away."""
        handle = self.nvml.handle_of(self.uuid)
        try:
            if share >= 1.0:
                self.nvml.call("nvmlDeviceResetGpuLockedClocks", handle)
            else:
                self.nvml.call("nvmlDeviceSetGpuLockedClocks", handle, _LOWEST_MHZ, round(share * self.top_mhz))
        except NvmlError as error:
            if error.code not in REFUSALS:
                raise
            raise LockedError(f"{self.domain}: {error}") from None


def discover(nvml: Nvml) -> list[ClockLever]:
    """Return a lever for every board that tells its full clock."""
    levers: list[ClockLever] = []
    try:
        boards = nvml.boards()
    except ReadError:
        return levers  # sensing has said so
    for domain, uuid in boards:
        try:
            top_mhz = int(nvml.call("nvmlDeviceGetMaxClockInfo", nvml.handle_of(uuid), _GRAPHICS))
        except ReadError:
            continue
        if top_mhz > _LOWEST_MHZ:
            levers.append(ClockLever(nvml, uuid, domain, top_mhz))
    return levers


def limit_found_w(nvml: Nvml, uuid: str) -> float | None:
    """Return the limit a board keeps to by itself, in watts, or None where it does not say: what it draws at most."""
    try:
        return float(nvml.call("nvmlDeviceGetEnforcedPowerLimit", nvml.handle_of(uuid))) / 1e3
    except ReadError:
        return None
