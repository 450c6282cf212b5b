"""What the demo is made of, written out as the files that the real programs read: keys, settings, a twin spec.

Nothing of the demo reaches into a program: agents and collector get settings files as on a server, the twin a spec,
and the only things shared are the broker's port and folders.
"""

from __future__ import annotations

import json
import math
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from evenwatt_cli.demo.folder import Layout, write_token
from evenwatt_cli.keys.files import new_key, raw_public
from evenwatt_wire import Key, Role, Trust, sign_trust, write_trust

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ZONE: Final = "demo"
GRID: Final = "DE"
BURST: Final = {"kind": "burst", "period_s": 6.0, "width_s": 2.5, "rise_s": 0.2, "low": 0.0, "high": 1.0}
"""Every node goes from idle to full load within a quarter of a second, all at the same time, every six seconds."""
STEADY: Final = {"kind": "steady", "load": 0.9}
"""Batch work runs all the time."""
BATCH_SERVICES: Final = {"nightly-batch": {"cpu_share": 0.92, "gpu_share": 0.9, "reserved": 0.75}}
SERVING_SERVICES: Final = {
    "llm-chat": {"cpu_share": 0.6, "gpu_share": 0.65, "reserved": 0.5},
    "embedder": {"cpu_share": 0.3, "gpu_share": 0.25, "reserved": 0.25},
}
"""What runs on the machines: shares of their work, and of their processors set aside."""
LABELS: Final = """\
[[labels]]
owner = "unit/llm-chat.service"
workload = "chat"
model = "llama-3-70b"
phase = "infer"
team = "assistant"

[[labels]]
owner = "unit/embedder.service"
workload = "search"
model = "bge-large"
phase = "infer"
team = "search"

[[labels]]
owner = "unit/nightly-batch.service"
workload = "nightly-batch"
model = "resnet50"
phase = "train"
team = "vision"
"""
EVENT_SHARE: Final = 0.62
"""To this share of the budget it falls in a demand-response event: below what caps can bring the fleet to."""
EVENT_EVERY_S: Final = 480.0
LEDGER_S: Final = 5.0
"""A record every five seconds instead of every minute, so that a short demo has some."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of machine: its twin preset and its power at full load."""

    preset: str
    peak_w: float


XEON, GPU, APU, LAPTOP = (
    Kind("xeon_2s", 500.0),
    Kind("gpu_server", 1110.0),
    Kind("apu_box", 65.0),
    Kind("laptop", 54.0),
)
_MIX: Final = (XEON, GPU, XEON, APU, XEON, GPU, XEON, LAPTOP)
_NAMES: Final = {"xeon_2s": "xeon", "gpu_server": "gpu", "apu_box": "apu", "laptop": "laptop"}


@dataclass(frozen=True, slots=True)
class Node:
    """One simulated machine."""

    name: str
    kind: Kind
    batch: bool
    """It runs batch work all the time, which may be paused; the others serve bursts."""


@dataclass(frozen=True, slots=True)
class Event:
    """Demand response: the budget is lower for a while. Seconds after the demo has begun."""

    start_s: float
    end_s: float
    budget_w: float
    lead_s: float


