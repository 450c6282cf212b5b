"""Small makers of probes and batches for tests of the pure core."""

from __future__ import annotations

from evenwatt_agent.meter import Batch
from evenwatt_agent.sources import Probe, Unit
from evenwatt_wire import Domain, Quality

RANGE = 262_143_328_850
S = 1_000_000_000


def nothing():
    return None


def probe(identity, kind="package", *, parent=None, unit=Unit.ENERGY_UJ, silicon=None, source="powercap"):
    quality = Quality.MEASURED if unit is Unit.ENERGY_UJ else Quality.INTEGRATED
    return Probe(
        domain=Domain(id=identity, kind=kind, source=source, quality=quality, parent=parent),
        unit=unit,
        read=lambda: 0,
        reopen=nothing,
        close=nothing,
        range_uj=RANGE if unit is Unit.ENERGY_UJ else 0,
        silicon=identity if silicon is None else silicon,
    )


def batch(end_ns, readings, *, ticks=10, late=0, lost=None):
    return Batch(end_ns, readings, ticks, late, lost or {})
