"""Leases that go on together: one message for a zone instead of one for each of its nodes. Pure: time is an argument.

A fleet that stands still costs as much to renew as one in which every cap moves, two signatures a node, unless it is
told once: what you hold goes on. That is safe only for a node of which it is certain what it holds::

    MOVING --newest grant acknowledged, and its live windows name it--> SETTLED
    SETTLED --granted anew; silent; names another lease, or one that nearly ends--> MOVING

SETTLED nodes are carried by their zone's renewals, and granted anew, to be answered, each ``PROVE_S``. Every other node
that was ever granted anything is left out by name, whatever it holds: its lease ends unless it is granted another. A
node that misses renewals is seen by how little is left of its lease, and is granted one by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.control.types import TTL_S, Renewals

if TYPE_CHECKING:
    from evenwatt_collector.control.accounts import Accounts
    from evenwatt_collector.control.arrays import Bools, Floats, Ints
    from evenwatt_collector.control.types import Observations

RENEW_S: Final = 2.0
"""Leases are renewed this often: four renewals may be lost in a ttl of 10 s (our choice)."""
PROVE_S: Final = 20.0
"""A settled node is granted its cap anew this often: it reads its devices back and signs for it (our choice)."""
LEAST_LEFT_S: Final = 4.0
"""With less than this left of its lease a node has missed renewals: two and a window's age fit in (our choice)."""
STEP_TOLERANCE_S: Final = 0.05
EARLY_S: Final = 0.5
"""A zone is renewed that much early rather than a whole step late: it costs one message."""
MOST_LEFT_OUT: Final = 3_000
"""What fits into one message; a zone with more nodes in motion is renewed one by one."""


@dataclass(slots=True)
class Renewing:
    """Which zones were renewed when, and which nodes were ever granted anything.

    Args:
        zones: How many.
    """

    renewed_s: Floats
    """Per zone."""
    granted: Bools
    """Per slot: it may hold a lease of ours. Never taken back: a closed account proves nothing about a lease."""

    @classmethod
    def of(cls, zones: int) -> Renewing:
        """Begin."""
        return cls(np.full(zones, -np.inf), np.zeros(0, dtype=np.bool_))

    def grow(self, slots: int) -> None:
        """Make room for ``slots`` nodes."""
        self.granted = np.concatenate((self.granted, np.zeros(slots - len(self.granted), dtype=np.bool_)))

    def replant(self, zones: int) -> None:
        """Take other zones; what nodes may hold stays known."""
        self.renewed_s = np.full(zones, -np.inf)

    def carried(self, accounts: Accounts, seen: Observations, at: Ints, now_s: float) -> Bools:
        """Return which of the steered nodes ``at`` their zone's renewals carry: they need no grant of their own."""
        settled = _settled(accounts, seen, at, now_s)
        late = now_s - self.renewed_s[seen.zone[at]] > TTL_S / 2  # their zone's message has had no room for long
        return settled & ~late

    def step(self, accounts: Accounts, seen: Observations, at: Ints, seq: int, now_s: float) -> Renewals:
        """Return what renews now, after this step's grants were noted as sent; note it in the accounts.

        Args:
            accounts: Of all nodes.
            seen: The nodes.
            at: Slots that are steered now.
            seq: Number above all that was granted so far.
            now_s: Monotonic time.
        """
        self.granted |= accounts.sent_seq >= 0
        goes_on = np.zeros(len(seen), dtype=np.bool_)
        goes_on[at] = _settled(accounts, seen, at, now_s)
        left_out = (self.granted | (seen.lease_seq >= 0)) & ~goes_on
        zones = len(self.renewed_s)
        some = np.bincount(seen.zone[goes_on], minlength=zones) > 0
        fits = np.bincount(seen.zone[left_out], minlength=zones) <= MOST_LEFT_OUT
        due = some & fits & (now_s - self.renewed_s >= RENEW_S - EARLY_S)
        self.renewed_s[due] = now_s
        chosen = np.flatnonzero(due)
        accounts.renewed(np.flatnonzero(goes_on & due[seen.zone]), now_s)
        return Renewals(seq, chosen, tuple(np.flatnonzero(left_out & (seen.zone == z)) for z in chosen))


def _settled(accounts: Accounts, seen: Observations, at: Ints, now_s: float) -> Bools:
    """Return of which nodes it is certain what they hold, and that it is alive."""
    acked = accounts.acked_seq[at]
    certain: Bools = (acked >= 0) & (acked == accounts.sent_seq[at]) & ~accounts.unanswered()[at]
    alive: Bools = (seen.lease_seq[at] == acked) & (seen.lease_left_s[at] - seen.age_s[at] >= LEAST_LEFT_S)
    alive &= now_s < accounts.acked_until_s[at]
    return certain & alive
