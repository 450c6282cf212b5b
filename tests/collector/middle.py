"""A real collector process on a real broker, and nodes that speak to it with nothing but the wire package."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import sys
import time
from contextlib import asynccontextmanager

import aiomqtt
import httpx
from msgspec.structs import replace

from evenwatt_wire import Ack, Kind, Live, Topic, decode, encode, seal
from evenwatt_wire.command import Code, open_command
from evenwatt_wire.messages import NodeState
from evenwatt_wire.topics import DELIVERY
from tests.collector.said import BOOT, WALL_MS, ZONE, birth, live, state
from tests.support import eventually, free_port, make_key, make_trust, process


class Middle:
    """Folder, keys and settings of a collector."""

    def __init__(self, folder, broker_port):
        self.folder, self.broker_port, self.port = folder, broker_port, free_port()
        self.config, self.log = folder / "collector.toml", folder / "collector.log"
        _, public = make_key(folder / "controller.pem")
        self.node_keys = {name: make_key(folder / f"{name}.pem") for name in ("n1", "n2")}
        keys = [{"public": public, "role": "controller"}]
        node = {"role": "node", "zone": ZONE}
        keys += [{"public": hexed, "node": name, **node} for name, (_, hexed) in self.node_keys.items()]
        self.keys = keys
        self.ring = make_trust(folder, keys)
        self.write()

    def write(self, zone=f'[[zones]]\nname = "{ZONE}"\ngrid = "DE"\n', mqtt="", http="", **top):
        lines = {"fleet": "f", "state_dir": str(self.folder / "state")} | top
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
        text += f"[mqtt]\nport = {self.broker_port}\nkeepalive_s = 10\n{mqtt}\n[http]\nport = {self.port}\n{http}\n"
        text += f'[keys]\nprivate_key = "{self.folder / "controller.pem"}"\ntrust = "{self.folder / "trust.json"}"\n'
        text += f'root = "{self.folder / "root.pub"}"\n'
        self.config.write_text(f'{text}[log]\nstyle = "json"\n{zone}')

    def run(self, **environment):
        command = [sys.executable, "-m", "evenwatt_collector", "--config", str(self.config)]
        return process(command, self.log, **environment)

    def get(self, path):
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=60)

    def status(self):
        return self.get("/api/v1/status").json()

    async def ready(self):
        def answers():
            try:
                return self.get("/readyz").status_code == 200
            except httpx.HTTPError:
                return False

        await eventually(answers, "the collector is ready", 60)

    def node(self, name="n1"):
        return next((node for node in self.status()["nodes"] if node["node"] == name), None)

    def epoch(self):
        with sqlite3.connect(self.folder / "state" / "collector.db") as other:
            return other.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()[0]


class SpeakingNode:
    """One node's connection; it can answer commands as an agent would."""

    def __init__(self, client, middle, name):
        self.client, self.middle, self.name = client, middle, name
        self.stored, self.commands, self.heard, self.tasks = [], [], [], []
        self.cap_w, self.code = None, Code.APPLIED

    async def say(self, message, kind, *, node=None, retain=None):
        if isinstance(message, Live):
            message = replace(message, wall_ms=time.time_ns() // 10**6)  # a node whose clock is wrong is an alarm
        payload = message if isinstance(message, bytes) else encode(message)
        delivery = DELIVERY[kind]
        topic = str(Topic(ZONE, node or self.name, kind))
        await self.client.publish(topic, payload, delivery.qos, delivery.retain if retain is None else retain)

    async def join(self, boot=BOOT, **fields):
        await self.say(state(self.name, boot=boot), Kind.STATE)
        await self.say(birth(self.name, boot=boot, **fields), Kind.BIRTH)

    async def listen(self):
        async for message in self.client.messages:
            topic = Topic.parse(str(message.topic))
            if topic.kind is Kind.STORED:
                self.stored.append(decode(topic, message.payload))
            elif topic.kind is Kind.COMMAND:
                await self.obey(message)
            else:
                self.heard.append((topic, decode(topic, message.payload), message.retain))

    async def obey(self, message):
        assert not message.retain
        _, command = open_command(message.payload, self.middle.ring)
        self.commands.append(command)
        self.cap_w = command.cap_w
        ack = Ack(
            self.name, command.id, command.epoch, command.seq, self.code, "", WALL_MS,
            requested_w=command.cap_w, after_w=command.cap_w,
        )  # fmt: skip
        await self.say(seal(ack, self.middle.node_keys[self.name][0]), Kind.ACK)

    def start_speaking(self, power_w):
        self.tasks.append(asyncio.create_task(self._speak(power_w)))

    async def _speak(self, power_w, first=1):
        for seq in range(first, 10**6):
            await self.say(live(self.name, seq=seq, power_w=min(power_w, self.cap_w or power_w)), Kind.LIVE)
            await asyncio.sleep(0.2)

    def last(self, kind, node):
        return next((said for topic, said, _ in reversed(self.heard) if (topic.kind, topic.node) == (kind, node)), None)


@asynccontextmanager
async def speaking(middle, name="n1"):
    async with aiomqtt.Client("127.0.0.1", middle.broker_port, identifier=f"test-{name}") as client:
        node = SpeakingNode(client, middle, name)
        for topic in (f"{name}/cmd", f"{name}/stored", "_zone/summary", "_ctl/state"):
            await client.subscribe(f"evenwatt/v1/{ZONE}/{topic}", qos=1)
        node.tasks.append(asyncio.create_task(node.listen()))
        try:
            yield node
        finally:
            pending = set(node.tasks)
            while pending:  # before Python 3.12 wait_for can swallow a cancellation
                for task in pending:
                    task.cancel()
                _, pending = await asyncio.wait(pending, timeout=1.0)
            results = await asyncio.gather(*node.tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, aiomqtt.MqttError):
                raise result


def stop(child):
    child.send_signal(signal.SIGTERM)
    return child.wait(60)


def said_of_itself(node, what):
    said = node.last(Kind.STATE, "_ctl")
    return said if said and said.state is NodeState(what) else None
