"""What nodes say, built with the wire package alone."""

from __future__ import annotations

from evenwatt_wire import (
    Birth,
    Domain,
    DomainEnergy,
    DomainWindow,
    Event,
    LeaseInForce,
    Ledger,
    Live,
    NodeSummary,
    Quality,
    State,
)
from evenwatt_wire.messages import LeaseState, NodeState

BOOT, NEXT_BOOT, THIRD_BOOT = "00000000000000aa", "00000000000000bb", "0000000000000001"
ZONE = "hall"
WALL_MS = 1_790_000_000_000


def live(node="n1", seq=1, boot=BOOT, power_w=100.0, peak_w=None, total_j=None, duration_s=1.0, lease=None):
    peak_w = power_w if peak_w is None else peak_w
    total_j = seq * power_w if total_j is None else total_j
    window = DomainWindow("node", power_w, total_j, power_w, power_w, peak_w, peak_w, Quality.MEASURED)
    in_force = lease or LeaseInForce(LeaseState.UNMANAGED, None)
    return Live(node, boot, seq, seq * 10**9, WALL_MS, duration_s, window, [window], 100, 0, in_force)


def ledger(node="n1", seq=1, boot=BOOT, energy_j=60.0, total_j=None, domains=("package-0",)):
    total_j = seq * energy_j if total_j is None else total_j
    start_ns = (seq - 1) * 60 * 10**9
    return Ledger(
        node, boot, seq, start_ns, start_ns + 60 * 10**9, WALL_MS, WALL_MS + 60_000,
        DomainEnergy("node", energy_j, total_j, Quality.MEASURED),
        [DomainEnergy(name, energy_j / len(domains), total_j, Quality.MEASURED) for name in domains],
        [], 0.1,
    )  # fmt: skip


def state(node="n1", what=NodeState.READY, boot=BOOT):
    return State(node=node, state=what, boot=boot, wall_ms=WALL_MS)


def birth(node="n1", boot=BOOT, **fields):
    package = Domain(id="package-0", kind="package", source="powercap", quality=Quality.MEASURED, in_total=True)
    wanted = {"controllable": True, "floor_w": 50.0, "ceiling_w": 400.0, "fallback_w": 150.0} | fields
    return Birth(
        node=node, boot=boot, wall_ms=WALL_MS, version="0", domains=[package], total_formula="package-0", **wanted
    )  # fmt: skip


def summary(node="n1", boot=BOOT, **fields):
    base = {"power_w": 1.0, "energy_j": 1.0, "quality": Quality.MEASURED}
    return NodeSummary(node=node, boot=boot, wall_ms=WALL_MS, **(base | fields))


def event(node="n1", name="cap-applied", seq=1):
    return Event(node, BOOT, seq, WALL_MS, name, "package-0", [("cap_w", 90.0)])
