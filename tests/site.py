"""One simulated machine with its agent's settings and keys, and an ear for everything it says."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections import defaultdict

from evenwatt_daemon.broker import BrokerSettings
from evenwatt_twin.truth import Truth
from evenwatt_wire import Ack, Command, Kind, Ledger, Stored, Topic, decode, encode, seal
from evenwatt_wire.command import Renewal, node_mark, open_ack
from tests.support import eventually, make_key, make_trust, process, wait_for

ZONE, NODE = "hall", "m1"
_VALID_MS = 110_000
"""Long enough for a machine that is busy with other tests."""


def written(path):
    """Return what a file holds that may just be written: unlike one of the kernel's, it is empty for a moment."""
    return wait_for(lambda: path.read_text().strip(), f"{path} has a value")


class Site:
    """A folder with a twin spec, keys and agent settings."""

    def __init__(self, folder, port):
        self.folder = folder
        self.sysfs = folder / "twin" / NODE / "sys"
        spec = {"machines": [{"id": NODE, "preset": "xeon_2s", "profile": {"kind": "steady", "load": 0.8}}]}
        (folder / "twin.json").write_text(json.dumps(spec))
        self.controller, controller_public = make_key(folder / "controller.pem")
        self.operator, operator_public = make_key(folder / "operator.pem")
        _, node_public = make_key(folder / "node.pem")
        keys = [
            {"public": controller_public, "role": "controller"},
            {"public": operator_public, "role": "operator"},
            {"public": node_public, "role": "node", "node": NODE, "zone": ZONE},
        ]
        self.keys = keys
        self.ring = make_trust(folder, keys)
        self.mqtt = BrokerSettings(port=port)
        self.seq = 0
        self.write_settings()

    def write_settings(self, control="", **top):
        lines = {"fleet": "f", "zone": ZONE, "node": NODE, "state_dir": "state", "runtime_dir": "run"} | top
        for key in ("state_dir", "runtime_dir"):
            lines[key] = str(self.folder / lines[key])
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
        text += f"""
[mqtt]
port = {self.mqtt.port}
keepalive_s = 10
[sources]
sysfs = "{self.sysfs}"
[report]
ledger_s = 1.0
summary_s = 1.0
[control]
enabled = true
private_key = "{self.folder / "node.pem"}"
trust = "{self.folder / "trust.json"}"
root = "{self.folder / "root.pub"}"
fallback_w = 250.0
require_synchronised_clock = false
{control}
"""
        (self.folder / "agent.toml").write_text(text)

    def twin(self):
        return process(
            [sys.executable, "-m", "evenwatt_twin", str(self.folder / "twin.json"), "--dir", str(self.folder / "twin")],
            self.folder / "twin.log",
        )

    def await_twin(self):
        log = self.folder / "twin.log"
        wait_for(lambda: log.exists() and '"ready": true' in log.read_text(), "the twin is ready")

    def agent(self):
        return process(
            [sys.executable, "-m", "evenwatt_agent", "--config", str(self.folder / "agent.toml")],
            self.folder / "agent.log",
        )

    def limits(self):
        found = self.sysfs.rglob("constraint_*_power_limit_uw")
        return {str(path): written(path) for path in found}

    def check_truth(self, records, tolerance):
        """Hold what was counted against what was drawn, but for what a twin that was late had not shown at the ends."""
        file, begin_ns, end_ns = (
            self.folder / "twin" / NODE / "truth.bin",
            records[0].start_mono_ns,
            records[-1].end_mono_ns,
        )
        wait_for(lambda: max(Truth.load(file).mono_ns, default=0) > end_ns, "the truth is on disk")
        truth = Truth.load(file)
        true_j = truth.energy_j(begin_ns, end_ns)
        counted_j = sum(record.total.energy_j for record in records)
        assert counted_j <= true_j * (1 + tolerance) + truth.unshown_j(begin_ns)
        assert counted_j >= true_j * (1 - tolerance) - truth.unshown_j(end_ns)

    def command(self, op, *, key=None, **fields):
        self.seq += 1
        now_ms = time.time_ns() // 1_000_000
        base = {"cap_w": None, "ttl_s": 0.0, "target": "node", "epoch": 1, "seq": self.seq} | fields
        command = Command(
            "f", NODE, base.pop("id", uuid.uuid4().hex), base.pop("epoch"), base.pop("seq"),
            now_ms, now_ms - 5_000, now_ms + _VALID_MS, op, **base,
        )  # fmt: skip
        return command, seal(command, key or self.controller)

    def renewal(self, *, key=None, left_out=(), **fields):
        """A renewal of the zone's leases, numbered above all commands so far."""
        self.seq += 1
        now_ms = time.time_ns() // 1_000_000
        base = {"zone": ZONE, "epoch": 1, "seq": self.seq, "ttl_s": 10.0} | fields
        renewal = Renewal(
            "f", base["zone"], base["epoch"], base["seq"], now_ms, now_ms + _VALID_MS, base["ttl_s"],
            b"".join(map(node_mark, left_out)),
        )  # fmt: skip
        return seal(renewal, key or self.controller)


class Listener:
    """Collects everything a node says and acknowledges its ledger like a collector."""

    def __init__(self, connection, ring, *, store=True):
        self.connection, self.ring, self.store = connection, ring, store
        self.said = defaultdict(list)
        self.raw = []

    async def run(self):
        async for message in self.connection.messages():
            topic = Topic.parse(message.topic)
            self.raw.append(message)
            if topic.kind is Kind.ACK:
                self.said[Ack].append(open_ack(message.payload, self.ring))
                continue
            if topic.kind in (Kind.COMMAND, Kind.RENEW, Kind.STORED, Kind.TRUST):
                continue
            said = decode(topic, message.payload)
            self.said[type(said)].append(said)
            if isinstance(said, Ledger) and self.store:
                await self.confirm(said)

    async def confirm(self, record):
        topic = Topic(ZONE, NODE, Kind.STORED)
        await self.connection.publish(str(topic), encode(Stored(record.boot, record.seq)), qos=1, retain=False)

    async def ask(self, payload, *, retain=False):
        topic = Topic(ZONE, NODE, Kind.COMMAND)
        await self.connection.publish(str(topic), payload, qos=1, retain=retain)

    async def renew(self, payload, *, retain=False):
        await self.connection.publish(str(Topic(ZONE, "_ctl", Kind.RENEW)), payload, qos=1, retain=retain)

    async def answer(self, command):
        def found():
            return [ack for ack in self.said[Ack] if ack.command_id == command.id]

        return (await eventually(found, f"{command.op} is acknowledged"))[-1]
