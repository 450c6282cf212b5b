"""The nodes' side of leases, in arrays: what ``evenwatt_agent.leases.LeaseBook`` does for one node.

The newest grant of the newest epoch only, not older than two seconds, its ttl from receipt, then a straight ramp of
4.5 seconds to the lower of the node's own fallback and the granted one. A test holds the two against each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evenwatt_collector.control.arrays import Bools, Floats, Ints

RAMP_S = 4.5
EXPIRY_S = 2.0


class NodeLeases:
    """All nodes' leases.

    Args:
        floor_w: Least cap each node takes.
        ceiling_w: Highest.
        fallback_w: Each node's own.
    """

    def __init__(self, floor_w: Floats, ceiling_w: Floats, fallback_w: Floats) -> None:
        self._floor_w, self._ceiling_w = floor_w, ceiling_w
        self._own_w = fallback_w
        count = len(floor_w)
        self.rest_w: Floats = fallback_w.copy()
        self.cap_w: Floats = fallback_w.copy()
        self.ends_s: Floats = np.full(count, -np.inf)
        self.mark: Ints = np.full(count, -1, dtype=np.int64)
        self.held_seq: Ints = np.full(count, -1, dtype=np.int64)
        """Number of the grant that each holds, alive or ended; -1 since a restart."""
        self.pause_until_s: Floats = np.full(count, -np.inf)
        self.skew_s: Floats = np.zeros(count)
        """How far a node's wall clock is off; grants carry wall times."""

    def receive(
        self, at: Ints, seq: Ints, cap_w: Floats, fallback_w: Floats, ttl_s: float, sent_s: float, now_s: float
    ) -> Bools:
        """Take grants; return which were taken. Each node at most once."""
        age_s = now_s + self.skew_s[at] - sent_s
        taken = (seq > self.mark[at]) & (age_s <= EXPIRY_S) & (age_s >= -EXPIRY_S)
        good = at[taken]
        self.mark[good] = seq[taken]
        self.cap_w[good] = np.clip(cap_w[taken], self._floor_w[good], self._ceiling_w[good])
        self.rest_w[good] = np.maximum(self._floor_w[good], np.minimum(self._own_w[good], fallback_w[taken]))
        self.ends_s[good] = now_s + ttl_s
        self.held_seq[good] = seq[taken]
        return taken

    def renew(self, at: Ints, seqs: tuple[int, int], ttl_s: float, sent_s: float, now_s: float) -> None:
        """Let leases go on that are alive, from the number where an epoch begins to below the other."""
        age_s = now_s + self.skew_s[at] - sent_s
        good = (age_s <= EXPIRY_S) & (age_s >= -EXPIRY_S) & (now_s < self.ends_s[at])
        good &= (seqs[0] <= self.held_seq[at]) & (self.held_seq[at] < seqs[1])
        self.ends_s[at[good]] = np.maximum(self.ends_s[at[good]], now_s + ttl_s)

    def cap_at(self, now_s: float) -> Floats:
        """Return the cap of every node now."""
        done = np.clip((now_s - self.ends_s) / RAMP_S, 0.0, 1.0)
        return np.where(done >= 1.0, self.rest_w, self.cap_w + (self.rest_w - self.cap_w) * done)

    def leased(self, now_s: float) -> Bools:
        """Return which nodes hold a live lease."""
        return now_s < self.ends_s

    def paused(self, now_s: float) -> Bools:
        """Return whose work is paused: a pause is a lease too."""
        return now_s < self.pause_until_s

    def restart(self, at: Ints, now_s: float) -> None:
        """Agents die and come back: they remember mark and fallback, and start in the fallback."""
        self.cap_w[at] = self.rest_w[at]
        self.ends_s[at] = now_s - RAMP_S
        self.held_seq[at] = -1
        self.pause_until_s[at] = -np.inf
