"""What the live bench runs, written out as the files that the real programs read: machines, their load, keys, settings.

The load of every machine is one CSV file, made before anything starts: low until ``lead_s``, then up and down, then up
for good. Each up is a step of the whole fleet within ``SPREAD_S`` by ``RISE`` of its power; how the watts are spread
over the machines is drawn anew for every low and every high, so that leases must move from node to node each time.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evenwatt_cli.demo.scenario import free_port, write_keys

if TYPE_CHECKING:
    from pathlib import Path

ZONE = "bench"
RISE = 1.5
"""A step takes the fleet's uncapped power up by this fraction."""
BUDGET_SHARE = 0.6
"""Of the fleet's power at full load; the low stands at 0.4 of it."""
FALLBACK_SHARE = 0.9
"""All fallbacks together, of the budget: whatever dies, the zone keeps to it."""
SPREAD_S = 0.08
EDGE_S = 0.02
"""The load of one machine rises within this; with SPREAD_S, the whole fleet within 100 ms."""
FOR_GOOD_S = 900.0
SAMPLING_HZ = 10.0


@dataclass(frozen=True)
class Kind:
    """A sort of machine: a preset of the twin, less the counters that only cost reading time here."""

    name: str
    preset: str
    idle_w: float
    full_w: float
    priority: int
    patch: dict[str, Any]


def _without(*zones: str) -> dict[str, Any]:
    return {"powercap": {"zones": dict.fromkeys(zones)}}


_XEON = ("xeon_2s", 87.0, 500.0)
KINDS = (
    Kind("xeon", *_XEON, 3, _without("0:0", "0:1", "1:0", "1:1")),
    Kind("xeon", *_XEON, 7, _without("0:0", "0:1", "1:0", "1:1")),
    Kind("apu", "apu_box", 9.0, 65.0, 5, {}),
    Kind("xeon", *_XEON, 5, _without("0:0", "0:1", "1:0", "1:1")),
    Kind("laptop", "laptop", 8.0, 54.0, 5, _without("0:0", "0:1")),
)


@dataclass(frozen=True)
class Node:
    """One machine and its agent."""

    name: str
    kind: Kind
    fallback_w: float


@dataclass(frozen=True)
class Fleet:
    """Everything that was written, and when the load moves, in seconds since the twin's start."""

    folder: Path
    twins: Path
    """Where the machines' trees are; in memory, as a real sysfs is."""
    nodes: tuple[Node, ...]
    budget_w: float
    broker_port: int
    http_port: int
    ups_s: tuple[float, ...]
    downs_s: tuple[float, ...]
    """The end of each step; after the last one the load goes up for good, ``high_s``."""
    high_s: float

    def settings(self, name: str) -> Path:
        """Settings file of a node or of ``collector``."""
        return self.folder / f"{name}.toml"

    def truth(self, node: str) -> Path:
        """What really happened on a machine."""
        return self.twins / node / "truth.bin"


def write_fleet(folder: Path, twins: Path, count: int, steps: int, lead_s: float, seed: int) -> Fleet:
    """Choose machines, load and times, and write every file."""
    rng = random.Random(seed)
    kinds = [KINDS[i % len(KINDS)] for i in range(count)]
    budget_w = round(BUDGET_SHARE * sum(kind.full_w for kind in kinds))
    whole_w = sum(kind.full_w for kind in kinds)
    nodes = tuple(
        Node(f"{kind.name}-{i + 1}", kind, FALLBACK_SHARE * budget_w * kind.full_w / whole_w)
        for i, kind in enumerate(kinds)
    )
    ups_s, downs_s, at_s = [], [], lead_s
    for _ in range(steps):
        ups_s.append(at_s)
        downs_s.append(at_s + rng.uniform(4.5, 5.5))
        at_s = downs_s[-1] + rng.uniform(3.5, 4.5)
    fleet = Fleet(folder, twins, nodes, budget_w, free_port(), free_port(), tuple(ups_s), tuple(downs_s), at_s)
    _write_load(fleet, rng)
    machines = [
        {"id": n.name, "preset": n.kind.preset, **n.kind.patch, "profile": {"kind": "replay", "path": f"{n.name}.csv"}}
        for n in nodes
    ]
    (folder / "twin.json").write_text(json.dumps({"machines": machines}))
    write_keys(fleet.folder, "bench", ZONE, [node.name for node in fleet.nodes])
    for node in nodes:
        fleet.settings(node.name).write_text(_agent_settings(fleet, node))
    fleet.settings("collector").write_text(_collector_settings(fleet))
    (folder / "mosquitto.conf").write_text(
        f"listener {fleet.broker_port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
    )
    return fleet


