"""Who decides this node's cap, and what happens when nobody does any more. Pure: time is an argument.

A cap is a lease: it ends by itself, on this node's monotonic clock, counted from its receipt. Each key that may
command holds at most one lease; the smallest cap in force wins, so an operator can only tighten what the controller
allows. When the last lease ends the cap moves in a straight line to the fallback within five seconds and stays
there; it never goes back to uncapped by itself. Only a signed release gives the machine its own limits back.

::

    UNMANAGED --grant--> LEASED --grant--> LEASED
    FALLBACK  --grant--> LEASED --last lease ends--> RAMPING --5 s--> FALLBACK
    RAMPING   --grant--> LEASED
    any       --release of the last lease--> UNMANAGED

A node with control enabled starts in FALLBACK, before it joins; one without stays UNMANAGED.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from evenwatt_wire.messages import LeaseState

RAMP_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Lease:
    """One key's hold on the cap."""

    cap_w: float
    fallback_w: float
    expires_s: float
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Target:
    """What the actuators should hold now. ``cap_w`` is None when the machine's own limits apply."""

    state: LeaseState
    cap_w: float | None
    epoch: int = 0
    seq: int = 0
    remaining_s: float = 0.0


class LeaseBook:
    """The leases of one node.

    Args:
        fallback_w: Cap to fall back to, the local limit that nothing remote can raise.
        managed: Whether control is enabled on this node.
        last_fallback_w: Fallback of the last lease before a restart; it still binds.
    """

    def __init__(self, fallback_w: float, *, managed: bool, last_fallback_w: float | None = None) -> None:
        self._local_fallback_w = fallback_w
        self._fallback_w = fallback_w if last_fallback_w is None else min(fallback_w, last_fallback_w)
        self._leases: dict[str, Lease] = {}
        self._state = LeaseState.FALLBACK if managed else LeaseState.UNMANAGED
        self._ramp_from_w = self._fallback_w
        self._ramp_start_s = 0.0

    @property
    def fallback_w(self) -> float:
        """Where the cap goes when the present leases end."""
        return self._fallback_w

    def grant(self, holder: str, lease: Lease) -> None:
        """Take a lease; it replaces the holder's earlier one."""
        self._leases[holder] = lease
        self._fallback_w = min(self._local_fallback_w, lease.fallback_w)
        self._state = LeaseState.LEASED

    def release(self, holder: str, now_s: float) -> LeaseState:
        """Drop a holder's lease. If no other is left, the machine's own limits come back."""
        self._leases.pop(holder, None)
        self._drop_expired(now_s)
        if not self._leases:
            self._state = LeaseState.UNMANAGED
            self._fallback_w = self._local_fallback_w
        return self._state

    def target(self, now_s: float) -> Target:
        """Return what holds at ``now_s``; ending leases and ramps are followed here."""
        ended = self._drop_expired(now_s)
        if self._state is LeaseState.LEASED and not self._leases:
            self._state = LeaseState.RAMPING
            self._ramp_from_w = min(lease.cap_w for lease in ended)
            self._ramp_start_s = max(lease.expires_s for lease in ended)
        if self._state is LeaseState.RAMPING and now_s >= self._ramp_start_s + RAMP_S:
            self._state = LeaseState.FALLBACK
        return self._now(now_s)

    def _now(self, now_s: float) -> Target:
        if self._state is LeaseState.UNMANAGED:
            return Target(self._state, None)
        if self._state is LeaseState.FALLBACK:
            return Target(self._state, self._fallback_w)
        if self._state is LeaseState.RAMPING:
            done = (now_s - self._ramp_start_s) / RAMP_S
            cap_w = self._ramp_from_w + (self._fallback_w - self._ramp_from_w) * min(1.0, max(0.0, done))
            return Target(self._state, cap_w)
        lease = min(self._leases.values(), key=lambda lease: lease.cap_w)
        return Target(self._state, lease.cap_w, lease.epoch, lease.seq, lease.expires_s - now_s)

    def _drop_expired(self, now_s: float) -> list[Lease]:
        ended = [lease for lease in self._leases.values() if lease.expires_s <= now_s]
        self._leases = {holder: lease for holder, lease in self._leases.items() if lease.expires_s > now_s}
        return ended


class PauseBook:
    """Which allow-listed targets are paused, and until when. A pause is a lease too: it ends in a resume."""

    def __init__(self) -> None:
        self._until_s: dict[str, float] = {}

    @property
    def paused(self) -> list[str]:
        """Names paused now."""
        return sorted(self._until_s)

    def pause(self, name: str, until_s: float) -> None:
        """Note a pause, or renew it."""
        self._until_s[name] = until_s

    def resume(self, name: str) -> None:
        """Note a resume."""
        self._until_s.pop(name, None)

    def expired(self, now_s: float) -> list[str]:
        """Return the names whose pause is over and that are to be resumed."""
        return [name for name, until_s in self._until_s.items() if until_s <= now_s]
