"""A fleet of two shards: three brokers, one database, a pair of collectors a zone, machines whose truth is known."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager, suppress

import aiomqtt

from evenwatt_collector.control.types import TTL_S
from evenwatt_wire import Kind
from evenwatt_wire.messages import LeaseState
from tests.chaos.ear import Ear
from tests.chaos.rig import Rig
from tests.scale.nats import Nats
from tests.support import eventually

ZONES = {"north": "hall", "south": "barn"}
"""Zone of each shard."""
_PATIENCE_S = 120.0
"""Eleven processes begin at once."""
_SPARES_S = 16.0
"""Twice the longest wait between two attempts."""


class ScaleRig(Rig):
    """As ``Rig``, with collectors ``north-a``, ``north-b``, ``south-a`` and ``south-b``, and machines in both zones.

    Args:
        folder: An empty one.
        database: URL of an empty one.
        each: How many machines a zone has.
        standby: Whether each shard has a standby.
        takeover_s: Its patience; a machine that is busy with other tests makes everybody slow.
    """

    def __init__(self, folder, database, *, each=1, standby=True, takeover_s=5.0):
        self.standby, self.takeover_s = standby, takeover_s
        nodes = {f"{zone}-{i + 1}": zone for zone in ZONES.values() for i in range(each)}
        super().__init__(folder, nodes=nodes, database=database)

    def make_broker(self):
        self.nats = Nats(self.folder)
        return self.nats

    def name_collectors(self):
        return [f"{shard}-{one}" for shard in ZONES for one in ("ab" if self.standby else "a")]

    def mqtt(self, _port):
        return f'protocol = "3.1.1"\nhosts = {json.dumps(self.nats.hosts)}\nqos = 0'

    def role(self, name):
        shard, _, mine = name.partition("-")
        url = f"http://127.0.0.1:{self.http[f'{shard}-a']}"
        text = f'[shard]\nname = "{shard}"\nurl = "{url}"\n'
        return f'{text}[standby]\nname = "{mine}"\ntakeover_s = {self.takeover_s}' if self.standby else text

    def steered(self, name):
        return ZONES[name.partition("-")[0]]

    async def leased(self, timeout_s=_PATIENCE_S):
        await super().leased(timeout_s)

    async def until_stored(self, mono_ns=None, timeout_s=_PATIENCE_S):
        await super().until_stored(mono_ns, timeout_s)

    async def begin(self, *, twin=True):
        await self.nats.ready()
        await super().begin(twin=twin)

    # --- looking --------------------------------------------------------------------------------------------------

    def active_of(self, shard):
        """Return the name of the shard's active collector, or None."""
        roles = {name: (self.status(name) or {}).get("role") for name in self.http if name.startswith(shard)}
        return next((name for name, role in roles.items() if role in {"active", "alone"}), None)

    def rows(self):
        """Return the nodes as the active collectors see them, by name."""
        active = filter(None, map(self.active_of, ZONES))
        return {row["node"]: row for name in active for row in (self.status(name) or {}).get("nodes", [])}

    def nodes_of(self, shard):
        return [name for name, zone in self.zones.items() if zone == ZONES[shard]]

    # --- measuring ------------------------------------------------------------------------------------------------

    async def kill_collector(self, shard, ear):
        """Kill a shard's active collector; return when each of its nodes held a lease of the next one's, in seconds."""
        name = self.active_of(shard)
        epoch = self.said(name)["epoch"]
        began_s, began_ns = time.monotonic(), time.monotonic_ns()
        self.kill(name)
        await eventually(lambda: self.active_of(shard), f"the standby of {shard} takes over", _PATIENCE_S)
        took = self.said(self.active_of(shard))["epoch"]
        assert took > epoch
        nodes = self.nodes_of(shard)
        await eventually(lambda: all(ear.first_of(took, node) for node in nodes), "it renews leases", _PATIENCE_S)
        await self.until_stored(began_ns)
        self.collector(name)
        await eventually(
            lambda: (self.status(name) or {}).get("role") == "standby", "the dead one stands by", _PATIENCE_S
        )
        return max(ear.first_of(took, node) for node in nodes) - began_s

    async def spares(self, ear):
        """Wait for what a client does within 16 s of a broker's return: hold a second connection there."""
        since_s = time.monotonic()
        await eventually(
            lambda: time.monotonic() - since_s > _SPARES_S and all(ear.renewed_s(node, since_s) for node in self.names),
            "second connections are back",
            _PATIENCE_S,
        )

    async def kill_broker(self, name, ear):
        """Kill a broker; return after how many seconds each node had a lease renewed, and a later record stored."""
        began_s, began_ns = time.monotonic(), time.monotonic_ns()
        self.nats.kill(name)
        await eventually(
            lambda: all(ear.renewed_s(node, began_s) for node in self.names), "leases are renewed again", _PATIENCE_S
        )
        await self.until_stored(began_ns)
        stored_s = time.monotonic() - began_s
        return max(ear.renewed_s(node, began_s) for node in self.names) - began_s, stored_s


class ClusterEar(Ear):
    """Hears by all brokers at once; what comes twice is heard once."""

    def __init__(self, keys):
        super().__init__(keys)
        self._heard = set()

    def take(self, message):
        key = (str(message.topic), bytes(message.payload))
        if key not in self._heard:
            self._heard.add(key)
            super().take(message)

    def renewed_s(self, node, since_s):
        """Return when a node first had a lease granted or renewed after a moment, as it says itself."""
        answered_s = [at_s for at_s, of, _ in self._held if of == node and at_s > since_s]
        ends_s = [at_s + said.lease.remaining_s for at_s, of, said in self.windows
                  if of == node and said.lease.state is LeaseState.LEASED]  # fmt: skip
        told_s = [end_s - TTL_S for end_s in ends_s if end_s - TTL_S > since_s]
        return min(answered_s + told_s, default=None)


@asynccontextmanager
async def listening(rig):
    """Listen to all brokers, again and again where one goes away; begin when every node has said what it holds."""
    ear = ClusterEar(rig.ring)
    tasks = [asyncio.create_task(_listen(ear, port)) for port in rig.nats.ports.values()]
    try:
        await eventually(lambda: ear.leases.known(rig.names), "every node has said what it holds", _PATIENCE_S)
        yield ear
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _listen(ear, port):
    while True:
        with suppress(aiomqtt.MqttError):
            async with aiomqtt.Client("127.0.0.1", port) as client:
                for kind in (Kind.LIVE, Kind.COMMAND, Kind.RENEW, Kind.ACK):
                    await client.subscribe(f"evenwatt/v1/+/+/{kind.value}", qos=0)
                async for message in client.messages:
                    ear.take(message)
        await asyncio.sleep(0.2)
