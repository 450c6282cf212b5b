"""Hears every window and lease on the broker, so that a test can say what held at every moment."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from itertools import groupby

import aiomqtt

from evenwatt_wire import CommandError, Kind, Live, Topic, TopicError, WireError, decode
from evenwatt_wire.command import Code, open_ack, open_command, open_renewal
from evenwatt_wire.messages import LeaseState
from tests.chaos.leases import Leases
from tests.chaos.rig import ZONE
from tests.support import eventually

_AGAIN_S = 0.05


class Ear:
    """What was heard: commands and answers with the moment of hearing them, windows with that of their end.

    Args:
        keys: Whose commands and answers count.
    """

    def __init__(self, keys):
        self._keys = keys
        self.windows = []
        self._held = []
        self.leases = Leases()

    def take(self, message):
        at_s, payload = time.monotonic(), bytes(message.payload)
        with suppress(TopicError, WireError, CommandError):
            topic = Topic.parse(str(message.topic))
            if topic.kind is Kind.COMMAND:
                self.leases.asked(topic.zone, open_command(payload, self._keys)[1], at_s)
            elif topic.kind is Kind.RENEW:
                self.leases.went_on(open_renewal(payload, self._keys)[1], at_s)
            elif topic.kind is Kind.ACK:
                self._answered(open_ack(payload, self._keys), at_s)
            else:
                said = decode(topic, payload)
                assert isinstance(said, Live)
                # All are on one machine, so a window's own moment is one of ours; it may be heard much later.
                self.windows.append((said.end_mono_ns / 1e9, topic.node, said))
                self.leases.told(topic.zone, topic.node, said.lease, at_s)

    def _answered(self, ack, at_s):
        self.leases.answered(ack, at_s)
        if ack.requested_w is not None and ack.code in (Code.APPLIED, Code.CLAMPED):
            self._held.append((at_s, ack.node, ack.epoch))

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

    def epochs(self, since_s=0.0, name=None):
        """Return the epochs of the leases that nodes held, or that one held, in the order of their coming."""
        found = [said.lease.epoch for at_s, node, said in self.windows
                 if at_s >= since_s and said.lease.epoch and name in (None, node)]  # fmt: skip
        return [epoch for epoch, _ in groupby(found)] if name else list(dict.fromkeys(found))

    def first_of(self, epoch, name=None):
        """Return when a node, or this one, first said that it holds a lease of an epoch: in an answer or a window."""
        told = [*self._held, *((at_s, node, said.lease.epoch) for at_s, node, said in self.windows)]
        return min((at_s for at_s, node, known in told if known == epoch and name in (None, node)), default=None)


@asynccontextmanager
async def listening(rig):
    """Listen to a rig's broker, again and again where it goes away; begin when it is known what every node holds."""
    ear = Ear(rig.ring)
    task = asyncio.create_task(_listen(ear, rig.broker.port))
    try:
        await eventually(lambda: task.done() or ear.leases.known(rig.names), "every node has said what it holds")
        yield ear
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _listen(ear, port):
    while True:
        try:
            async with aiomqtt.Client("127.0.0.1", port, identifier="test-ear") as client:
                for kind in (Kind.LIVE, Kind.COMMAND, Kind.RENEW, Kind.ACK):
                    await client.subscribe(f"evenwatt/v1/{ZONE}/+/{kind.value}")
                async for message in client.messages:
                    ear.take(message)
        except aiomqtt.MqttError:
            await asyncio.sleep(_AGAIN_S)
