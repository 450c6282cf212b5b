"""Variants, nodes and grids for tests."""

from __future__ import annotations

from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.models.choice import PlaceNow
from evenwatt_collector.models.costs import Costs
from evenwatt_collector.models.measured import Piece
from evenwatt_collector.models.registry import DeviceKind, ModelsFile, Published, Quality, Variant, make_registry

NOW = 1_793_577_600.0 + 12 * 3600
TASK = "classify"


def variant(label, quality=None, *, better="higher", metric="top-1", **fields):
    model, _, name = label.partition(":")
    stated = None if quality is None else Quality(metric=metric, value=quality, source="its paper", better=better)
    return Variant(**({"task": TASK, "model": model, "variant": name, "unit": "image", "quality": stated} | fields))


def piece(label, joules, *, units=100.0, node="n1", zone="hall", seconds=10.0, run="a", **fields):
    """``joules`` per unit."""
    base = {
        "label": label, "phase": "infer", "run": run, "zone": zone, "node": node, "end_s": NOW - 60,
        "energy_j": joules * units, "idle_j": joules * units / 4, "metered_j": joules * units, "duration_s": seconds,
        "units": {"image": units},
    }  # fmt: skip
    return Piece(**(base | fields))


def published(label, joules, **fields):
    base = {"label": label, "unit": "image", "joules_per_unit": joules, "source": "a table", "imported_s": 1.0}
    return Published(**(base | fields))


def place(zone="hall", node="n1", g=300.0, **fields):
    return PlaceNow(zone=zone, node=node, intensity_g_per_kwh=g, **({"standing": Standing.MEASURED} | fields))


def market(variants, pieces, *, rows=(), devices=(), now_s=NOW):
    registry = make_registry(ModelsFile(models=list(variants), devices=list(devices)), [], list(rows))
    return Costs(registry, list(pieces), now_s)


KIND = DeviceKind(name="small", nodes=["n*"], memory_gb=8, price_per_h=0.36)
THREE = (variant("net:large", 0.90), variant("net:medium", 0.85), variant("net:small", 0.75))
"""Falling in quality and in joules."""
PIECES = (piece("net:large", 40.0), piece("net:medium", 20.0), piece("net:small", 10.0))
