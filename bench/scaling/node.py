"""One light node: it says what an agent says, byte for byte, and obeys; what it draws is made up. Pure: time is given.

Its demand moves at random within its machine's range. It draws that or its cap, whichever is less; a lease that ends
leaves it at its fallback. A change by more than 5 % and 10 W is said at once, as an agent does.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from evenwatt_wire import (
    Ack,
    Birth,
    Domain,
    DomainEnergy,
    DomainWindow,
    Kind,
    LeaseInForce,
    Ledger,
    Live,
    PartEnergy,
    Quality,
    State,
    Stored,
    Topic,
    WorkPower,
    encode,
    seal,
)
from evenwatt_wire.command import Code, Command, Envelope, Renewal
from evenwatt_wire.messages import LeaseState, NodeState
from evenwatt_wire.topics import CONTROLLER_NODE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FLOOR_W, CEILING_W, FALLBACK_W = 120.0, 500.0, 150.0
MEAN_DEMAND_W = 350.0
MOVES_EVERY_S = 30.0
"""Mean time from one level of demand to the next."""
WORKLOADS = 20
M = Quality.MEASURED

_ENVELOPE = msgspec.msgpack.Decoder(Envelope)
_COMMAND = msgspec.msgpack.Decoder(Command)
_RENEWAL = msgspec.msgpack.Decoder(Renewal)
_STORED = msgspec.msgpack.Decoder(Stored)


@dataclass(slots=True)
class Lease:
    """What caps the node."""

    cap_w: float | None = None
    until_s: float = 0.0
    fallback_w: float = FALLBACK_W
    epoch: int = 0
    seq: int = 0


class LightNode:
    """A node.

    Args:
        zone: Its zone.
        name: Its name.
        private: What it signs with.
        ledger_s: How often it closes a record.
        begins: Monotonic and wall time in seconds of its first window.
    """

    def __init__(
        self, zone: str, name: str, private: Ed25519PrivateKey, ledger_s: float, begins: tuple[float, float]
    ) -> None:
        self.zone, self.name, self._private = zone, name, private
        self._random = random.Random(name)
        self.boot = f"{self._random.getrandbits(64):016x}"
        self.topics = {kind: str(Topic(zone, name, kind)) for kind in Kind}
        self.renew_topic = str(Topic(zone, CONTROLLER_NODE, Kind.RENEW))
        self._seq = 0
        self._said_s, self._wall_offset_s = begins[0], begins[1] - begins[0]
        self._demand_w = self._random.uniform(FLOOR_W, CEILING_W)
        self._moves_s = begins[0] + self._random.expovariate(1 / MOVES_EVERY_S)
        self.power_w, self.total_j = self._demand_w, 0.0
        self.lease = Lease()
        self._ledger_s = ledger_s
        self._record_s, self._recorded_j = begins[0], 0.0
        self.next_record_s = begins[0] + self._random.uniform(0.1, 1.0) * ledger_s
        self.records, self.stored, self.stored_j = 0, 0, 0.0
        self._sent_j: dict[int, float] = {}
        self._work = [
            WorkPower("workload", f"train-{self._random.randrange(WORKLOADS)}", 0.0),
            WorkPower("unit", "nginx.service", 12.5),
        ]

    # --- what it says ---------------------------------------------------------------------------------------------

    def greeting(self, now_s: float) -> list[tuple[str, bytes]]:
        """Return what is retained of it."""
        domains = [
            Domain(id=f"package-{i}", kind="package", source="powercap", quality=M, in_total=True) for i in range(2)
        ]
        birth = Birth(
            node=self.name, boot=self.boot, wall_ms=self._wall_ms(now_s), version="bench", domains=domains,
            total_formula="package-0 + package-1", controllable=True, floor_w=FLOOR_W, ceiling_w=CEILING_W,
            fallback_w=FALLBACK_W, priority=self._random.randrange(10),
        )  # fmt: skip
        state = self.state(NodeState.READY, now_s)
        return [(self.topics[Kind.BIRTH], encode(birth)), (self.topics[Kind.STATE], state)]

    def state(self, state: NodeState, now_s: float) -> bytes:
        """Return its state."""
        return encode(State(node=self.name, state=state, boot=self.boot, wall_ms=self._wall_ms(now_s)))

    def window(self, now_s: float) -> bytes:
        """Close a window at this moment."""
        if now_s >= self._moves_s:
            self._demand_w = self._random.uniform(FLOOR_W, 2 * MEAN_DEMAND_W - FLOOR_W)
            self._moves_s = now_s + self._random.expovariate(1 / MOVES_EVERY_S)
        took_s = max(1e-3, now_s - self._said_s)
        self._said_s, self._seq = now_s, self._seq + 1
        energy_j = self.power_w * took_s
        self.total_j += energy_j
        lease = self._in_force(now_s)
        total = self._domain("node", energy_j, self.total_j, self.power_w)
        half = [self._domain(f"package-{i}", energy_j / 2, self.total_j / 2, self.power_w / 2) for i in range(2)]
        live = Live(
            self.name, self.boot, self._seq, int(now_s * 1e9), self._wall_ms(now_s), took_s, total, half,
            round(100 * took_s), 0, lease, self._work,
        )  # fmt: skip
        self.power_w = self._draws(now_s)
        return encode(live)

    def jumps(self, now_s: float) -> bool:
        """Whether its power moves so far now that it must be said at once."""
        change_w = abs(self._draws(now_s) - self.power_w)
        return change_w > 10.0 and change_w > 0.05 * self.power_w

    def record(self, now_s: float) -> bytes:
        """Close a ledger record."""
        self.next_record_s = now_s + self._ledger_s
        energy_j = self.total_j - self._recorded_j
        self._recorded_j, self.records = self.total_j, self.records + 1
        self._sent_j[self.records] = energy_j
        start_s, self._record_s = self._record_s, now_s
        domains = [DomainEnergy(f"package-{i}", energy_j / 2, self.total_j / 2, M) for i in range(2)]
        parts = [PartEnergy("unit", f"service-{i}.service", energy_j / 4, 0.0, 0.0, 1.0) for i in range(4)]
        return encode(
            Ledger(
                self.name, self.boot, self.records, int(start_s * 1e9), int(now_s * 1e9), self._wall_ms(start_s),
                self._wall_ms(now_s), DomainEnergy("node", energy_j, self.total_j, M), domains, [], 0.1, 0, 1.0, parts,
            )
        )  # fmt: skip

    # --- what it hears --------------------------------------------------------------------------------------------

    def obey(self, payload: bytes, now_s: float) -> bytes:
        """Take a cap and return the signed answer. It believes the signature: checking it is the agent's cost."""
        command = _COMMAND.decode(_ENVELOPE.decode(payload).body)
        before_w, lease = self.lease.cap_w, self.lease
        if command.cap_w is not None:
            lease.cap_w = min(CEILING_W, max(FLOOR_W, command.cap_w))
            lease.until_s, lease.epoch, lease.seq = now_s + command.ttl_s, command.epoch, command.seq
            lease.fallback_w = FALLBACK_W if command.fallback_w is None else command.fallback_w
        ack = Ack(
            self.name, command.id, command.epoch, command.seq, Code.APPLIED, "", self._wall_ms(now_s), command.cap_w,
            before_w, lease.cap_w, self.power_w, 0.01, f"{lease.seq}:{'a' * 64}",
        )  # fmt: skip
        return seal(ack, self._private)

    def go_on(self, payload: bytes, now_s: float) -> None:
        """Let its lease go on with those of the zone, under an agent's rules."""
        renewal, lease = _RENEWAL.decode(_ENVELOPE.decode(payload).body), self.lease
        alive = lease.cap_w is not None and now_s < lease.until_s
        if alive and lease.epoch == renewal.epoch and lease.seq < renewal.seq and not renewal.leaves_out(self.name):
            lease.until_s = max(lease.until_s, now_s + renewal.ttl_s)

    def told_stored(self, payload: bytes) -> None:
        """Note what the collector says is on its disk."""
        self.stored = max(self.stored, _STORED.decode(payload).seq)
        for seq in [seq for seq in self._sent_j if seq <= self.stored]:
            self.stored_j += self._sent_j.pop(seq)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _draws(self, now_s: float) -> float:
        lease = self.lease
        if lease.cap_w is None:
            return self._demand_w
        return min(self._demand_w, lease.cap_w if now_s < lease.until_s else lease.fallback_w)

    def _in_force(self, now_s: float) -> LeaseInForce:
        lease = self.lease
        if lease.cap_w is None:
            return LeaseInForce(LeaseState.FALLBACK, FALLBACK_W)
        if now_s >= lease.until_s:
            return LeaseInForce(LeaseState.FALLBACK, lease.fallback_w)
        return LeaseInForce(LeaseState.LEASED, lease.cap_w, lease.epoch, lease.seq, lease.until_s - now_s)

    def _domain(self, name: str, energy_j: float, total_j: float, power_w: float) -> DomainWindow:
        return DomainWindow(name, energy_j, total_j, power_w, 0.97 * power_w, power_w, power_w, M)

    def _wall_ms(self, now_s: float) -> int:
        return int(1000 * (now_s + self._wall_offset_s))


def facts(node: LightNode) -> dict[str, Any]:
    """Return what the judge holds against the collector's books."""
    return {"records": node.records, "stored": node.stored, "stored_j": node.stored_j, "cap_w": node.lease.cap_w}
