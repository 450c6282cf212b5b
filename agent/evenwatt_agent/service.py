"""The agent: wires sources, sampler, meter, spool, link, leases and governor together. The only module that knows all.

Three kinds of thread: samplers (read and hand over), one worker (disk and devices, one call at a time, so that neither
needs a lock), and the event loop, which owns every other state. Nothing here decides; it passes on.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from evenwatt_agent import clocks
from evenwatt_agent.authority import Authority
from evenwatt_agent.inventory import Inventory, take_inventory
from evenwatt_agent.link import Link
from evenwatt_agent.local import serve_status
from evenwatt_agent.meter import Batch, Meter, Window
from evenwatt_agent.sampler import BIN_S, Sampler
from evenwatt_agent.spool import Checkpoint, Spool
from evenwatt_agent.transport import Arrived, Will
from evenwatt_daemon import Failure, Notifier, get_logger, lock_folder, settle
from evenwatt_wire import (
    Birth,
    ControllerState,
    Event,
    Kind,
    Ledger,
    Live,
    NodeSummary,
    State,
    Stored,
    Topic,
    decode,
    encode,
)
from evenwatt_wire.messages import NodeState
from evenwatt_wire.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_agent.settings import AgentSettings

T = TypeVar("T")

_FLUSH_S: Final = 5.0
"""How long an orderly stop waits for the collector to confirm the last records."""
_SETTLE_S: Final = 3.0
"""After the start: connecting is over, and what it needed can be given back."""
_SUSPEND_NS: Final = 500_000_000


class Agent:
    """One node's agent, from start to stop."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._log: Any = get_logger("agent")
        self._notify = Notifier()
        self._locks = _only_one(settings)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="worker")
        self._boot = clocks.new_boot_id()
        self._kernel_boot = clocks.kernel_boot()
        self._inventory: Inventory = take_inventory(settings)
        self._spool = Spool(settings.state_path / "agent.db", settings.report.spool_records)
        self._meter = self._make_meter()
        self._authority = Authority(settings, self._inventory.governor, self._spool, self._in_worker, self._event)
        self._link = Link(settings.mqtt, settings.zone, settings.node, self._boot, self._greeting, self, self._receive)
        self._live_seq = self._event_seq = self._ledger_seq = self._dropped = 0
        self._spooled = self._spool.waiting()
        self._suspended_ns = clocks.suspended_ns()
        self._cpu_s = self._own_cpu_s()
        self._latest: Window | None = None
        self._ledger_due_ns = time.monotonic_ns() + int(settings.report.ledger_s * 1e9)
        self._summary_due_ns = 0
        self._alive_due_ns = 0
        self._writes: set[asyncio.Task[None]] = set()
        self._stored = asyncio.Event()
        self._cost = (time.monotonic(), self._cpu_s, 0.0)

    async def run(self, stop: asyncio.Event) -> None:
        """Measure, report and obey until ``stop``; then flush, say good-bye and give the machine its limits back."""
        loop = asyncio.get_running_loop()
        self._say_inventory()
        leave = asyncio.Event()
        samplers = self._samplers(loop)
        try:
            await self._authority.start(time.monotonic())
            loop.call_later(_SETTLE_S, settle)
            async with serve_status(self._settings.socket_path, self._snapshot), asyncio.TaskGroup() as group:
                for sampler in samplers:
                    sampler.start()
                group.create_task(self._link.run(leave, encode(self._state(NodeState.DISCONNECTED))), name="link")
                control = group.create_task(self._authority.run(), name="authority")
                self._notify.ready(f"measuring {self._inventory.formula}")
                await stop.wait()
                self._notify.stopping()
                self._log.info("stopping")
                for sampler in samplers:
                    await asyncio.to_thread(sampler.stop)
                await asyncio.sleep(0)  # the samplers' last batches are in the loop's queue
                control.cancel()
                await self._flush()
                leave.set()
        finally:
            for sampler in samplers:
                sampler.stop()
            await self._in_worker(self._give_back)
            self._worker.shutdown()
            self._spool.close()
            for lock in self._locks:
                os.close(lock)

    # --- what the link asks for -----------------------------------------------------------------------------------

    async def pending(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Ledger records not yet known to be stored (``link.Backlog``)."""
        return await self._in_worker(lambda: self._spool.pending(after, limit))

    def _greeting(self) -> tuple[list[tuple[Kind, bytes]], Will]:
        topic = Topic(self._settings.zone, self._settings.node, Kind.STATE)
        will = Will(str(topic), encode(self._state(NodeState.LOST)))
        words = [
            (Kind.STATE, encode(self._state(NodeState.INIT))),
            (Kind.BIRTH, encode(self._birth())),
            (Kind.STATE, encode(self._state(NodeState.READY))),
        ]
        return words, will

    async def _receive(self, message: Arrived) -> None:
        try:
            topic = Topic.parse(message.topic)
            if topic.kind is Kind.COMMAND:
                ack = await self._authority.command(message.payload, retained=message.retained)
                if ack:
                    self._link.send(Kind.ACK, ack)
                return
            said = decode(topic, message.payload)
        except ValueError as error:  # topics, wire and envelope errors all are
            self._log.warning("message refused", why=str(error))
            return
        if isinstance(said, Stored):
            await self._in_worker(lambda: self._spool.stored(said.boot, said.seq, said.beyond))
            self._spooled = await self._in_worker(self._spool.waiting)
            if said.beyond:
                self._link.resend()
            self._stored.set()
        elif isinstance(said, ControllerState):
            if said.state is NodeState.READY and not message.retained:
                self._link.resend()  # it has just come, and may have missed what was sent before
        elif isinstance(said, State) and said.boot != self._boot and not message.retained:
            self._correct_state(said)

    def _correct_state(self, said: State) -> None:
        if said.state in (NodeState.LOST, NodeState.DISCONNECTED):  # the late will of our predecessor
            self._link.send(Kind.STATE, encode(self._state(NodeState.READY)))
            return
        self._log.error("another agent uses this node's name; give one of them another 'node'", boot=said.boot)

    # --- samples --------------------------------------------------------------------------------------------------

    def _on_batch(self, batch: Batch, primary: bool) -> None:
        suspended_ns = clocks.suspended_ns()
        if suspended_ns - self._suspended_ns > _SUSPEND_NS:
            self._meter.rebase("the machine was suspended", batch.end_ns)
        self._suspended_ns = suspended_ns
        for identity, reason in self._meter.fold(batch):
            self._event("source-lost" if reason else "source-found", identity, why=reason)
        if primary:
            self._on_bin(batch.end_ns)

    def _on_bin(self, now_ns: int) -> None:
        total_w = self._meter.close_bin()
        self._authority.observe(now_ns * 1e-9, total_w, self._meter.domain_power_w())
        if self._meter.window_due():
            self._on_window(self._meter.close_window(now_ns))
        if now_ns >= self._ledger_due_ns:
            self._ledger_due_ns = now_ns + int(self._settings.report.ledger_s * 1e9)
            self._close_ledger(now_ns)
        if now_ns >= self._summary_due_ns:
            self._summary_due_ns = now_ns + int(self._settings.report.summary_s * 1e9)
            self._link.send(Kind.SUMMARY, encode(self._summary()))
        if now_ns >= self._alive_due_ns:
            self._alive_due_ns = now_ns + 1_000_000_000
            self._notify.alive()  # sensors and loop have both made progress to come here

    def _on_window(self, window: Window) -> None:
        self._latest = window
        self._live_seq += 1
        live = Live(
            self._settings.node,
            self._boot,
            self._live_seq,
            window.end_ns,
            clocks.wall_ms(),
            max(1e-3, (window.end_ns - window.start_ns) * 1e-9),
            window.total,
            window.domains,
            window.samples,
            window.late,
            self._authority.in_force(),
        )
        self._link.send_live(encode(live))

    def _close_ledger(self, now_ns: int) -> None:
        entry = self._meter.close_ledger(now_ns)
        self._ledger_seq += 1
        cpu_s = self._own_cpu_s()
        wall_ms = clocks.wall_ms()
        record = Ledger(
            self._settings.node,
            self._boot,
            self._ledger_seq,
            entry.start_ns,
            entry.end_ns,
            wall_ms - (entry.end_ns - entry.start_ns) // 1_000_000,
            wall_ms,
            entry.total,
            entry.domains,
            entry.gaps,
            cpu_s - self._cpu_s,
            self._dropped,
        )
        self._cpu_s = cpu_s
        checkpoint = Checkpoint(self._kernel_boot, entry.end_ns, self._meter.baselines())
        task = asyncio.get_running_loop().create_task(self._write_ledger(record, checkpoint), name="ledger")
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _write_ledger(self, record: Ledger, checkpoint: Checkpoint) -> None:
        payload = encode(record)
        dropped = await self._in_worker(lambda: self._spool.append(record.boot, record.seq, payload, checkpoint))
        if dropped:
            self._dropped += dropped
            self._event("spool-full", "", dropped=dropped)
        self._spooled = await self._in_worker(self._spool.waiting)
        self._link.wake()

    async def _flush(self) -> None:
        """Close the last window and record, and wait a little for the collector to have them."""
        now_ns = time.monotonic_ns()
        self._on_window(self._meter.close_window(now_ns))
        self._close_ledger(now_ns)
        await asyncio.gather(*self._writes)
        self._link.wake()
        self._link.hurry()
        deadline = time.monotonic() + _FLUSH_S
        while self._spooled and time.monotonic() < deadline:
            self._stored.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, deadline - time.monotonic())):
                    await self._stored.wait()
        if self._spooled:
            self._log.warning("records wait on disk for the next start", records=self._spooled)

    # --- words ----------------------------------------------------------------------------------------------------

    def _event(self, name: str, subject: str, **facts: str | float | bool | None) -> None:
        log = self._log.warning if name in _TROUBLE else self._log.info
        log(name, subject=subject, **facts)
        self._event_seq += 1
        event = Event(
            self._settings.node, self._boot, self._event_seq, clocks.wall_ms(), name, subject, list(facts.items())
        )
        self._link.send(Kind.EVENT, encode(event))

    def _state(self, state: NodeState) -> State:
        return State(
            node=self._settings.node, state=state, boot=self._boot, wall_ms=clocks.wall_ms(), version=__version__
        )

    def _birth(self) -> Birth:
        inventory, control = self._inventory, self._settings.control
        return Birth(
            node=self._settings.node,
            boot=self._boot,
            wall_ms=clocks.wall_ms(),
            version=__version__,
            domains=inventory.domains,
            total_formula=inventory.formula,
            actuators=inventory.actuators,
            pausable=sorted(inventory.pausables),
            controllable=self._authority.controllable,
            floor_w=inventory.governor.floor_w,
            ceiling_w=inventory.governor.ceiling_w,
            fallback_w=self._authority.fallback_w,
            priority=control.priority,
            weight=control.weight,
            key_id=self._authority.key_id,
            window_s=self._settings.report.window_s,
            ledger_s=self._settings.report.ledger_s,
        )

    def _summary(self) -> NodeSummary:
        at_s, cpu_s, _ = self._cost
        now_s, now_cpu_s = time.monotonic(), self._own_cpu_s()
        pct = 100.0 * (now_cpu_s - cpu_s) / (now_s - at_s) if now_s > at_s else 0.0
        self._cost = (now_s, now_cpu_s, pct)
        lease = self._authority.in_force()
        latest = self._latest
        return NodeSummary(
            node=self._settings.node,
            boot=self._boot,
            wall_ms=clocks.wall_ms(),
            power_w=latest.total.mean_w if latest else 0.0,
            energy_j=self._meter.total_j,
            quality=latest.total.quality if latest else self._inventory.quality,
            cap_w=lease.cap_w,
            lease=lease.state,
            paused=self._authority.paused,
            cost_cpu_pct=pct,
            rss_mb=_own_rss_mb(),
            spooled=self._spooled,
        )

    def _snapshot(self) -> bytes:
        """What the local socket says: the same figures as on the wire, and how the link is."""
        latest = self._latest
        local = {
            "zone": self._settings.zone,
            "summary": self._summary(),
            "birth": self._birth(),
            "lease": msgspec.structs.asdict(self._authority.in_force()),
            "window": None if latest is None else [msgspec.structs.asdict(d) for d in [latest.total, *latest.domains]],
            "link": {"state": self._link.state.value, "trouble": self._link.trouble, "sent": self._link.sent},
            "problems": [
                {"source": p.source, "path": p.path, "found": p.found, "fix": p.fix} for p in self._inventory.problems
            ],
        }
        return msgspec.json.encode(local)

    # --- start and end --------------------------------------------------------------------------------------------

    def _samplers(self, loop: asyncio.AbstractEventLoop) -> list[Sampler]:
        """The first one closes bins: the fast one, which runs (empty, as a clock) also where all sources are slow."""

        def primary(batch: Batch) -> None:
            loop.call_soon_threadsafe(self._on_batch, batch, True)

        def secondary(batch: Batch) -> None:
            loop.call_soon_threadsafe(self._on_batch, batch, False)

        sources = self._settings.sources
        fast = [probe for probe in self._inventory.probes if not probe.slow]
        slow = [probe for probe in self._inventory.probes if probe.slow]
        samplers = [Sampler(fast, 1 / sources.rate_hz if fast else BIN_S, primary, "sampler")]
        if slow:
            samplers.append(Sampler(slow, 1 / sources.slow_rate_hz, secondary, "slow-sampler"))
        return samplers

    def _make_meter(self) -> Meter:
        """Make the meter and take the first reading of everything: from that moment on no joule is missed."""
        checkpoint = self._spool.checkpoint()
        goes_on = checkpoint is not None and checkpoint.kernel_boot == self._kernel_boot
        first = Sampler(self._inventory.probes, BIN_S, _ignore, "first").sample_once()
        meter = Meter(
            self._inventory.probes,
            self._inventory.domains,
            first.end_ns,
            checkpoint.end_ns if checkpoint and goes_on else first.end_ns,
            max(2, round(self._settings.report.window_s / BIN_S)),
            checkpoint.baselines if checkpoint and goes_on else None,
        )
        meter.fold(first)
        return meter

    def _say_inventory(self) -> None:
        for problem in self._inventory.problems:
            self._log.warning(f"{problem.source}: cannot use {problem.path}", found=problem.found, fix=problem.fix)
        self._log.info(
            "starting",
            node=self._settings.node,
            zone=self._settings.zone,
            total=self._inventory.formula,
            quality=self._inventory.quality.value,
            actuators=[a.id for a in self._inventory.actuators],
            control=self._authority.controllable,
        )

    def _give_back(self) -> None:
        for problem in self._inventory.governor.restore():
            self._log.error("not restored", what=problem)
        self._inventory.close()

    async def _in_worker(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, call)

    def _own_cpu_s(self) -> float:
        times = os.times()
        return times.user + times.system


def _own_rss_mb() -> float:
    """Resident memory of this process in megabytes (proc_pid_statm(5))."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _only_one(settings: AgentSettings) -> list[int]:
    """Refuse a second agent before it touches anything: one per state folder, one that controls per machine."""
    path = settings.state_path
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}; state_dir must be a folder this user can write") from None
    locks = [lock_folder(path, "another agent already runs with this state_dir; stop it, or set another one")]
    if settings.control.enabled:
        already = "another agent already controls this machine; stop it, or switch control off in one of them"
        locks.append(lock_folder(Path(settings.sources.sysfs), already))
    return locks


def _ignore(_batch: Batch) -> None:
    """The first reading is folded by hand, before there is a loop to hand it to."""


_TROUBLE: Final = frozenset({"source-lost", "cap-locked", "lease-expired", "spool-full", "command-refused"})
