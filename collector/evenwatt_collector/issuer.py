"""Signs leases and keeps account of what became of them. Pure but for the random part of ids: time is an argument.

A command's states: SENT --answered--> applied, clamped, locked or rejected; SENT --too late--> expired.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from evenwatt_wire import Ack, Command, seal
from evenwatt_wire.command import CLOCK_MS, Code, Op, Renewal, key_id, node_mark

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from evenwatt_collector.steering import ZoneRenewal
    from evenwatt_wire.jobs import JobOrder

EXPIRY_MS: Final = 2_000
"""A queued grant must not start late: the control core counts its life from sending plus this."""
_ANSWER_S: Final = 4.0
"""A command sent longer ago has expired, and its answer would have come."""
_DELAYS_KEPT: Final = 1_000
_REASON_CHARACTERS: Final = 400

_OUTCOMES: Final = {Code.APPLIED: "applied", Code.CLAMPED: "clamped", Code.LOCKED: "locked", Code.EXPIRED: "expired"}


@dataclass(slots=True)
class CapCounts:
    """What became of caps."""

    sent: int = 0
    renewals: int = 0
    """Messages that let the leases of a whole zone go on."""
    applied: int = 0
    clamped: int = 0
    """Applied, at another value by the node's own limits."""
    locked: int = 0
    rejected: int = 0
    expired: int = 0
    """Not answered in time, or received too late."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of one node: a lease with a cap, a pause or resume of a target, a run to start or stop."""

    node: str
    seq: int
    ttl_s: float
    reason: str
    op: Op = Op.CAP
    target: str = "node"
    cap_w: float | None = None
    fallback_w: float | None = None
    job: JobOrder | None = None
    """What to start."""
    keep: bool = False
    """Of a stop: it goes on later."""


class Signed(NamedTuple):
    """A command and the envelope it is sent in."""

    command: Command
    payload: bytes


class Issuer:
    """Turns orders into signed commands of one epoch."""

    def __init__(self, fleet: str, epoch: int, private: Ed25519PrivateKey) -> None:
        self._fleet, self.epoch, self._private = fleet, epoch, private
        self._key_id = key_id(private.public_key().public_bytes_raw())
        self._open: dict[str, tuple[str, int, float]] = {}
        self._delays_s: deque[float] = deque(maxlen=_DELAYS_KEPT)
        self.counts = CapCounts()

    def sign(self, order: Order, now_s: float, wall_ms: int) -> Signed:
        """Sign an order that is sent now."""
        self._expire(now_s)
        identity = new_id(wall_ms)
        command = Command(
            fleet=self._fleet,
            node=order.node,
            id=identity,
            epoch=self.epoch,
            seq=order.seq,
            issued_ms=wall_ms,
            not_before_ms=max(0, wall_ms - CLOCK_MS),
            expires_ms=wall_ms + EXPIRY_MS,
            op=order.op,
            target=order.target,
            cap_w=order.cap_w,
            fallback_w=order.fallback_w,
            ttl_s=order.ttl_s,
            issuer="collector",
            reason=order.reason[:_REASON_CHARACTERS],
            job=order.job,
            keep=order.keep,
        )
        self._open[identity] = (order.node, order.seq, now_s)
        self.counts.sent += 1
        return Signed(command, seal(command, self._private, self._key_id))

    def renew(self, renewal: ZoneRenewal, wall_ms: int) -> bytes:
        """Sign that leases of a zone go on."""
        message = Renewal(
            fleet=self._fleet,
            zone=renewal.zone,
            epoch=self.epoch,
            seq=renewal.seq,
            issued_ms=wall_ms,
            expires_ms=wall_ms + EXPIRY_MS,
            ttl_s=renewal.ttl_s,
            left_out=b"".join(map(node_mark, renewal.left_out)),
        )
        self.counts.renewals += 1
        return seal(message, self._private, self._key_id)

    def answered(self, ack: Ack, now_s: float) -> bool:
        """Count an answer; False when it answers no open command of ours: a repeat, or an operator's."""
        self._expire(now_s)
        node, seq, sent_s = self._open.get(ack.command_id, ("", 0, 0.0))
        if (ack.node, ack.epoch, ack.seq) != (node, self.epoch, seq):
            return False
        del self._open[ack.command_id]
        self._delays_s.append(now_s - sent_s)
        outcome = _OUTCOMES.get(ack.code, "rejected")
        setattr(self.counts, outcome, getattr(self.counts, outcome) + 1)
        return True

    def delay_s(self, share: float = 0.95) -> float | None:
        """Return a quantile of the time from publishing to the verified answer, over the latest answers."""
        ordered = sorted(self._delays_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

    def _expire(self, now_s: float) -> None:
        while self._open:
            identity = next(iter(self._open))
            if now_s - self._open[identity][2] <= _ANSWER_S:
                return  # they stand in the order of sending: the rest is younger
            del self._open[identity]
            self.counts.expired += 1


def new_id(wall_ms: int) -> str:
    """Return a UUIDv7 (RFC 9562): 48 bits of time, version, variant and 74 random bits, in 32 hexadecimal digits."""
    tail = int.from_bytes(os.urandom(10), "big")
    time_bits, high, low = wall_ms & (1 << 48) - 1, tail >> 64 & 0xFFF, tail & (1 << 62) - 1
    return f"{time_bits << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low:032x}"
