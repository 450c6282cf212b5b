"""The agent: wires sources, sampler, meter, spool, link, leases and governor together. The only module that knows all.

Three kinds of thread: samplers (read and hand over), one worker (disk and devices, one call at a time, so that neither
needs a lock), and the event loop, which owns every other state. Nothing here decides; it passes on.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from evenwatt_agent import clocks
from evenwatt_agent.accounting import Accounting
from evenwatt_agent.authority import Authority
from evenwatt_agent.checkpoint import Checkpoint
from evenwatt_agent.inventory import Inventory, look_again, take_inventory
from evenwatt_agent.ledger_desk import LedgerDesk
from evenwatt_agent.link import Link, LinkState
from evenwatt_agent.local import serve_status
from evenwatt_agent.lookout import Lookout
from evenwatt_agent.meter import TOTAL_ID, Batch, Meter, Window
from evenwatt_agent.pacing import Pacer
from evenwatt_agent.sampler import BIN_S, Sampler, read_now
from evenwatt_agent.sources.held import open_file
from evenwatt_agent.spool import Spool
from evenwatt_agent.task_server import TaskDesk, serve_tasks
from evenwatt_agent.transport import Arrived, Will
from evenwatt_agent.words import Speaker
from evenwatt_daemon import Failure, Notifier, get_logger, lock_folder, machine_folder, settle
from evenwatt_wire import (
    ControllerState,
    Event,
    Gap,
    Kind,
    NodeSummary,
    Quality,
    State,
    Stored,
    Topic,
    decode,
    encode,
)
from evenwatt_wire.messages import NodeState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from evenwatt_agent.borrowing import Borrower
    from evenwatt_agent.jobs.desk import JobDesk
    from evenwatt_agent.remote import Remote
    from evenwatt_agent.settings import AgentSettings, SourceSettings
    from evenwatt_agent.sources import Probe
    from evenwatt_agent.tasks import Task

T = TypeVar("T")

_FLUSH_S: Final = 5.0
"""How long an orderly stop waits for the collector to confirm the last records."""
_SETTLE_S: Final = 3.0
"""After the start: connecting is over, and what it needed can be given back."""
_SUSPEND_NS: Final = 500_000_000
_TASK_LEDGER_NS: Final = 1_000_000_000
"""Within this after a task began or ended, a ledger record has it: many that begin at once share one."""


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
        borrower = _borrower(settings) if settings.by_actuator else None
        self._opener = borrower.open if borrower else open_file
        self._inventory: Inventory = take_inventory(settings, self._opener, steer=not settings.by_actuator)
        self._spool = Spool(
            settings.state_path / "agent.db", settings.report.spool_records, int(settings.report.spool_mb * 1e6)
        )
        checkpoint = self._spool.checkpoint()
        goes_on = checkpoint is not None and checkpoint.kernel_boot == self._kernel_boot
        self._meter = self._make_meter(checkpoint if goes_on else None)
        self._accounting = self._make_accounting(checkpoint.account if checkpoint and goes_on else "")
        self._authority = None if borrower else self._make_authority()
        self._control = self._authority or self._make_remote(borrower.patience_s if borrower else 0.0)
        self._desk = LedgerDesk(self._spool, self._in_worker, self._event)
        self._link = Link(
            settings.mqtt, settings.zone, settings.node, self._boot, self._greeting, self._desk, self._receive
        )
        self._speaker = Speaker(settings, self._inventory, self._control, self._boot)
        self._jobs = self._make_jobs()
        self._event_seq = 0
        self._suspended_ns = clocks.suspended_ns()
        self._latest: Window | None = None
        self._pacer = _pacer(settings.sources)
        self._sampling: list[Sampler] = []
        self._ledger_due_ns = time.monotonic_ns() + int(settings.report.ledger_s * 1e9)
        self._summary_due_ns = 0
        self._alive_due_ns = 0
        self._writes: set[asyncio.Task[None]] = set()
        self._lookout = Lookout(
            settings, self._event, lambda: self._desk.waiting, lambda: self._link.state is LinkState.ONLINE
        )
        self._stored = asyncio.Event()
        self._greeted_epoch = -1
        """Of the collector that said ``ready`` last."""
        self._closing = self._flushing = False
        self._read_ns = 0
        """When the latest readings were taken: what a record's energy goes up to."""

    async def run(self, stop: asyncio.Event) -> None:
        """Measure, report and obey until ``stop``; then flush, say good-bye and give the machine its limits back."""
        loop = asyncio.get_running_loop()
        leave = asyncio.Event()
        samplers = self._sampling = self._samplers(loop)
        try:
            await self._control.start()
            self._say_inventory()
            loop.call_later(_SETTLE_S, settle)
            async with self._sockets(), asyncio.TaskGroup() as group:
                for sampler in samplers:
                    sampler.start()
                group.create_task(
                    self._link.run(leave, encode(self._speaker.state(NodeState.DISCONNECTED))), name="link"
                )
                helpers = [
                    group.create_task(self._control.run(), name="authority"),
                    group.create_task(self._rescan(loop, stop), name="rescan"),
                    group.create_task(self._lookout.run(), name="lookout"),
                ]
                if self._jobs is not None:
                    await self._jobs.adopt()
                    helpers.append(group.create_task(self._jobs.run(), name="jobs"))
                if self._accounting is not None:
                    helpers.append(group.create_task(self._accounting.run(self._task_changed), name="accounting"))
                self._notify.ready(f"measuring {self._inventory.formula}")
                await stop.wait()
                self._notify.stopping()
                self._log.info("stopping")
                for sampler in samplers:
                    await asyncio.to_thread(sampler.stop)
                await asyncio.sleep(0)  # the samplers' last batches are in the loop's queue
                for helper in helpers:
                    helper.cancel()
                await self._flush()
                leave.set()
        finally:
            for sampler in samplers:
                sampler.stop()
            for problem in await self._control.stop():
                self._log.error("not restored", what=problem)
            self._inventory.close()
            self._worker.shutdown()
            if self._accounting is not None:
                self._accounting.close()
            self._spool.close()
            for lock in self._locks:
                os.close(lock)

    @property
    def begins_anew(self) -> bool:
        """Whether it ended so that another one counts what measures: a total keeps its meaning while it runs."""
        return self._inventory.outgrown and self._notify.managed

    # --- what the link asks for -----------------------------------------------------------------------------------

    def _greeting(self) -> tuple[list[tuple[Kind, bytes]], Will]:
        topic = Topic(self._settings.zone, self._settings.node, Kind.STATE)
        will = Will(str(topic), encode(self._speaker.state(NodeState.LOST)))
        if self._jobs is not None:
            self._jobs.greet()
        words = [
            (Kind.STATE, encode(self._speaker.state(NodeState.INIT))),
            (Kind.BIRTH, encode(self._speaker.birth())),
            (Kind.STATE, encode(self._speaker.state(NodeState.READY))),
        ]
        return words, will

    async def _receive(self, message: Arrived) -> None:
        try:
            topic = Topic.parse(message.topic)
            if topic.kind is Kind.COMMAND:
                ack = await self._control.command(message.payload, retained=message.retained)
                if ack:
                    self._link.send(Kind.ACK, ack)
                return
            if topic.kind is Kind.RENEW:
                await self._control.renew(message.payload, retained=message.retained)
                return
            if topic.kind is Kind.TRUST:
                await self._control.trust(message.payload)
                return
            said = decode(topic, message.payload)
        except ValueError as error:  # topics, wire and envelope errors all are
            self._log.warning("message refused", why=str(error))
            return
        if isinstance(said, Stored):
            await self._on_stored(said)
        elif isinstance(said, ControllerState):
            await self._on_controller(said, retained=message.retained)
        elif isinstance(said, State) and said.boot != self._boot and not message.retained:
            self._correct_state(said)

    async def _on_stored(self, said: Stored) -> None:
        if await self._desk.stored(said) or said.beyond:
            self._link.resend(spread=False)
        self._link.answered(said.window)
        self._lookout.hearing.answered()
        self._stored.set()

    async def _on_controller(self, said: ControllerState, *, retained: bool) -> None:
        self._lookout.hearing.collector(ready=said.state is NodeState.READY)
        if said.state is not NodeState.READY:
            self._greeted_epoch = -1
            return
        if said.spread_s:
            self._link.spread(said.spread_s)
        again = await self._desk.meet(said)
        if again or (not retained and said.epoch != self._greeted_epoch):
            self._link.resend(spread=True)  # it has just come, and may have missed what was sent before
        if not retained:
            self._greeted_epoch = said.epoch
            if self._jobs is not None:
                self._jobs.greet()

    def _correct_state(self, said: State) -> None:
        if said.state in (NodeState.LOST, NodeState.DISCONNECTED):  # the late will of our predecessor
            self._link.send(Kind.STATE, encode(self._speaker.state(NodeState.READY)))
            return
        self._log.error("another agent uses this node's name; give one of them another 'node'", boot=said.boot)

    # --- samples --------------------------------------------------------------------------------------------------

    def _on_batch(self, batch: Batch, primary: bool) -> None:
        suspended_ns = clocks.suspended_ns()
        if suspended_ns - self._suspended_ns > _SUSPEND_NS:
            self._meter.rebase("the machine was suspended", batch.end_ns)
        self._suspended_ns = suspended_ns
        self._fold(batch)
        if primary:
            self._on_bin(batch.end_ns)

    def _fold(self, batch: Batch) -> None:
        self._read_ns = max(self._read_ns, batch.end_ns)
        for identity, reason in self._meter.fold(batch):
            self._event("source-lost" if reason else "source-found", identity, why=reason)

    def _on_bin(self, now_ns: int) -> None:
        total_w = self._meter.close_bin()
        self._control.observe(now_ns * 1e-9, total_w, self._meter.domain_power_w())
        self._sampling[0].set_rate(self._pacer.observe(now_ns * 1e-9, total_w, self._control.cap_w))
        if self._meter.window_due():
            self._on_window(self._meter.close_window(now_ns))
        if now_ns >= self._ledger_due_ns and not self._closing:
            self._closing = True
            self._keep(self._account_and_close())
        if now_ns >= self._summary_due_ns:
            self._summary_due_ns = now_ns + int(self._settings.report.summary_s * 1e9)
            self._link.send(Kind.SUMMARY, encode(self._summary()))
        if now_ns >= self._alive_due_ns:
            self._alive_due_ns = now_ns + 1_000_000_000
            self._notify.alive()  # sensors and loop have both made progress to come here

    def _on_window(self, window: Window) -> None:
        self._latest = window
        self._link.send_live(
            encode(self._speaker.live(window, self._accounting.work() if self._accounting is not None else []))
        )

    async def _account_and_close(self) -> None:
        """Divide the energy up to now, and close the record in the same breath: its parts sum to its total."""
        try:
            if self._accounting is not None:
                await self._accounting.step()
            self._ledger_due_ns = self._read_ns + int(self._settings.report.ledger_s * 1e9)
            await self._close_ledger(self._read_ns)
        finally:
            self._closing = False

    async def _close_ledger(self, now_ns: int) -> None:
        entry = self._meter.close_ledger(now_ns)
        entry.gaps.extend(Gap(TOTAL_ID, now_ns, now_ns, why, Quality.UNKNOWN) for why in self._desk.take_notes())
        accounting = self._accounting
        account = accounting.take(self._settings.attribution.top) if accounting is not None else ([], [], 0.0)
        memory = accounting.memory() if accounting is not None else ""
        record = self._speaker.ledger(entry, self._desk.dropped, account)
        checkpoint = Checkpoint(self._kernel_boot, entry.end_ns, self._meter.baselines(), memory)
        await self._desk.keep(record, checkpoint)
        self._link.wake()

    async def _flush(self) -> None:
        """Close the last window and record, and wait a little for the collector to have them."""
        await asyncio.gather(*self._writes, return_exceptions=True)
        self._flushing = True  # the samplers' last readings are the end: who ran is seen once more, power is not
        if self._accounting is not None:
            await self._accounting.step()
        self._on_window(self._meter.close_window(self._read_ns))
        await self._close_ledger(self._read_ns)
        self._link.wake()
        self._link.hurry()
        deadline = time.monotonic() + _FLUSH_S
        while self._desk.waiting and time.monotonic() < deadline:
            self._stored.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, deadline - time.monotonic())):
                    await self._stored.wait()
        if self._desk.waiting:
            self._log.warning("records wait on disk for the next start", records=self._desk.waiting)

    # --- words ----------------------------------------------------------------------------------------------------

    def _event(self, name: str, subject: str, **facts: str | float | bool | None) -> None:
        log = self._log.warning if name in _TROUBLE else self._log.info
        log(name, subject=subject, **facts)
        self._event_seq += 1
        event = Event(
            self._settings.node, self._boot, self._event_seq, clocks.wall_ms(), name, subject, list(facts.items())
        )
        self._link.send(Kind.EVENT, encode(event))
        if name in _PAUSES:
            self._summary_due_ns = 0  # what control waits for is said at once

    def _summary(self) -> NodeSummary:
        accounting = self._accounting
        cost_w = accounting.own_w if accounting is not None else 0.0
        tasks = len(accounting.tasks.running()) if accounting is not None else 0
        return self._speaker.summary(self._latest, self._meter.total_j, self._desk.waiting, cost_w, tasks)

    def _snapshot(self) -> bytes:
        trouble = self._link.trouble or self._lookout.trouble
        link: dict[str, Any] = {"state": self._link.state.value, "trouble": trouble, "sent": self._link.sent}
        records, size = self._desk.kept
        link |= {"spool": {"records": records, "mb": size / 1e6, "trouble": self._desk.trouble}}
        account = self._accounting.now() if self._accounting is not None else None
        return self._speaker.snapshot(self._summary(), self._latest, link, account)

    def _expect(self) -> None:
        """Power is about to move."""
        self._sampling[0].set_rate(self._pacer.expect(time.monotonic()))

    def _task_changed(self, task: Task) -> None:
        """A task has begun, ended or vanished: say so, and let the ledger have it within the second."""
        self._expect()
        self._event(f"task-{task.state.value}", task.spec.id, called=task.spec.name, workload=task.spec.workload)
        self._ledger_due_ns = min(self._ledger_due_ns, time.monotonic_ns() + _TASK_LEDGER_NS)

    # --- start and end --------------------------------------------------------------------------------------------

    def _samplers(self, loop: asyncio.AbstractEventLoop) -> list[Sampler]:
        """The first one closes bins: the fast one, which runs (empty, as a clock) also where all sources are slow."""

        def primary(batch: Batch) -> None:
            loop.call_soon_threadsafe(self._on_batch, batch, True)

        samplers = [Sampler(self._fast(), 1 / self._settings.sources.rate_hz, primary, "sampler")]
        slow = [probe for probe in self._inventory.probes if probe.slow]
        if slow:
            samplers.append(self._slow_sampler(slow, loop))
        return samplers

    def _fast(self) -> list[Probe]:
        return [probe for probe in self._inventory.probes if not probe.slow]

    def _slow_sampler(self, probes: list[Probe], loop: asyncio.AbstractEventLoop) -> Sampler:
        def secondary(batch: Batch) -> None:
            loop.call_soon_threadsafe(self._on_batch, batch, False)

        return Sampler(probes, 1 / self._settings.sources.slow_rate_hz, secondary, "slow-sampler")

    async def _rescan(self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        """Look for devices that have appeared, for as long as the agent runs."""
        sources, inventory = self._settings.sources, self._inventory
        while True:
            await asyncio.sleep(sources.rescan_s)
            found = await self._in_worker(lambda: look_again(Path(sources.sysfs), inventory, self._opener))
            fresh = inventory.take_in(found, frozenset(sources.integrated_gpus))
            if fresh:
                self._begin_to_read(fresh, loop)
            if self.begins_anew:
                stop.set()

    def _begin_to_read(self, fresh: list[Probe], loop: asyncio.AbstractEventLoop) -> None:
        """Count what has appeared from now on, and say what this node is made of since."""
        self._meter.add(fresh, self._inventory.domains[-len(fresh) :])
        fast, slow = ([probe for probe in fresh if probe.slow is wanted] for wanted in (False, True))
        self._sampling[0].add(fast)
        if len(self._sampling) > 1:
            self._sampling[1].add(slow)
        elif slow:
            self._sampling.append(self._slow_sampler(slow, loop))
            self._sampling[1].start()
        for probe in fresh:
            self._event("source-found", probe.domain.id, total=self._inventory.formula)
        self._say_birth()

    def _say_birth(self) -> None:
        """Say anew what this node is made of and can hold."""
        self._link.send(Kind.BIRTH, encode(self._speaker.birth()))

    def _make_accounting(self, memory: str) -> Accounting | None:
        if not self._settings.attribution.enabled:
            return None

        def read() -> Batch:
            return Batch(self._read_ns, {}, 0, 0) if self._flushing else read_now(self._fast())

        gpus = self._inventory.gpu_watch()
        proc = Path(self._settings.sources.procfs)
        return Accounting(self._settings.attribution, read, self._fold, self._meter.pools_uj, memory, gpus, proc)

    def _make_authority(self) -> Authority:
        return Authority(
            self._settings, self._inventory.governor, self._spool, self._in_worker, self._event, self._say_birth
        )

    def _make_remote(self, patience_s: float) -> Remote:
        from evenwatt_agent.remote import Remote  # noqa: PLC0415  (only where another process has control)

        return Remote(self._settings, patience_s, self._event, self._say_birth)

    def _make_jobs(self) -> JobDesk | None:
        """Set up running work on command; where it is off nothing of it is loaded, unless runs have to be ended."""
        authority = self._authority
        if authority is None or not self._settings.jobs.enabled:
            if self._spool.runs():
                from evenwatt_agent.jobs.orphans import end_all  # noqa: PLC0415

                self._log.info("jobs are off; runs are told to end", runs=end_all(self._settings, self._spool))
            return None
        from evenwatt_agent.jobs.desk import JobDesk, Surroundings  # noqa: PLC0415

        desk = JobDesk(
            Surroundings(
                settings=self._settings,
                spool=self._spool,
                accounting=self._accounting,
                boot=self._boot,
                kernel_boot=self._kernel_boot,
                in_worker=self._in_worker,
                sign=authority.sign,
                send=self._link.send,
                online=lambda: self._link.state is LinkState.ONLINE,
                event=self._event,
                task_changed=self._task_changed,
            )
        )
        authority.employ(desk)
        self._speaker.offer(desk.templates, desk.slots)
        return desk

    @asynccontextmanager
    async def _sockets(self) -> AsyncIterator[None]:
        async with serve_status(self._settings.socket_path, self._snapshot):
            if self._accounting is None:
                yield
                return
            desk = TaskDesk(self._accounting, self._task_changed)
            async with serve_tasks(self._settings.task_socket_path, desk):
                if self._jobs is not None:
                    self._jobs.let_in(self._settings.task_socket_path)
                yield

    def _make_meter(self, checkpoint: Checkpoint | None) -> Meter:
        """Make the meter and take the first reading of everything: from that moment on no joule is missed."""
        first = Sampler(self._inventory.probes, BIN_S, _ignore, "first").sample_once()
        meter = Meter(
            self._inventory.probes,
            self._inventory.domains,
            first.end_ns,
            checkpoint.end_ns if checkpoint else first.end_ns,
            max(2, round(self._settings.report.window_s / BIN_S)),
            checkpoint.baselines if checkpoint else None,
        )
        meter.fold(first)
        return meter

    def _say_inventory(self) -> None:
        for problem in self._inventory.problems:
            self._log.warning(f"{problem.source}: cannot use {problem.path}", found=problem.found, fix=problem.fix)
        standing = self._control.standing()
        self._log.info(
            "starting",
            node=self._settings.node,
            zone=self._settings.zone,
            total=self._inventory.formula,
            quality=self._inventory.quality.value,
            actuators=[a.id for a in standing.actuators],
            control=standing.controllable,
        )

    async def _in_worker(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, call)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="ledger")
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)