def _write_load(fleet: Fleet, rng: random.Random) -> None:
    kinds = [node.kind for node in fleet.nodes]
    rows = [["t_s,load", f"0,{share:.4f}"] for share in _low(kinds, [0.9] * len(kinds), rng)]
    down_s = 0.0
    for up_s, end_s in zip((*fleet.ups_s, fleet.high_s), (*fleet.downs_s, fleet.high_s + FOR_GOOD_S), strict=True):
        high = [rng.uniform(0.8, 1.0) for _ in kinds]
        low = _low(kinds, high, rng)
        for row, below, above in zip(rows, low, high, strict=True):
            falls_s, rises_s = down_s + rng.uniform(0.0, SPREAD_S), up_s + rng.uniform(0.0, SPREAD_S)
            row += [f"{falls_s + EDGE_S:.3f},{below:.4f}", f"{rises_s:.3f},{below:.4f}"]
            row += [f"{rises_s + EDGE_S:.3f},{above:.4f}", f"{end_s:.3f},{above:.4f}"]
        down_s = end_s
    for node, row in zip(fleet.nodes, rows, strict=True):
        (fleet.folder / f"{node.name}.csv").write_text("\n".join(row) + "\n")


def _low(kinds: list[Kind], high: list[float], rng: random.Random) -> list[float]:
    """Return loads from which ``high`` is a rise of the fleet by RISE, some nodes near idle and some rather busy."""
    goal_w = sum(k.idle_w + (k.full_w - k.idle_w) * share for k, share in zip(kinds, high, strict=True)) / (1 + RISE)
    draw = [rng.uniform(0.1, 1.0) for _ in kinds]
    least, most = 0.0, 10.0
    for _ in range(50):
        scale = (least + most) / 2
        low = [min(0.7, scale * share) for share in draw]
        now_w = sum(k.idle_w + (k.full_w - k.idle_w) * share for k, share in zip(kinds, low, strict=True))
        least, most = (scale, most) if now_w < goal_w else (least, scale)
    return low


def _agent_settings(fleet: Fleet, node: Node) -> str:
    folder = fleet.folder
    return f"""\
fleet = "bench"
zone = "{ZONE}"
node = "{node.name}"
state_dir = "{folder / node.name}"
runtime_dir = "{folder / node.name}"
[mqtt]
port = {fleet.broker_port}
[sources]
sysfs = "{fleet.twins / node.name / "sys"}"
rate_hz = {SAMPLING_HZ}
[attribution]
enabled = false  # every agent here would look through the processes of all the others
[control]
enabled = true
private_key = "{folder / (node.name + ".pem")}"
trust = "{folder / "trust.json"}"
root = "{folder / "root.pub"}"
fallback_w = {node.fallback_w:.1f}
priority = {node.kind.priority}
require_synchronised_clock = false  # issuer and node share one clock here
[log]
style = "json"
"""


def _collector_settings(fleet: Fleet) -> str:
    return f"""\
fleet = "bench"
state_dir = "{fleet.folder / "collector"}"
[mqtt]
port = {fleet.broker_port}
[http]
port = {fleet.http_port}
[keys]
private_key = "{fleet.folder / "controller.pem"}"
trust = "{fleet.folder / "trust.json"}"
root = "{fleet.folder / "root.pub"}"
[log]
style = "json"
[[zones]]
name = "{ZONE}"
budget_w = {fleet.budget_w:.1f}
"""
