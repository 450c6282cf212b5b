"""Ledger records as an agent makes them: they touch, and their counters add up."""

from __future__ import annotations

from evenwatt_agent.checkpoint import Checkpoint
from evenwatt_agent.counters import Baseline
from evenwatt_wire import DomainEnergy, Ledger, PartEnergy, Quality

BOOT, NEXT = "a" * 16, "b" * 16
MINUTE_NS = 60 * 10**9
WALL_MS = 1_790_000_000_000
M = Quality.MEASURED


def energy_j(seq):
    return 100.0 + seq % 7


def total_j(seq):
    return sum(energy_j(n) for n in range(1, seq + 1))


def record(seq, boot=BOOT, node="n1"):
    energy, total = energy_j(seq), total_j(seq)
    return Ledger(
        node, boot, seq, (seq - 1) * MINUTE_NS, seq * MINUTE_NS, WALL_MS + (seq - 1) * 60_000, WALL_MS + seq * 60_000,
        DomainEnergy("node", energy, total, M),
        [
            DomainEnergy("package-0", 0.75 * energy, 0.75 * total, M),
            DomainEnergy("dram", 0.25 * energy, 0.25 * total, M),
        ],
        [], 0.1, 0, 1.0,
        [PartEnergy("unit", f"u{seq % 3}", energy - 40.0, 0.0, 0.0, 1.0), PartEnergy("idle", "", 0.0, 0.0, 40.0, 0.0)],
    )  # fmt: skip


def checkpoint(seq):
    return Checkpoint("kernel", seq * MINUTE_NS, {"package-0": Baseline(seq * 10, seq)})
