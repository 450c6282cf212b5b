"""Counting: what every zone draws, what it may draw, and which nodes can be steered now. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.control.types import OnLost

if TYPE_CHECKING:
    from evenwatt_collector.control.accounts import Accounts
    from evenwatt_collector.control.arrays import Bools, Floats, Ints
    from evenwatt_collector.control.tree import ZoneTree
    from evenwatt_collector.control.types import Observations

SILENT_S: Final = 3.0
"""After three missed live windows a node counts as its lease (our choice)."""
BLIND_FRACTION: Final = 0.20
"""With more of the nodes silent, caps only fall or hold (our choice)."""
OBEYS: Final = 1.05
"""A node above this multiple of its cap and ``OBEYS_W`` more counts by its power (our choice; meters are not exact)."""
OBEYS_W: Final = 5.0
BELIEVED: Final = 1.5
"""A node that can be steered counts with this multiple of its ceiling at the most, whatever it says that it draws: one
wrong meter must not take everybody's watts (our choice; boards peak at up to 1.5 times their limit)."""


@dataclass(frozen=True, slots=True)
class Survey:
    """One step's count: nodes by slot, watts by zone, each zone's with those of the zones inside it."""

    live: Ints
    """Slots that are steered now."""
    out_w: Floats
    """Per slot: outstanding cap."""
    loose: Bools
    """Per slot: whether it counts as load that nobody steers."""
    power_w: Floats
    unmanaged_w: Floats
    """Counted by the higher of mean and recent peak."""
    reserved_w: Floats
    """Outstanding caps of nodes that cannot be steered now, less what of them counts as unmanaged."""
    overdraw_w: Floats
    """What disobedient nodes draw above their caps."""
    leased_w: Floats
    """Outstanding caps of all nodes, less what of them counts as unmanaged."""
    arrived_w: Floats
    managed: Floats
    silent: Floats
    disobeying: Ints
    unmanageable: Ints
    unbelieved: Ints

    @property
    def blind(self) -> Bools:
        """Zones with too many silent nodes to raise anything."""
        return self.silent > BLIND_FRACTION * self.managed

    @property
    def most_w(self) -> Floats:
        """The most that zones may draw."""
        return self.leased_w + self.unmanaged_w

    @property
    def unsteered_w(self) -> Floats:
        """What no lease sent now can change."""
        return self.unmanaged_w + self.reserved_w + self.overdraw_w


def survey(
    tree: ZoneTree,
    accounts: Accounts,
    seen: Observations,
    limited: Bools,
    fixed_w: Floats,
    now_s: float,
    *,
    inherits: bool = False,
) -> tuple[Survey, Ints]:
    """Count every node once, open accounts for arrivals, and close those of nodes that left.

    Args:
        tree: The zones.
        accounts: Of the nodes.
        seen: The nodes.
        limited: Per zone: whether it, or a zone around it, has a limit.
        fixed_w: Per zone: load that no node reports, with that of the zones inside it.
        now_s: Monotonic time.
        inherits: Whether an earlier collector may have granted leases that are still alive.

    Returns:
        The count, and the slots that arrived.
    """
    steerable = seen.present & seen.controllable & limited[seen.zone]
    fresh = seen.online & (seen.age_s <= SILENT_S)
    arrived = np.flatnonzero(steerable & ~accounts.open)
    if len(arrived):
        accounts.arrive(arrived, _arrives_with(seen, arrived, fresh), seen.floor_w[arrived], now_s)
        if inherits:
            unheard = arrived[~fresh[arrived]]
            most_w = np.fmax(seen.held_w, seen.ceiling_w)[unheard]
            accounts.suspect(unheard, most_w, seen.fallback_w[unheard], now_s)
    # A node that came back may be another machine: what it was tells nothing.
    accounts.close(steerable & accounts.open & accounts.unmanaged & ~seen.online)
    managed = steerable & accounts.open & ~accounts.unmanaged
    np.copyto(accounts.floor_w, seen.floor_w, where=managed)
    out_w = accounts.outstanding(now_s)
    left = accounts.open & ~steerable
    done = left & (accounts.resting(now_s) | accounts.unmanaged)
    accounts.close(done)
    left &= ~done
    live = managed & fresh
    quiet = managed & ~fresh
    unmanageable = steerable & accounts.open & accounts.unmanaged
    loose = seen.present & seen.online & (~steerable | unmanageable)
    loose_w = np.where(loose, np.maximum(seen.power_w, seen.peak_w), 0.0)
    np.maximum(loose_w, seen.ceiling_w, out=loose_w, where=loose & ~fresh)
    most_w = BELIEVED * np.maximum(seen.ceiling_w, seen.device_w)
    unbelieved = live & (seen.power_w > most_w)
    said_w = np.where(unbelieved, most_w, seen.power_w)
    power_w = np.where(live, said_w, np.where(quiet | left, out_w, 0.0))
    power_w = np.where(loose, np.where(fresh, seen.power_w, loose_w), power_w)
    # What its last lease allows and what it is measured at or could draw are the same watts: the higher one counts.
    held_w = np.where(loose, np.maximum(0.0, out_w - loose_w), out_w)
    over = live & (said_w > OBEYS * out_w + OBEYS_W)
    over &= said_w > OBEYS * accounts.lately_w(now_s) + OBEYS_W
    # A lost node whose leases have ended is known to be at its fallback; until then, nothing is known.
    silent = quiet & (seen.online | ~accounts.resting(now_s))

    def totals(values: Floats) -> Floats:
        return tree.totals(seen.zone, values)

    count = Survey(
        live=np.flatnonzero(live),
        out_w=out_w,
        loose=loose,
        power_w=fixed_w + totals(power_w),
        unmanaged_w=fixed_w + totals(loose_w),
        reserved_w=totals(np.where(quiet | left, held_w, 0.0)),
        overdraw_w=totals(np.where(over, said_w - out_w, 0.0)),
        leased_w=totals(np.where(managed | left, held_w, 0.0)),
        arrived_w=tree.totals(seen.zone[arrived], out_w[arrived]),
        managed=totals(managed.astype(np.float64)),
        silent=totals(silent.astype(np.float64)),
        disobeying=np.flatnonzero(over),
        unmanageable=np.flatnonzero(unmanageable & seen.online),
        unbelieved=np.flatnonzero(unbelieved),
    )
    return count, arrived


def _arrives_with(seen: Observations, at: Ints, fresh: Bools) -> Floats:
    held_w = np.where(np.isnan(seen.held_w[at]), seen.fallback_w[at], seen.held_w[at])
    held_w = np.where(fresh[at], np.maximum(held_w, seen.power_w[at]), held_w)
    return np.where(seen.on_lost[at] == OnLost.RESTORE, np.maximum(held_w, seen.ceiling_w[at]), held_w)
