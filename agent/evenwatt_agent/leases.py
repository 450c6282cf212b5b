"""Who decides this node's cap, and what happens when nobody does any more. Pure: time is an argument.

A cap is a lease: it ends by itself, on this node's monotonic clock, counted from its receipt. The controller holds one
and each operator may hold one; the smallest in force wins, so an operator can only tighten what the controller allows.
When a lease ends its cap moves in a straight line to the fallback within five seconds. The controller's fallback then
stays, as the zone's budget counts on it, until it grants anew or releases; an operator's wish is over. It may lie above
the node's own only as far as the node's settings allow (``fallback_max_w``). With no lease at all the node's own
fallback holds. Only a signed release gives the machine its own limits back.

::

    UNMANAGED --grant--> LEASED --grant, renewal--> LEASED
    FALLBACK  --grant--> LEASED --last lease ends--> RAMPING --4.5 s--> FALLBACK
    RAMPING   --grant--> LEASED
    any       --release, and nobody else holds anything--> UNMANAGED

A node with control enabled starts in FALLBACK, before it joins; one without stays UNMANAGED.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from evenwatt_wire.messages import LeaseState

RAMP_S: Final = 4.5
"""The controller counts the lease's cap for 5 s from its end: carrying out the last of the ramp must fit in as well."""
CONTROLLER: Final = "controller"
"""Holder's name of whoever controls the zone: a new controller takes the old one's place."""


@dataclass(frozen=True, slots=True)
class Lease:
    """One holder's cap."""

    cap_w: float
    fallback_w: float
    expires_s: float
    epoch: int
    seq: int

    def cap_at(self, now_s: float, fallback_w: float) -> float:
        """Return the cap while it lives, on its ramp, and after."""
        done = min(1.0, max(0.0, (now_s - self.expires_s) / RAMP_S))
        return self.cap_w + (fallback_w - self.cap_w) * done

    def state_at(self, now_s: float) -> LeaseState:
        """Return whether it lives, ramps or is over."""
        if now_s < self.expires_s:
            return LeaseState.LEASED
        return LeaseState.RAMPING if now_s < self.expires_s + RAMP_S else LeaseState.FALLBACK


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
        fallback_w: Cap to fall back to where no controller has said another.
        managed: Whether control is enabled on this node.
        last_fallback_w: The controller's fallback from before a restart; it still binds.
        fallback_max_w: Up to where a controller's fallback may lie above the node's own; ``fallback_w`` by default.
    """

    def __init__(
        self,
        fallback_w: float,
        *,
        managed: bool,
        last_fallback_w: float | None = None,
        fallback_max_w: float | None = None,
    ) -> None:
        self._own_fallback_w = fallback_w
        self._fallback_max_w = fallback_w if fallback_max_w is None else fallback_max_w
        self._controller_fallback_w = last_fallback_w
        self._leases: dict[str, Lease] = {}
        self._managed = managed

    @property
    def fallback_w(self) -> float:
        """Where the cap goes when no lease is left."""
        if self._controller_fallback_w is None:
            return self._own_fallback_w
        return min(self._fallback_max_w, self._controller_fallback_w)

    @property
    def most_fallback_w(self) -> float:
        """The most that holds where no lease is left: what controllers may send, and count with.

        A low fallback that came with a low cap is not told as this node's own, or later ones would stay as low.
        """
        return max(self._own_fallback_w, self.fallback_w)

    @property
    def controller_fallback_w(self) -> float | None:
        """What must be remembered over a restart."""
        return self._controller_fallback_w

    def grant(self, holder: str, lease: Lease) -> None:
        """Take a lease; it replaces the holder's earlier one."""
        self._leases[holder] = lease
        if holder == CONTROLLER:
            self._controller_fallback_w = lease.fallback_w
        self._managed = True

    def renew(self, epoch: int, below_seq: int, now_s: float, ttl_s: float) -> bool:
        """Let the controller's lease go on as it is, where it is alive, of this epoch and granted before.

        Args:
            epoch: The controller's.
            below_seq: A lease with this number or a higher one is newer than the renewal.
            now_s: When it was received.
            ttl_s: How long the lease goes on from then.
        """
        lease = self._leases.get(CONTROLLER)
        if lease is None or lease.epoch != epoch or lease.seq >= below_seq or now_s >= lease.expires_s:
            return False
        self._leases[CONTROLLER] = replace(lease, expires_s=max(lease.expires_s, now_s + ttl_s))
        return True

    def copy(self) -> LeaseBook:
        """Return a book to try something in."""
        other = LeaseBook(self._own_fallback_w, managed=self._managed, fallback_max_w=self._fallback_max_w)
        other._controller_fallback_w = self._controller_fallback_w
        other._leases = dict(self._leases)
        return other

    def release(self, holder: str, now_s: float) -> LeaseState:
        """Drop a holder's lease. If nobody else holds anything, the machine's own limits come back."""
        self._leases.pop(holder, None)
        if holder == CONTROLLER:
            self._controller_fallback_w = None
        self._forget(now_s)
        if not self._leases and self._controller_fallback_w is None:
            self._managed = False
        return self.target(now_s).state

    def target(self, now_s: float) -> Target:
        """Return what holds at ``now_s``."""
        self._forget(now_s)
        if not self._managed:
            return Target(LeaseState.UNMANAGED, None)
        fallback_w = self.fallback_w
        rows = [(lease.cap_at(now_s, fallback_w), lease) for lease in self._leases.values()]
        if CONTROLLER not in self._leases and (self._controller_fallback_w is not None or not rows):
            rows.append((fallback_w, Lease(fallback_w, fallback_w, float("-inf"), 0, 0)))
        cap_w, lease = min(rows, key=lambda row: row[0])
        states = [lease.state_at(now_s) for _, lease in rows]
        if LeaseState.LEASED in states:
            return Target(LeaseState.LEASED, cap_w, lease.epoch, lease.seq, max(0.0, lease.expires_s - now_s))
        return Target(LeaseState.RAMPING if LeaseState.RAMPING in states else LeaseState.FALLBACK, cap_w)

    def _forget(self, now_s: float) -> None:
        """Let go of leases whose ramp is over; of the controller's, the fallback stays."""
        over = [name for name, lease in self._leases.items() if lease.state_at(now_s) is LeaseState.FALLBACK]
        for name in over:
            del self._leases[name]


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
