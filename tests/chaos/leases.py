"""What every node may draw at each moment, by the signed commands, renewals and answers that passed over the broker."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from evenwatt_collector.control.types import TTL_S
from evenwatt_wire.command import Code, Op
from evenwatt_wire.messages import LeaseState

_EXPIRY_S = 2.0
"""A grant that has not come by then is refused."""
_RAMP_S = 5.0
_SLACK_S = 0.5
"""What a node does is heard so much later, or sooner."""


@dataclass
class Grant:
    """One command to limit power, when the node said that it does, and when that was renewed last."""

    at_s: float
    id: str
    zone: str
    number: tuple[int, int]
    """Epoch and sequence number."""
    cap_w: float
    fallback_w: float
    ttl_s: float
    held_s: float = float("inf")
    renewed_s: float = float("-inf")

    def allows_w(self, at_s):
        """Return what a node may draw that got it as late as possible."""
        over_s = at_s - (max(self.at_s, self.renewed_s) + _EXPIRY_S + self.ttl_s)
        return self.cap_w + (self.fallback_w - self.cap_w) * min(1.0, max(0.0, over_s / _RAMP_S))


class Leases:
    """Takes commands and answers whose signatures are good, in the order of hearing them."""

    def __init__(self):
        self._grants = {}

    def told(self, zone, node, lease, at_s):
        """Take what a node says that it holds where nothing is known yet: granted before anybody listened."""
        if node not in self._grants and lease.state is LeaseState.LEASED and lease.cap_w is not None:
            number, since_s = (lease.epoch, lease.seq), at_s + lease.remaining_s - TTL_S
            self._grants[node] = [Grant(since_s, "", zone, number, lease.cap_w, lease.cap_w, TTL_S, held_s=since_s)]

    def asked(self, zone, command, at_s):
        if command.op is Op.CAP and not command.dry_run:
            number = (command.epoch, command.seq)
            grant = Grant(at_s, command.id, zone, number, command.cap_w, command.fallback_w, command.ttl_s)
            self._grants.setdefault(command.node, []).append(grant)

    def answered(self, ack, at_s):
        for grant in reversed(self._grants.get(ack.node, [])):
            if grant.id == ack.command_id and ack.code in (Code.APPLIED, Code.CLAMPED):
                grant.held_s = min(grant.held_s, at_s)
                return

    def went_on(self, renewal, at_s):
        """Note that leases of a zone go on: of each node that is not left out, the one that it said it holds."""
        for node, grants in self._grants.items():
            held = next((grant for grant in reversed(grants) if grant.held_s < float("inf")), None)
            if held is None or held.zone != renewal.zone or renewal.leaves_out(node):
                continue
            if (renewal.epoch, 0) <= held.number < (renewal.epoch, renewal.seq):
                held.renewed_s = at_s

    def known(self, names):
        """Whether each of these nodes has said that it holds one."""
        return self.renewed(names, 0.0)

    def renewed(self, names, since_s):
        """Whether each of these nodes has said that it holds a grant that was given or renewed after a moment."""
        return all(any(max(grant.at_s, grant.renewed_s) > since_s and grant.held_s < float("inf")
                       for grant in self._grants.get(name, [])) for name in names)  # fmt: skip

    def allowed_w(self, name, at_s):
        """Return the most that a node may draw: of the grant that it holds and those that may be under way to it.

        None where no grant is known that it held before.
        """
        grants, allowed_w = self._grants.get(name, []), []
        for grant in reversed(grants[: bisect_right(grants, at_s + _SLACK_S, key=lambda grant: grant.at_s)]):
            allowed_w.append(grant.allows_w(at_s))
            if grant.held_s <= at_s - _SLACK_S:
                return max(allowed_w)
        return None
