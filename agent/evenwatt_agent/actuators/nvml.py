"""GPU limits through NVML.

``nvmlDeviceSetPowerManagementLimit`` takes milliwatts inside the board's constraints and needs root. The limit that
is *enforced* can differ from the one that was set (another limiter may be stricter), so the enforced one is read back.
Limits are lost when the driver is unloaded. Every call asks for the board by UUID: its index moves when another board
falls off the bus, and a limit must never reach the wrong board.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_agent.actuators.model import LockedError, Original
from evenwatt_agent.sources.model import ReadError
from evenwatt_agent.sources.nvml import FUNCTION_NOT_FOUND, INVALID_ARGUMENT, NO_PERMISSION, NOT_SUPPORTED, NvmlError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_agent.sources.nvml import Nvml

_TOLERANCE_W: Final = 1.0
_SETTLE_S: Final = 0.2
"""How long a board may take until it enforces what it accepted."""
REFUSALS: Final = frozenset({NOT_SUPPORTED, NO_PERMISSION, INVALID_ARGUMENT, FUNCTION_NOT_FOUND})
"""Codes that say no for good; all others say that the board does not answer now."""


@dataclass(frozen=True, slots=True)
class BoardKnob:
    """The power limit of one board."""

    nvml: Nvml
    domain: str
    uuid: str
    original_mw: int
    floor_w: float
    ceiling_w: float
    kind: str = "nvml"
    delay_s: float = 0.5
    """Boards regulate within some 100 ms; their counter moves every 20 to 100 ms and is read ten times a second."""

    @property
    def id(self) -> str:
        """Unique on the node."""
        return f"nvml:{self.domain}"

    def originals(self) -> list[Original]:
        """The limit found first, by UUID: indices may change when boards come and go."""
        return [Original("nvml", self.uuid, str(self.original_mw))]

    def read(self) -> float:
        """Return the enforced limit."""
        return float(self.nvml.call("nvmlDeviceGetEnforcedPowerLimit", self.nvml.handle_of(self.uuid))) / 1e3

    def write(self, limit_w: float) -> float:
        """Set the limit and read the enforced one back."""
        limit_w = min(self.ceiling_w, max(self.floor_w, limit_w))
        handle = self.nvml.handle_of(self.uuid)
        try:
            self.nvml.call("nvmlDeviceSetPowerManagementLimit", handle, round(limit_w * 1e3))
        except NvmlError as error:
            if error.code not in REFUSALS:
                raise  # the board or its driver is away: that is no refusal
            raise LockedError(f"{self.domain}: {error}") from None
        deadline = time.monotonic() + _SETTLE_S
        while (enforced_w := self.read()) > limit_w + _TOLERANCE_W:
            if time.monotonic() > deadline:
                raise LockedError(f"{self.domain}: set {limit_w:.1f} W, but {enforced_w:.1f} W is enforced")
            time.sleep(0.005)
        return enforced_w


def discover(nvml: Nvml, originals: Mapping[str, str]) -> list[BoardKnob]:
    """Return a knob for every board that tells its limit and constraints."""
    knobs: list[BoardKnob] = []
    try:
        boards = nvml.boards()
    except ReadError:
        return knobs  # sensing has said so
    for domain, uuid in boards:
        try:
            handle = nvml.handle_of(uuid)
            now_mw = int(nvml.call("nvmlDeviceGetPowerManagementLimit", handle))
            least_mw, most_mw = nvml.call("nvmlDeviceGetPowerManagementLimitConstraints", handle)
        except ReadError:
            continue  # boards without a settable limit exist; they are only measured
        original_mw = int(originals.get(uuid, now_mw))
        knobs.append(BoardKnob(nvml, domain, uuid, original_mw, least_mw / 1e3, min(original_mw, most_mw) / 1e3))
    return knobs
