"""Keeps what is announced on the broker as it should be. Pure: what the broker has, and what should be there, go in.

The broker is asked, nothing is remembered: what it holds of ours comes as retained messages when a connection begins,
and as echoes of what is published. So a node that went while no collector ran, or a table that was switched off, is
taken back as well, whichever collector announced it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from evenwatt_collector.neighbours.home_assistant import Device, message, zone_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_MOST: Final = 200
"""Messages at once: a large fleet is announced over a minute, not as one burst."""
_AGAIN_S: Final = 30.0
"""What has not come back as an echo by then is said again."""
_MOST_HELD: Final = 40_000
"""Whoever can publish could invent devices without end."""
_NOTHING: Final = 0
"""The mark of a device that is not announced."""


class Announcer:
    """What the broker has of ours, and what was said to it; both by their marks, which take less room."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}
        self._said: dict[str, tuple[int, float]] = {}

    def connected(self, mine: Callable[[str], bool]) -> None:
        """Forget what a broker held of some zones: the one that was reached now may hold something else."""
        for devices in (self._held, self._said):
            for device in [device for device in devices if mine(zone_of(device))]:
                del devices[device]

    def heard(self, device: str, payload: bytes) -> None:
        """Take what the broker holds; empty when it holds nothing of this device any more."""
        if payload:
            if device in self._held or len(self._held) < _MOST_HELD:
                self._held[device] = hash(payload)
        else:
            self._held.pop(device, None)
        self._said.pop(device, None)

    def due(
        self, wanted: Mapping[str, Device], mine: Callable[[str], bool], now_s: float, *, settled: bool
    ) -> Iterator[tuple[str, bytes]]:
        """Yield what has to be published now; empty messages take a device back.

        Args:
            wanted: Each device that is there, by its id.
            mine: Whether a device is this collector's to take back.
            now_s: Monotonic time.
            settled: Whether all that is there has had the time to say so.
        """
        gone = [device for device in self._held if device not in wanted and mine(device)] if settled else []
        left = _MOST
        for device in [*wanted, *gone]:
            one = wanted.get(device)
            mark = _mark(one) if one else _NOTHING
            if self._held.get(device, _NOTHING) == mark or not self._may(device, mark, now_s):
                continue
            if not left:
                return
            left -= 1
            yield device, message(one) if one else b""
            self._said[device] = mark, now_s  # not reached where it could not be published

    def unheard(self, now_s: float) -> int:
        """Return how many messages the broker has not given back for long: it does not let us say or hear them."""
        return sum(now_s - said_s > _AGAIN_S / 2 for _, said_s in self._said.values())

    def _may(self, device: str, mark: int, now_s: float) -> bool:
        said = self._said.get(device)
        return said is None or said[0] != mark or now_s - said[1] > _AGAIN_S


@lru_cache(maxsize=32_768)
def _mark(device: Device) -> int:
    return hash(message(device))
