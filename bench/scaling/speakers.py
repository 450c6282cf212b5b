"""Light nodes for looking at: each says who it is, then a window a second. ``python speakers.py PORT NODES [ZONES]``.

Real messages over one connection, by the wire package alone; nothing obeys here. ``SIGUSR1`` silences the last node.
"""

from __future__ import annotations

import asyncio
import math
import random
import secrets
import signal
import sys
import time

import aiomqtt

from evenwatt_wire import (
    Birth,
    Domain,
    DomainEnergy,
    DomainWindow,
    Kind,
    LeaseInForce,
    Ledger,
    Live,
    NodeSummary,
    Quality,
    State,
    Topic,
    encode,
)
from evenwatt_wire.messages import Actuator, LeaseState, NodeState, WorkPower
from evenwatt_wire.topics import DELIVERY

_SUMMARY_EVERY = 10
_LEDGER_EVERY = 10
_SHARES = {"package-0": 0.34, "package-0/dram": 0.06, "package-1": 0.31, "gpu-0": 0.29}
_WORK = ("training", "search", "render", "nightly")


class Speaker:
    """One node that is not there."""

    def __init__(self, number: int, zone: str) -> None:
        self.name, self.zone, self.number = f"node-{number:04d}", zone, number
        self.boot, self.started_ns = secrets.token_hex(8), time.monotonic_ns()
        self.seq = self.records = 0
        self.total_j = self.recorded_j = 0.0
        self.silent = False
        self._luck = random.Random(number)
        self._phase, self._base_w = self._luck.random() * 6.3, 140 + 240 * self._luck.random()

    def greeting(self) -> list[tuple[Kind, bytes]]:
        """Return what it says first."""
        wall_ms = time.time_ns() // 1_000_000
        domains = [
            Domain(id="package-0", kind="package", source="powercap", quality=Quality.MEASURED, in_total=True),
            Domain(id="package-0/dram", kind="dram", source="powercap", quality=Quality.MEASURED, parent="package-0"),
            Domain(id="package-1", kind="package", source="powercap", quality=Quality.MEASURED, in_total=True),
            Domain(id="gpu-0", kind="gpu", source="nvml", quality=self.quality, in_total=True),
        ]
        knobs = [
            Actuator(id="package-0", kind="powercap", domain="package-0", floor_w=60, ceiling_w=205, default_w=205),
            Actuator(id="gpu-0", kind="nvml", domain="gpu-0", floor_w=100, ceiling_w=300, default_w=300),
        ]
        born = Birth(
            node=self.name, boot=self.boot, wall_ms=wall_ms, version="0.1.0", domains=domains, actuators=knobs,
            total_formula="package-0 + package-1 + gpu-0", controllable=False, floor_w=200, ceiling_w=700,
            fallback_w=350, ledger_s=float(_LEDGER_EVERY),
        )  # fmt: skip
        state = State(node=self.name, state=NodeState.READY, boot=self.boot, wall_ms=wall_ms, version="0.1.0")
        return [(Kind.STATE, encode(state)), (Kind.BIRTH, encode(born))]

    @property
    def quality(self) -> Quality:
        """Every eighth has a GPU whose energy is estimated."""
        return Quality.ESTIMATED if self.number % 8 == 0 else Quality.MEASURED

    def second(self) -> list[tuple[Kind, bytes]]:
        """Return what it says in a second."""
        self.seq += 1
        now_ns, wall_ms = time.monotonic_ns(), time.time_ns() // 1_000_000
        swing = math.sin(self.seq / 20 + self._phase) * 0.25 + self._luck.uniform(-0.06, 0.06)
        power_w = self._base_w * (1 + swing)
        self.total_j += power_w
        parts = [self._window(name, power_w * share) for name, share in _SHARES.items()]
        total = DomainWindow(
            "node", power_w, self.total_j, power_w, power_w * 0.9, power_w * 1.1, power_w * 1.1, self.quality
        )
        work = [WorkPower("workload", _WORK[self.number % 4], power_w * 0.7)]
        lease = LeaseInForce(LeaseState.UNMANAGED, None)
        live = Live(self.name, self.boot, self.seq, now_ns, wall_ms, 1.0, total, parts, 100, 0, lease, work)
        said = [(Kind.LIVE, encode(live))]
        if self.seq % _SUMMARY_EVERY == 1:
            said.append((Kind.SUMMARY, encode(self._summary(power_w, wall_ms))))
        if self.seq % _LEDGER_EVERY == 0:
            said.append((Kind.LEDGER, encode(self._record(now_ns, wall_ms))))
        return said

    def _window(self, name: str, power_w: float) -> DomainWindow:
        share = _SHARES[name]
        quality = self.quality if name == "gpu-0" else Quality.MEASURED
        low_w, high_w = power_w * 0.9, power_w * 1.1
        return DomainWindow(name, power_w, self.total_j * share, power_w, low_w, high_w, high_w, quality)

    def _summary(self, power_w: float, wall_ms: int) -> NodeSummary:
        return NodeSummary(
            node=self.name, boot=self.boot, wall_ms=wall_ms, power_w=power_w, energy_j=self.total_j,
            quality=self.quality, cost_cpu_pct=0.9, rss_mb=38.5, cost_w=0.2, tasks=1,
        )  # fmt: skip

    def _record(self, now_ns: int, wall_ms: int) -> Ledger:
        self.records += 1
        gained_j, self.recorded_j = self.total_j - self.recorded_j, self.total_j
        length_ns = _LEDGER_EVERY * 10**9
        parts = [DomainEnergy(n, gained_j * s, self.total_j * s, Quality.MEASURED) for n, s in _SHARES.items()]
        return Ledger(
            self.name, self.boot, self.records, now_ns - length_ns, now_ns, wall_ms - _LEDGER_EVERY * 1000, wall_ms,
            DomainEnergy("node", gained_j, self.total_j, self.quality), parts, [], 0.1,
        )  # fmt: skip


async def speak(port: int, nodes: int, zones: int) -> None:
    """Speak until killed; their phases are spread over the second."""
    speakers = [Speaker(i, f"hall-{chr(97 + i % zones)}") for i in range(nodes)]
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: setattr(speakers[-1], "silent", True))
    async with aiomqtt.Client("127.0.0.1", port, identifier="speakers", max_queued_outgoing_messages=0) as client:

        async def say(speaker: Speaker, messages: list[tuple[Kind, bytes]]) -> None:
            for kind, payload in messages:
                delivery = DELIVERY[kind]
                qos = 0 if kind is Kind.LIVE else delivery.qos
                await client.publish(str(Topic(speaker.zone, speaker.name, kind)), payload, qos, delivery.retain)

        for speaker in speakers:
            await say(speaker, speaker.greeting())
        print("speaking", flush=True)
        due_s = loop.time()
        while True:
            for speaker in speakers:
                if not speaker.silent:
                    await say(speaker, speaker.second())
                due_s += 1 / nodes
                if (early_s := due_s - loop.time()) > 0.005:
                    await asyncio.sleep(early_s)


if __name__ == "__main__":
    asyncio.run(speak(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1))
