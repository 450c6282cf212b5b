"""Many light nodes in one process: each has the shipping link, spool and ledger desk, and makes up what it measures.

``python bench/storming/nodes.py PLAN.json``. The power in a live window is the second in which it was made, so that
whoever reads it knows how old it is. SIGUSR1 begins a burst of ten times the windows, SIGUSR2 ends it; SIGTERM ends
the making of records, waits until they are stored, and writes the truth.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenwatt_agent.checkpoint import Checkpoint
from evenwatt_agent.clocks import new_boot_id
from evenwatt_agent.counters import Baseline
from evenwatt_agent.ledger_desk import LedgerDesk
from evenwatt_agent.link import Link
from evenwatt_agent.spool import Spool
from evenwatt_agent.transport import Arrived, Will
from evenwatt_daemon.broker import BrokerSettings
from evenwatt_wire import (
    Birth,
    ControllerState,
    Domain,
    DomainEnergy,
    DomainWindow,
    Kind,
    LeaseInForce,
    Ledger,
    Live,
    PartEnergy,
    Quality,
    State,
    Stored,
    Topic,
    decode,
    encode,
)
from evenwatt_wire.messages import LeaseState, NodeState

if TYPE_CHECKING:
    from collections.abc import Callable

M = Quality.MEASURED
BURST = 10
"""Windows at once in a burst, for each that is due."""
LAST_WAIT_S = 120.0


class Node:
    """One node."""

    def __init__(self, plan: dict[str, Any], name: str, worker: ThreadPoolExecutor) -> None:
        self.zone, self.name, self._ledger_s = plan["zone"], name, plan["ledger_s"]
        self._boot, self._random = new_boot_id(), random.Random(name)
        loop = asyncio.get_running_loop()
        spool = Spool(Path(plan["folder"]) / f"{name}.db", plan["spool_records"])

        async def in_worker(call: Callable[[], Any]) -> Any:
            return await loop.run_in_executor(worker, call)

        self.desk = LedgerDesk(spool, in_worker, lambda *_, **__: None)
        broker = BrokerSettings(port=plan["port"])
        self.link = Link(broker, self.zone, name, self._boot, self._greeting, self.desk, self._receive)
        self.live_seq = self.records = 0
        self.energy_j = 0.0
        self._start_ns = time.monotonic_ns()
        self._epoch = -1

    async def make(self, stop: asyncio.Event) -> None:
        """Close a record each period, beginning by chance within the first."""
        wait_s = self._random.uniform(0, self._ledger_s)
        while not stop.is_set():
            await _wait(stop, wait_s)
            await self.close_record()
            wait_s = self._ledger_s

    async def close_record(self) -> None:
        """Write a record of what was drawn since the last one."""
        now_ns, wall_ms = time.monotonic_ns(), time.time_ns() // 1_000_000
        energy_j = self._random.uniform(1_000.0, 30_000.0)
        self.energy_j += energy_j
        self.records += 1
        domains = [DomainEnergy(f"package-{i}", energy_j / 2, self.energy_j / 2, M) for i in range(2)]
        parts = [PartEnergy("unit", f"service-{i}.service", energy_j / 8, 0.0, 0.0, 1.0) for i in range(8)]
        record = Ledger(
            self.name, self._boot, self.records, self._start_ns, now_ns,
            wall_ms - (now_ns - self._start_ns) // 1_000_000, wall_ms,
            DomainEnergy("node", energy_j, self.energy_j, M), domains, [], 0.1, 0, 1.0, parts,
        )  # fmt: skip
        self._start_ns = now_ns
        await self.desk.keep(record, Checkpoint("bench", now_ns, {"package-0": Baseline(1, now_ns)}))
        self.link.wake()

    def say_live(self) -> None:
        """Say a window; its power is the time."""
        self.live_seq += 1
        power_w = time.time() % 10_000
        window = DomainWindow("node", power_w, self.live_seq * 1.0, power_w, power_w, power_w, power_w, M)
        lease = LeaseInForce(LeaseState.UNMANAGED, None)
        now = time.monotonic_ns(), time.time_ns() // 1_000_000
        live = Live(self.name, self._boot, self.live_seq, *now, 1.0, window, [window, window], 100, 0, lease)
        self.link.send_live(encode(live))

    def farewell(self) -> bytes:
        """Return the state that is said at last."""
        return encode(self._state(NodeState.DISCONNECTED))

    def _greeting(self) -> tuple[list[tuple[Kind, bytes]], Will]:
        domains = [
            Domain(id=f"package-{i}", kind="package", source="powercap", quality=M, in_total=True) for i in range(2)
        ]
        birth = Birth(
            node=self.name, boot=self._boot, wall_ms=time.time_ns() // 1_000_000, version="bench", domains=domains,
            total_formula="package-0 + package-1",
        )  # fmt: skip
        words = [(Kind.BIRTH, encode(birth)), (Kind.STATE, encode(self._state(NodeState.READY)))]
        will = Will(str(Topic(self.zone, self.name, Kind.STATE)), encode(self._state(NodeState.LOST)))
        return words, will

    def _state(self, state: NodeState) -> State:
        return State(node=self.name, state=state, boot=self._boot, wall_ms=time.time_ns() // 1_000_000)

    async def _receive(self, message: Arrived) -> None:
        """Take what a collector says, as ``service`` does."""
        try:
            said = decode(Topic.parse(message.topic), message.payload)
        except ValueError:  # what is signed is not for a node without keys
            return
        if isinstance(said, Stored):
            if await self.desk.stored(said) or said.beyond:
                self.link.resend(spread=False)
            self.link.answered(said.window)
        elif isinstance(said, ControllerState):
            await self._on_controller(said, message)

    async def _on_controller(self, said: ControllerState, message: Arrived) -> None:
        if said.state is not NodeState.READY:
            self._epoch = -1
            return
        self.link.spread(said.spread_s)
        if await self.desk.meet(said) or (not message.retained and said.epoch != self._epoch):
            self.link.resend(spread=True)
        if not message.retained:
            self._epoch = said.epoch


async def run(plan: dict[str, Any]) -> None:
    """Run all nodes of a plan until SIGTERM."""
    loop, stop, leave = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    burst: list[int] = [1]
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, partial(burst.__setitem__, 0, BURST))
    loop.add_signal_handler(signal.SIGUSR2, partial(burst.__setitem__, 0, 1))
    worker = ThreadPoolExecutor(1)
    nodes = [Node(plan, name, worker) for name in plan["nodes"]]
    async with asyncio.TaskGroup() as group:
        for node in nodes:
            group.create_task(node.link.run(leave, node.farewell()))
        making = [group.create_task(node.make(stop)) for node in nodes]
        while not stop.is_set():
            for node in nodes:
                for _ in range(burst[0]):
                    node.say_live()
            _write(plan, nodes, done=False)
            await _wait(stop, 1.0)
        await asyncio.wait(making)
        deadline = time.monotonic() + LAST_WAIT_S
        for node in nodes:
            while node.desk.waiting and time.monotonic() < deadline:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.1)
        leave.set()
    _write(plan, nodes, done=True)


def _write(plan: dict[str, Any], nodes: list[Node], *, done: bool) -> None:
    said = {
        "done": done,
        "waiting": sum(node.desk.waiting for node in nodes),
        "live_dropped": sum(node.link.dropped for node in nodes),
        "truth": {node.name: [node.records, node.energy_j] for node in nodes},
    }
    path = Path(plan["truth"])
    path.with_suffix(".new").write_text(json.dumps(said))
    path.with_suffix(".new").replace(path)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


if __name__ == "__main__":
    asyncio.run(run(json.loads(Path(sys.argv[1]).read_text())))
