"""Hears every window and lease on the broker, so that a test can say what held at every moment."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import aiomqtt

from evenwatt_wire import Live, Topic, TopicError, WireError, decode
from evenwatt_wire.messages import LeaseState
from tests.chaos.rig import ZONE


class Ear:
    """What was heard, with the moment of hearing it."""

    def __init__(self):
        self.windows = []
        self.commands = 0

    def take(self, message):
        try:
            topic = Topic.parse(str(message.topic))
            said = decode(topic, message.payload)
        except (TopicError, WireError):
            self.commands += str(message.topic).endswith("/cmd")
            return
        if isinstance(said, Live):
            self.windows.append((time.monotonic(), topic.node, said))

    def states(self, since_s=0.0):
        """Return who was in which state of its lease since a moment."""
        return {(node, said.lease.state) for at_s, node, said in self.windows if at_s >= since_s}

    def dropped(self, since_s):
        """Return windows of nodes that had lost their lease."""
        return [(node, said.lease.state.value) for at_s, node, said in self.windows
                if at_s >= since_s and said.lease.state is not LeaseState.LEASED]  # fmt: skip

    def most_caps_w(self, since_s=0.0):
        """Return the highest sum of the caps that nodes said they hold at one time."""
        held, most = {}, 0.0
        for at_s, node, said in self.windows:
            if said.lease.cap_w is not None:
                held[node] = said.lease.cap_w
            if at_s >= since_s:
                most = max(most, sum(held.values()))
        return most

    def epochs(self, since_s=0.0):
        """Return the epochs of the leases that nodes held, in the order of their coming."""
        found = [said.lease.epoch for at_s, _, said in self.windows if at_s >= since_s and said.lease.epoch]
        return list(dict.fromkeys(found))

    def first_of(self, epoch):
        """Return when a node first said that it holds a lease of an epoch."""
        return next((at_s for at_s, _, said in self.windows if said.lease.epoch == epoch), None)


@asynccontextmanager
async def listening(port):
    """Listen to a broker; it must be there all the time."""
    ear = Ear()

    async def hear(client):
        async for message in client.messages:
            ear.take(message)

    async with aiomqtt.Client("127.0.0.1", port, identifier="test-ear") as client:
        await client.subscribe(f"evenwatt/v1/{ZONE}/+/live")
        await client.subscribe(f"evenwatt/v1/{ZONE}/+/cmd")
        task = asyncio.create_task(hear(client))
        try:
            yield ear
        finally:
            task.cancel()
            await asyncio.wait([task])