def _pacer(sources: SourceSettings) -> Pacer:
    quiet_hz = min(sources.rate_hz, sources.quiet_rate_hz or 1 / BIN_S)
    return Pacer(sources.rate_hz, quiet_hz, sources.burst_rate_hz or sources.rate_hz)


def _borrower(settings: AgentSettings) -> Borrower:
    from evenwatt_agent.borrowing import Borrower  # noqa: PLC0415  (only where another process has control)

    return Borrower(settings)


def _only_one(settings: AgentSettings) -> list[int]:
    """Refuse a second agent before it touches anything: one per state folder, one that controls per machine."""
    path = settings.state_path
    try:
        # Runs, of another user, reach their own folders below it; nobody lists it.
        path.mkdir(parents=True, exist_ok=True, mode=0o711 if settings.jobs.enabled else 0o700)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}; state_dir must be a folder this user can write") from None
    locks = [lock_folder(path, "another agent already runs with this state_dir; stop it, or set another one")]
    if settings.control.enabled and not settings.by_actuator:
        already = "another agent already controls this machine; stop it, or switch control off in one of them"
        locks.append(lock_folder(machine_folder(settings.sources.sysfs), already))
    return locks


def _ignore(_batch: Batch) -> None:
    """The first reading is folded by hand, before there is a loop to hand it to."""


_PAUSES: Final = frozenset({"paused", "resumed"})
_TROUBLE: Final = frozenset(
    {
        "source-lost",
        "cap-locked",
        "knob-replaced",
        "reflex-began",
        "resume-failed",
        "lease-expired",
        "ledger-unanswered",
        "certificate-ends",
        "spool-full",
        "spool-coarser",
        "spool-trouble",
        "command-refused",
        "audit-failed",
        "audit-trouble",
        "task-gone",
        "actuator-lost",
        "trust-refused",
        "trust-trouble",
    }
)
