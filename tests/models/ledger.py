"""A ledger in which a model was trained, evaluated, served and kept loaded."""

from __future__ import annotations

from evenwatt_collector.carbon.site import DeviceFacts
from evenwatt_collector.storage import LedgerWriter
from evenwatt_collector.storage import intensity as store
from evenwatt_wire.messages import TaskEnergy
from tests.storage.made import HOUR, T0, entry, facts, reading, record

HOURS = 40
"""From T0 on; one record an hour and node."""
NOW = float(T0 + HOURS * HOUR + 600)
TRAIN_J, EVALUATE_J, IDLE_LOADED_J, OTHER_J = 900_000.0, 300_000.0, 200_000.0, 50_000.0
INFER_J = {"net:large": 400_000.0, "net:small": 100_000.0}
"""An hour; each answers 10,000 images an hour."""
IMAGES = 10_000.0
_IDLE = 0.25
"""Of each task's energy."""
REGISTRY = """
[[devices]]
name = "a100"
nodes = ["g*"]
memory_gb = 80

[[models]]
task = "classify"
model = "net"
variant = "large"
unit = "image"
quality = { metric = "top-1", value = 0.9, source = "its paper" }
memory_gb = 12
expected_uses = 1e6

[[models]]
task = "classify"
model = "net"
variant = "small"
unit = "image"
quality = { metric = "top-1", value = 0.75, source = "its paper" }
"""


def work(number, model, phase, hours, *, units=(), state="running"):
    return TaskEnergy(
        f"{number:012x}", f"run-{number}", "vision", model, phase, "", state, T0 * 1000, HOUR * hours, 0.0, 0.0, 0.0,
        0.0, list(units), "team",
    )  # fmt: skip


def build(where, *, devices=True):
    """Make the ledger; the grid has 300 g/kWh by day and 100 by night, and PUE is 1.25."""
    writer = LedgerWriter(str(where))
    store.set_site(writer.connection, "hall", facts(), None, 1)
    if devices:
        store.set_device(
            writer.connection, "g1", DeviceFacts(embodied_g=1e6, lifetime_s=1e8, detail="A100 80GB"), None, 1
        )
    hours = range(HOURS)
    store.record(
        writer.connection,
        [reading(T0 + HOUR * h, T0 + HOUR * (h + 1), 100.0 if h % 24 < 12 else 300.0) for h in hours],
    )
    for h in hours:
        for node, tasks in (("g1", training(h)), ("n1", serving(h))):
            parts = [("task", task.id, j * (1 - _IDLE), j * _IDLE) for task, j in tasks]
            parts.append(("system", "", 36_000.0, 0.0))
            start_ms = (T0 + HOUR * h) * 1000
            made = record(
                node, h + 1, start_ms, start_ms + HOUR * 1000, tuple(parts), tasks=[task for task, _ in tasks]
            )
            writer.append([entry(made)], T0 + HOUR * (h + 1) + 1.0)
    writer.settle()
    writer.close()
    return where


def training(h):
    found = [(work(1, "net", "train", h + 1, units=[("epoch", h + 1.0)]), TRAIN_J)]
    if h % 4 == 0:
        found.append((work(2, "net", "evaluate", h // 4 + 1), EVALUATE_J))
    return found


def serving(h):
    done = [("image", IMAGES * (h + 1))]
    return [
        (work(3, "net:large", "infer", h + 1, units=done), INFER_J["net:large"]),
        (work(4, "net:small", "infer", h + 1, units=done), INFER_J["net:small"]),
        (work(5, "net:large", "idle-loaded", h + 1), IDLE_LOADED_J),
        (work(6, "net", "", h + 1), OTHER_J),
        (work(7, "network", "infer", h + 1, units=done), 70_000.0),  # another model, whose name begins alike
    ]


GRAMS_PER_J = {h: (100.0 if h % 24 < 12 else 300.0) * 1.25 / 3.6e6 for h in range(HOURS)}


def grams(energy_j, hours=range(HOURS)):
    """Return what so much energy an hour weighs."""
    return sum(energy_j * GRAMS_PER_J[h] for h in hours)
