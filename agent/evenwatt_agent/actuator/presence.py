"""Whether there is an agent, and for how long leases go on without one. Pure: time is an argument.

::

    WAITING --an agent comes--> SERVING --it goes--> WAITING
    WAITING --grace is over--> AWAY: the machine gets its own limits back, leases are forgotten
    AWAY    --an agent comes--> SERVING, from the fallback on

An actuator starts in WAITING: it holds its fallback before anybody can connect.
"""

from __future__ import annotations

from enum import StrEnum


class PresenceState(StrEnum):
    """Named states."""

    WAITING = "waiting"
    SERVING = "serving"
    AWAY = "away"


class Presence:
    """Follows one agent's coming and going.

    Args:
        grace_s: How long leases go on without an agent.
        now_s: The present moment on the monotonic clock.
    """

    def __init__(self, grace_s: float, now_s: float) -> None:
        self._grace_s = grace_s
        self._since_s = now_s
        self.state = PresenceState.WAITING

    def come(self) -> None:
        """Note that an agent is connected."""
        self.state = PresenceState.SERVING

    def go(self, now_s: float) -> None:
        """Note that it has gone."""
        self.state, self._since_s = PresenceState.WAITING, now_s

    def is_over(self, now_s: float) -> bool:
        """Whether grace has just ended; it is told once."""
        if self.state is not PresenceState.WAITING or now_s - self._since_s < self._grace_s:
            return False
        self.state = PresenceState.AWAY
        return True
