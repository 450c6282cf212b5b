"""A fleet's ledger records, as agents encode them."""

from __future__ import annotations

from evenwatt_wire import DomainEnergy, Kind, Ledger, Quality, Topic, decode, encode
from evenwatt_wire.messages import PartEnergy, TaskEnergy

BOOT = "00000000000000aa"
ZONE = "hall"
MINUTE_MS = 60_000


def record(node: int, seq: int, start_ms: int, end_ms: int, joules: float, workload: str = "") -> Ledger:
    """Six parts, one of them a task, and two domains: what a busy GPU server says."""
    task = f"{node:012x}"
    parts = [
        PartEnergy("unit", f"svc-{i}.service", joules * share, 0.0, 0.0, 5.0)
        for i, share in enumerate((0.02, 0.03, 0.05))
    ]
    parts += [
        PartEnergy("task", task, joules * 0.2, joules * 0.3, joules * 0.05, 40.0),
        PartEnergy("system", "", joules * 0.05, 0.0, 0.0, 1.0),
        PartEnergy("idle", "", 0.0, 0.0, joules * 0.3, 0.0),
    ]
    tasks = [
        TaskEnergy(task, f"run-{node}", workload or f"load-{node % 20}", f"model-{node % 5}", "train", "", "running",
                   start_ms, 60.0 * seq, joules, joules, joules, 100.0, [("images", 10.0 * seq)], f"team-{node % 3}")
    ]  # fmt: skip
    domains = [DomainEnergy(name, joules / 2, joules * seq, Quality.MEASURED) for name in ("package-0", "gpu-0")]
    total = DomainEnergy("node", joules, joules * seq, Quality.MEASURED)
    offset_ms = 1_500_000_000_000
    return Ledger(
        f"n{node}", BOOT, seq, (start_ms - offset_ms) * 10**6, (end_ms - offset_ms) * 10**6, start_ms, end_ms, total,
        domains, [], 0.1, parts=parts, tasks=tasks,
    )  # fmt: skip


def heard(made: Ledger) -> Ledger:
    """What a collector makes of it: through the wire."""
    found = decode(Topic(ZONE, made.node, Kind.LEDGER), encode(made))
    assert isinstance(found, Ledger)
    return found