@dataclass(frozen=True, slots=True)
class Scenario(Layout):
    """Everything the demo writes and where."""

    nodes: tuple[Node, ...]
    budget_w: float
    broker_port: int
    http_port: int

    @property
    def policy(self) -> Path:
        """The policy file."""
        return self.folder / "policy.toml"

    def job(self, node: str) -> Path:
        """File with the process number of a node's batch job."""
        return self.folder / f"{node}.job.pid"

    def events(self, seconds: float) -> list[Event]:
        """Return the demand-response events of a demo of that length: the first soon, then every eight minutes."""
        start_s, length_s = min(40.0, 0.4 * seconds), min(60.0, 0.4 * seconds)
        lead_s, budget_w = 0.6 * start_s, round(EVENT_SHARE * self.budget_w)
        starts = [start_s + i * EVENT_EVERY_S for i in range(1 + int(max(0.0, seconds - start_s) // EVENT_EVERY_S))]
        return [Event(at_s, at_s + length_s, budget_w, lead_s) for at_s in starts]


def make_scenario(folder: Path, count: int, budget_w: float, *, gpus: bool) -> Scenario:
    """Choose the machines and write every file.

    Args:
        folder: Where; it must be empty.
        count: How many machines.
        budget_w: Zone budget; 0 takes 60 % of the fleet's peak.
        gpus: Whether GPU servers can be simulated (the fake driver library is compiled from C).
    """
    kinds = [kind if gpus or kind is not GPU else XEON for kind in (_MIX[i % len(_MIX)] for i in range(count))]
    nodes = tuple(
        Node(f"{_NAMES[kind.preset]}-{i + 1}", kind, batch=kind is XEON and i > 0) for i, kind in enumerate(kinds)
    )
    peak_w = sum(kind.peak_w for kind in kinds)
    scenario = Scenario(folder, nodes, budget_w or round(0.6 * peak_w), free_port(), free_port())
    scenario.spec.write_text(json.dumps({"machines": [_machine(scenario, node) for node in nodes]}, indent=1))
    write_policy(scenario, [], 0.0)
    write_keys(folder, "demo", ZONE, [node.name for node in nodes])
    for node in nodes:
        # Fallbacks of all nodes together stay below the budget: whatever dies, the zone keeps to it.
        fallback_w = 0.9 * scenario.budget_w * node.kind.peak_w / peak_w
        scenario.settings(node.name).write_text(_agent_settings(scenario, node, fallback_w))
    write_token(scenario)
    scenario.settings("collector").write_text(_collector_settings(scenario))
    write_intensity(scenario.intensity, time.time())
    scenario.settings("operator").write_text(_operator_settings(scenario))
    return scenario


def write_intensity(path: Path, now_s: float) -> None:
    """Write a made-up profile of three days up to the hour that runs: least at noon, most in the evening."""
    last = int(now_s // 3600)
    rows = []
    for hour in range(last - 72, last + 1):
        angle = 2 * math.pi * (hour % 24 - 19) / 24
        moment = datetime.fromtimestamp(hour * 3600, UTC)
        rows.append(f"{moment:%Y-%m-%dT%H:%M:%SZ},{330 + 90 * math.cos(angle) + 15 * math.cos(3 * angle):.1f}")
    path.write_text("time,g_per_kwh\n" + "\n".join(rows) + "\n")


def write_policy(scenario: Scenario, events: Sequence[Event], began_s: float) -> None:
    """Write the policy; the collector takes it while it runs.

    Args:
        scenario: Whose.
        events: Demand response to announce.
        began_s: Unix time of the demo's second 0.
    """
    batch = ", ".join(f'"{node.name}"' for node in scenario.nodes if node.batch)
    parts = [_POLICY.format(zone=ZONE, budget_w=scenario.budget_w)]
    for number, event in enumerate(events, start=1):
        start, end = (datetime.fromtimestamp(began_s + at_s, UTC) for at_s in (event.start_s, event.end_s))
        parts.append(
            f'[[zones.events]]\nname = "grid operator calls, {number}"\n'
            f"start = {start.isoformat()}\nend = {end.isoformat()}\n"
            f"budget_w = {event.budget_w:.1f}\nlead_s = {event.lead_s:.1f}\n"
        )
    parts.append('[[classes]]\nname = "serving"\nnodes = ["gpu-*"]\npriority = 8\n')
    if batch:
        parts.append(f'[[classes]]\nname = "batch"\nnodes = [{batch}]\npriority = 2\npausable = true\n')
    draft = scenario.policy.with_suffix(".tmp")
    draft.write_text("\n".join(parts))
    draft.replace(scenario.policy)


_POLICY: Final = """\
# What the demo's fleet may draw, who gives way first, and whose work may be paused.
[[zones]]
name = "{zone}"
budget_w = {budget_w:.1f}
"""


def free_port() -> int:
    """Return a TCP port of the loopback that nobody uses now.

    It is below those that Linux gives to outgoing connections, so that none of them takes it before it is used.
    """
    while True:
        port = 10_000 + secrets.randbelow(22_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def real_node_settings(scenario: Scenario, name: str) -> Path:
    """Write settings for this machine's own counters: measured only, never controlled."""
    text = _common(scenario, name) + f"[report]\nledger_s = {LEDGER_S}\n"
    path = scenario.settings(name)
    path.write_text(text)
    return path


def _machine(scenario: Scenario, node: Node) -> dict[str, object]:
    machine: dict[str, object] = {
        "id": node.name,
        "preset": node.kind.preset,
        "profile": STEADY if node.batch else BURST,
        "services": BATCH_SERVICES if node.batch else SERVING_SERVICES,
    }
    return machine | ({"job_pidfile": str(scenario.job(node.name))} if node.batch else {})


def write_keys(folder: Path, fleet: str, zone: str, nodes: Sequence[str]) -> None:
    """Make development keys of a root, a controller, an operator and nodes, and what all of them trust.

    On real machines each key is made where it is used and never leaves it, and the root's stays offline.
    """
    made = {name: new_key(folder / f"{name}.pem") for name in ("controller", "operator", *nodes)}
    root = new_key(folder / "root.pem")
    rows = [Key(raw_public(made[name]).hex(), Role(name), name=name) for name in ("controller", "operator")]
    rows += [Key(raw_public(made[node]).hex(), Role.NODE, name=node, node=node, zone=zone) for node in nodes]
    now = datetime.now(UTC).replace(microsecond=0)
    body = write_trust(Trust(fleet, 1, now, now + timedelta(days=365), rows))
    (folder / "trust.json").write_bytes(sign_trust(body, [root]))


def _common(scenario: Scenario, name: str) -> str:
    state = scenario.state_dir(name)
    return f"""\
fleet = "demo"
zone = "{ZONE}"
node = "{name}"
state_dir = "{state}"
runtime_dir = "{state}"

[mqtt]
port = {scenario.broker_port}

[log]
style = "json"

"""


def _agent_settings(scenario: Scenario, node: Node, fallback_w: float) -> str:
    return (
        _common(scenario, node.name)
        + f"""\
[sources]
sysfs = "{scenario.twins / node.name / "sys"}"
procfs = "{scenario.twins / node.name / "proc"}"

[report]
ledger_s = {LEDGER_S}

[control]
enabled = true
private_key = "{scenario.folder / (node.name + ".pem")}"
trust = "{scenario.folder / "trust.json"}"
root = "{scenario.folder / "root.pub"}"
fallback_w = {fallback_w:.1f}
require_synchronised_clock = false  # issuer and node share one clock here
"""
        + (f'[[control.pausable]]\nname = "job"\npidfile = "{scenario.job(node.name)}"\n' if node.batch else "")
    )


def _collector_settings(scenario: Scenario) -> str:
    return f"""\
fleet = "demo"
state_dir = "{scenario.database.parent}"
policy = "{scenario.policy}"

[mqtt]
port = {scenario.broker_port}

[http]
port = {scenario.http_port}
tokens = "{scenario.tokens}"

[keys]
private_key = "{scenario.folder / "controller.pem"}"
trust = "{scenario.folder / "trust.json"}"
root = "{scenario.folder / "root.pub"}"

[log]
style = "json"

[[zones]]
name = "{ZONE}"
grid = "{GRID}"
pue = 1.2
contract = {{ share = 0.4, g_per_kwh = 0.0, detail = "a PPA, for the demo" }}

[[grids]]
name = "{GRID}"
[[grids.sources]]
type = "file"
name = "demo-profile"
path = "{scenario.intensity}"

[[devices]]
nodes = "gpu-*"
embodied_kg = 2500.0
lifetime_years = 4.0
detail = "made up for the demo"

[[budgets]]
name = "demo-day"
grams_per_day = 40000.0

{LABELS}"""


def _operator_settings(scenario: Scenario) -> str:
    return f"""\
fleet = "demo"
zone = "{ZONE}"
private_key = "{scenario.folder / "operator.pem"}"
trust = "{scenario.folder / "trust.json"}"
root = "{scenario.folder / "root.pub"}"
collector_url = "http://127.0.0.1:{scenario.http_port}"
token_file = "{scenario.tokens}"

[mqtt]
port = {scenario.broker_port}
"""
