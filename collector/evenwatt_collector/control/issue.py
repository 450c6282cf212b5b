"""From shares to grants: which leases to send now, and in which order. Pure.

Decreases go first, then raises as far as there is room now, the most important class and the lowest level first, then
renewals of nodes that are not renewed with their zone (``renewing``). Room is what a zone may still lease out; a raise
needs it in its zone and in every zone around. While a zone has none at all, commands inside it only go down. Donors
give at once what they do not need: Slurm's limit of 50 % per 30 s would leave a node at its cap waiting while others
idle, and a donor that wants it back is at its cap one step later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, overload

import numpy as np

from evenwatt_collector.control.renewing import PROVE_S, RENEW_S, STEP_TOLERANCE_S
from evenwatt_collector.control.types import TTL_S, Grants, OnLost

if TYPE_CHECKING:
    from evenwatt_collector.control.accounts import Accounts
    from evenwatt_collector.control.arrays import Bools, Floats, Ints
    from evenwatt_collector.control.tree import ZoneTree
    from evenwatt_collector.control.types import Observations

RETRY_S: Final = 0.45
"""An unanswered grant is sent anew after this: two ways of 150 ms and a device of 100 ms fit in, and a slower answer
only costs a second message (our choice)."""
SPREAD: Final = 1.25
"""At most this multiple of the average rate of renewals in one step (our choice)."""
DEADBAND_W: Final = 5.0
"""Smaller changes are ignored (our choice) ..."""
DEADBAND: Final = 0.02
"""... as are those below this fraction of the cap."""
ROUNDING_W: Final = 1e-6


class OvercommitmentError(AssertionError):
    """A grant was about to break the lease invariant: a fault in this program, never in its input."""


@overload
def deadband_w(cap_w: float) -> float: ...
@overload
def deadband_w(cap_w: Floats) -> Floats: ...
def deadband_w(cap_w: Floats | float) -> Floats | float:
    """Return the smallest changes of caps worth sending."""
    return np.maximum(DEADBAND_W, DEADBAND * cap_w)


def settle(
    tree: ZoneTree, zone: Ints, share_w: Floats, intent_w: Floats, ceiling_w: Floats, available_w: Floats
) -> Floats:
    """Return the caps to aim for: shares, but small changes ignored where every zone's sum allows it.

    One that reaches the ceiling is not small: it ends the capping of that node.
    """
    small = np.abs(share_w - intent_w) < deadband_w(intent_w)
    small &= ~((intent_w < ceiling_w) & (ceiling_w <= share_w))
    cap_w = np.where(small, intent_w, share_w)
    over = tree.totals(zone, cap_w) > available_w + ROUNDING_W
    if over.any():
        return np.where(tree.any_around(over)[zone], np.minimum(cap_w, share_w), cap_w)
    return cap_w


@dataclass(frozen=True, slots=True)
class Steered:
    """The nodes that are steered now, one position each."""

    slot: Ints
    zone: Ints
    out_w: Floats
    """The most each may draw already."""
    may_raise: Bools
    carried: Bools
    """Its zone's renewals let its lease go on."""


@dataclass(frozen=True, slots=True)
class Issued:
    """The grants of one step."""

    grants: Grants
    grown_w: Floats
    """Per zone: by how much its nodes may draw more for them."""
    waiting_w: float


def issue(
    tree: ZoneTree,
    accounts: Accounts,
    seen: Observations,
    steered: Steered,
    cap_w: Floats,
    room_w: Floats,
    clock: Clock,
) -> Issued:
    """Return what moves the steered nodes to ``cap_w``, noted in the accounts as sent.

    Raises:
        OvercommitmentError: a grant would break the invariant.
    """
    at, zone, out_w = steered.slot, steered.zone, steered.out_w
    intent_w = accounts.intent_w[at]
    has_w = np.minimum(intent_w, out_w)
    wants_more = cap_w > has_w + ROUNDING_W
    raising = wants_more & steered.may_raise
    falling = ~wants_more & (cap_w < intent_w - ROUNDING_W)
    only_down = tree.any_around(room_w < -ROUNDING_W)[zone]
    floor_w = accounts.floor_w[at]
    kept_w = np.maximum(floor_w, has_w)
    order = np.lexsort((out_w / np.maximum(seen.weight[at], 1e-6), -seen.priority[at]))
    need_w = np.where(raising & ~only_down, np.maximum(0.0, cap_w - out_w), 0.0)
    got_w = ration(tree, zone, need_w, order, np.maximum(room_w, 0.0))
    gets_w = np.where(only_down, kept_w, np.minimum(cap_w, out_w + got_w))
    waiting_w = float(np.sum((cap_w - np.minimum(gets_w, cap_w))[raising]))
    lifted = raising & (gets_w >= np.minimum(cap_w, has_w + deadband_w(has_w)) - ROUNDING_W)
    kept = _due(accounts, steered, ~falling & ~lifted, raising, clock)
    sent_w = np.where(falling, cap_w, np.where(lifted, gets_w, kept_w))
    falls = np.flatnonzero(falling)
    positions = np.concatenate(
        (falls[np.argsort((cap_w - intent_w)[falls], kind="stable")], order[lifted[order]], kept)
    )
    grants = _grants(seen, at[positions], sent_w[positions], clock.first_seq)
    grown_w = _grown_w(tree, zone[positions], grants, out_w[positions], room_w)
    accounts.sent(grants.slot, grants.seq, grants.cap_w, grants.fallback_w, clock.now_s)
    return Issued(grants, grown_w, waiting_w)


