"""Messages that are wrong, forged, replayed, doubled; and too many of them."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import aiomqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evenwatt_wire import Command, Kind, Topic, encode, seal
from evenwatt_wire.command import Op
from tests.chaos.limits import watching
from tests.chaos.rig import ZONE
from tests.chaos.rows.words import energy
from tests.collector.said import live
from tests.support import eventually


class Tape:
    """Records what was said, to say it again."""

    def __init__(self):
        self.said = {Kind.COMMAND: [], Kind.LEDGER: [], Kind.LIVE: []}

    async def run(self, client):
        for kind in self.said:
            await client.subscribe(f"evenwatt/v1/{ZONE}/+/{kind.value}", qos=1)
        async for message in client.messages:
            self.said[Topic.parse(str(message.topic)).kind].append((str(message.topic), bytes(message.payload)))


async def rubbish(rig, full):
    """Say everything that must not be believed."""
    await rig.begin()
    tape = Tape()
    async with aiomqtt.Client("127.0.0.1", rig.broker.port, identifier="attacker") as client:
        listening = asyncio.create_task(tape.run(client))
        await asyncio.sleep(4.0)
        await eventually(lambda: len(tape.said[Kind.LEDGER]) >= 2, "records are on tape")
        listening.cancel()
        await asyncio.wait([listening])
        before = rig.status()
        async with watching(rig) as limits:
            since_s = time.monotonic()
            for _ in range(20 if full else 3):
                await _attack(rig, client, tape)
            await asyncio.sleep(3.0)
            await rig.leased()
            assert limits.most_w(since_s) <= rig.budget_w
            assert min(sum(now.values()) for _, now in limits.seen) > 0.5 * rig.budget_w  # forged ones ask for 1 W
    seen = await eventually(lambda: _counted(rig.status(), before), "what was dropped is counted")
    dropped = {key: seen["messages"][key] - before["messages"][key] for key in ("malformed", "stale", "retained")}
    report = await rig.judge()
    doubled = seen["ledger"]["duplicate"] - before["ledger"]["duplicate"]
    return (f"{dropped['malformed']} malformed, {dropped['stale']} stale, {doubled} doubled records dropped and "
            f"counted; limits at most {limits.most_w(since_s):.0f} W; {energy(report)}")  # fmt: skip


def _counted(seen, before):
    """Return a status that counts wrong messages and doubled records since another, or None."""
    if seen and seen["messages"]["malformed"] > before["messages"]["malformed"]:
        return seen if seen["ledger"]["duplicate"] > before["ledger"]["duplicate"] else None
    return None


async def _attack(rig, client, tape):
    forger = Ed25519PrivateKey.generate()
    now_ms = time.time_ns() // 1_000_000
    for name in rig.names:
        topic = str(Topic(ZONE, name, Kind.COMMAND))
        forged = Command("f", name, os.urandom(16).hex(), 2**40, 1, now_ms, now_ms - 1_000, now_ms + 5_000, Op.CAP,
                         cap_w=1.0, fallback_w=1.0, ttl_s=60.0, target="node", issuer="x", reason="x")  # fmt: skip
        sealed = bytearray(seal(forged, forger))
        await client.publish(topic, bytes(sealed), qos=1)
        sealed[len(sealed) // 2] ^= 1
        await client.publish(topic, bytes(sealed), qos=1, retain=True)
        await client.publish(topic, b"", qos=1, retain=True)
    for kind in Kind:
        await client.publish(f"evenwatt/v1/{ZONE}/{rig.names[0]}/{kind.value}", os.urandom(200), qos=0)
        await client.publish(f"evenwatt/v1/{ZONE}/{rig.names[0]}/{kind.value}", b"\xc1" * 300_000, qos=0)
    for said in (tape.said[Kind.COMMAND], tape.said[Kind.LEDGER][::-1], tape.said[Kind.LIVE][::-1]):
        for topic, payload in said:
            await client.publish(topic, payload, qos=1)


async def burst(rig, full):
    """Many windows of nodes that nobody knows, and every record five times."""
    seconds = 60.0 if full else 4.0
    await rig.begin()
    tape, invented = Tape(), [f"flood-{i}" for i in range(200)]
    before_mb = _resident_mb(rig.children["a"].pid)
    async with aiomqtt.Client("127.0.0.1", rig.broker.port, identifier="flood") as client:
        listening = asyncio.create_task(tape.run(client))
        await asyncio.sleep(2.0)
        until_s, sent = time.monotonic() + seconds, 0
        while time.monotonic() < until_s:
            for name in invented:
                sent += 1
                await client.publish(str(Topic(ZONE, name, Kind.LIVE)), encode(live(name, seq=sent)), qos=0)
            for topic, payload in tape.said[Kind.LEDGER][-40:]:
                await client.publish(topic, payload, qos=0)
            await asyncio.sleep(0.1)
        listening.cancel()
        await asyncio.wait([listening])
    began_s = time.monotonic()
    await eventually(lambda: all((rig.rows().get(name, {}).get("age_s") or 99) < 2 for name in rig.names), "it is live")
    live_s = time.monotonic() - began_s
    await rig.leased()
    grown_mb = _resident_mb(rig.children["a"].pid) - before_mb
    assert grown_mb < 100
    report = await rig.judge()
    return (f"{sent / seconds:.0f} windows a second for {seconds:.0f} s: {grown_mb:.0f} MB more, live view "
            f"{live_s:.1f} s later; {energy(report)}")  # fmt: skip


def _resident_mb(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024
