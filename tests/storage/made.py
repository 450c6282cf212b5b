"""Records as nodes send them, readings as providers give them."""

from __future__ import annotations

from evenwatt_collector.books import Entry
from evenwatt_collector.carbon.series import Basis, Kind, Reading, Standing
from evenwatt_collector.carbon.site import SiteFacts
from evenwatt_wire import DomainEnergy, Ledger, Quality, encode
from evenwatt_wire.messages import PartEnergy, TaskEnergy

BOOT = "00000000000000aa"
T0 = 1_793_577_600
"""A midnight, UTC: 2026-11-02."""
HOUR, DAY = 3600, 86_400


def record(node="n1", seq=1, start_ms=T0 * 1000, end_ms=None, parts=(), total_j=None, tasks=(), quality="measured"):
    """parts: (kind, name, dynamic_j, idle_j)."""
    end_ms = start_ms + 60_000 if end_ms is None else end_ms
    total_j = sum(part[2] + part[3] for part in parts) if total_j is None else total_j
    rows = [PartEnergy(kind, name, dynamic_j, 0.0, idle_j, 0.0) for kind, name, dynamic_j, idle_j in parts]
    total = DomainEnergy("node", total_j, total_j, Quality(quality))
    return Ledger(
        node, BOOT, seq, (start_ms - (T0 - 10**8) * 1000) * 10**6, (end_ms - (T0 - 10**8) * 1000) * 10**6, start_ms,
        end_ms, total, [DomainEnergy("package-0", total_j, total_j, Quality(quality))], [], 0.1, parts=rows,
        tasks=list(tasks),
    )  # fmt: skip


def task(number=1, workload="resnet", model="resnet50", phase="train", team="vision", units=(), duration_s=60.0):
    return TaskEnergy(
        f"{number:012x}", f"run-{number}", workload, model, phase, "", "running", T0 * 1000, duration_s, 0.0, 0.0, 0.0,
        0.0, list(units), team,
    )  # fmt: skip


def entry(made, zone="hall", grams=0.0):
    return Entry(zone, made, encode(made), grams)


def reading(start_s, end_s, g_per_kwh, recorded_s=None, **fields):
    recorded_s = end_s if recorded_s is None else recorded_s
    base = {"grid": "DE", "kind": Kind.AVERAGE, "basis": Basis.LIFECYCLE, "source": "file",
            "standing": Standing.MEASURED, "issued_s": recorded_s}  # fmt: skip
    return Reading(start_s=start_s, end_s=end_s, g_per_kwh=g_per_kwh, recorded_s=recorded_s, **(base | fields))


def facts(**fields):
    return SiteFacts(**({"grid": "DE", "fallback_g_per_kwh": 400.0, "pue": 1.25} | fields))