@dataclass(frozen=True, slots=True)
class Clock:
    """When a step happens, how long after the one before, and the number of its first grant."""

    now_s: float
    elapsed_s: float
    """It bounds the renewals, so that a fleet granted at once is not renewed at once."""
    first_seq: int


def ration(tree: ZoneTree, zone: Ints, need_w: Floats, order: Ints, room_w: Floats) -> Floats:
    """Return what of each need fits into the room of its zone and of all zones around, the first in order first."""
    got_w = need_w
    for row in tree.around[::-1]:
        inside = row >= 0
        wanted_w = np.bincount(row[inside], weights=tree.own(zone, got_w)[inside], minlength=len(tree))
        short = wanted_w > room_w
        if not short.any():
            continue
        ring = row[zone]
        at = order[(ring[order] >= 0) & short[ring[order]]]
        at = at[np.argsort(ring[at], kind="stable")]
        taken_w = np.cumsum(got_w[at]) - got_w[at]
        first = np.searchsorted(ring[at], ring[at])
        before_w = taken_w - taken_w[first]
        got_w = got_w.copy()
        got_w[at] = np.clip(room_w[ring[at]] - before_w, 0.0, got_w[at])
    return got_w


def _due(accounts: Accounts, steered: Steered, idle: Bools, raising: Bools, clock: Clock) -> Ints:
    """Return the positions to renew: unanswered ones, those that waited long, and of the others the oldest few."""
    at, carried = steered.slot, steered.carried
    age_s = clock.now_s - accounts.sent_s[at]
    due = idle & ~carried & (age_s >= RENEW_S - STEP_TOLERANCE_S)
    forced = idle & accounts.unanswered()[at] & (age_s >= RETRY_S)
    forced |= due & (raising | (age_s >= TTL_S / 2))
    own = _oldest(due & ~forced, age_s, SPREAD * len(at) * clock.elapsed_s / RENEW_S)
    proved = idle & carried & (age_s >= PROVE_S - STEP_TOLERANCE_S)
    proved_now = _oldest(proved, age_s, SPREAD * np.count_nonzero(carried) * clock.elapsed_s / PROVE_S)
    return np.concatenate((np.flatnonzero(forced), own, proved_now))


def _oldest(chosen: Bools, age_s: Floats, most: float) -> Ints:
    """Return at most so many of the chosen positions and one more, the oldest first."""
    at = np.flatnonzero(chosen)
    return at[np.argsort(-age_s[at], kind="stable")[: math.ceil(most) + 1]]


def _grants(seen: Observations, slots: Ints, cap_w: Floats, first_seq: int) -> Grants:
    own = seen.on_lost[slots] == OnLost.FALLBACK
    fallback_w = np.where(own, np.minimum(seen.fallback_w[slots], cap_w), cap_w)
    return Grants(slots, first_seq + np.arange(len(slots), dtype=np.int64), cap_w, fallback_w)


def _grown_w(tree: ZoneTree, zone: Ints, grants: Grants, out_w: Floats, room_w: Floats) -> Floats:
    """Return what grants add to what zones may draw; it never exceeds the room."""
    grows_w = tree.totals(zone, np.maximum(0.0, np.maximum(grants.cap_w, grants.fallback_w) - out_w))
    broken = grows_w > np.maximum(0.0, room_w) + ROUNDING_W * (1 + len(grants)) ** 0.5
    if broken.any():
        z = int(np.argmax(broken))
        raise OvercommitmentError(
            f"grants take {grows_w[z]:.6f} W more in zone {tree.names[z]!r}, which has {room_w[z]:.6f} W left"
        )
    return grows_w
