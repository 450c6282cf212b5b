"""Runs on command: starts and stops them, watches them, tells how they stand. The shell around ``book``.

Each run has a supervisor of its own, which goes on without this agent. So nothing is held here that cannot be read
again: a restarted agent takes its runs up from the disk, and a run whose supervisor is gone without a last word is
lost, which is said. What is slow here (files, engines) has threads of its own; the agent's one worker is kept for its
database, so that no cap waits for a run.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_agent import cgroups, clocks
from evenwatt_agent.jobs import launch, templates
from evenwatt_agent.jobs.account import RunAccount
from evenwatt_agent.jobs.book import End, RunBook, RunRecord, end_of, state_of
from evenwatt_agent.jobs.identity import identity, trouble_with
from evenwatt_agent.jobs.places import (
    forget_run,
    forget_states,
    keep_private,
    leave_word,
    let_in,
    places,
    prepare_places,
)
from evenwatt_agent.jobs.plan import Phase
from evenwatt_agent.jobs.telling import Teller
from evenwatt_agent.jobs.watching import Sight, end_rest, look
from evenwatt_agent.processes import read_process
from evenwatt_daemon import get_logger
from evenwatt_wire import CommandError, Kind, RunReport, RunState
from evenwatt_wire.command import Code, Op

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Awaitable, Callable

    from evenwatt_agent.accounting import Accounting
    from evenwatt_agent.jobs.plan import Standing
    from evenwatt_agent.settings import AgentSettings
    from evenwatt_agent.spool import Spool
    from evenwatt_agent.tasks import Task
    from evenwatt_wire import Command, JobOrder, Template

_PROC: Final = Path("/proc")
_TICK_S: Final = 1.0
_KEEP_S: Final = 60.0
"""How often what a run has used so far is written to the disk, for the case that the agent dies."""
_CLAIM_NS: Final = 15_000_000_000
"""A supervisor that has said nothing for so long after it was asked for never began."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the desk needs of the agent it works in."""

    settings: AgentSettings
    spool: Spool
    accounting: Accounting | None
    boot: str
    kernel_boot: str
    in_worker: Callable[[Callable[[], Any]], Awaitable[Any]]
    sign: Callable[[RunReport], bytes]
    send: Callable[[Kind, bytes], None]
    online: Callable[[], bool]
    event: Callable[..., None]
    task_changed: Callable[[Task], None]


class JobDesk:
    """The runs of this node.

    Raises:
        Failure: this agent cannot run work as the user that its settings name.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around, self._jobs = around, around.settings.jobs
        self._log: Any = get_logger("jobs")
        self._user = identity(self._jobs)
        self._places = places(around.settings)
        prepare_places(self._places, self._user)
        keep_private(around.settings.state_path)
        self._root = cgroups.find_root()
        self._account = RunAccount(around.accounting, around.task_changed)
        self._book = RunBook()
        self._supervisors: dict[str, subprocess.Popen[bytes]] = {}
        self._teller = Teller(around.settings.node, around.boot, self._places, self._say)
        self._kept_s: dict[str, float] = {}
        self._greet = True
        self._hurry = asyncio.Event()

    @property
    def templates(self) -> list[Template]:
        """What may be run, in the words of the wire."""
        return templates.as_told(self._jobs)

    @property
    def slots(self) -> int:
        """What all runs at once may take."""
        return self._jobs.slots

    def let_in(self, socket: Path) -> None:
        """Let runs speak to the task socket, to count their own tasks and units there.

        Raises:
            Failure: its folder or the socket cannot be opened to the user.
        """
        let_in(socket, self._user)

    def check(self, command: Command) -> None:
        """Hold a start or stop against what the owner allows.

        Raises:
            CommandError: ``template``, ``value``, ``limit``, ``slots``, ``run-exists`` or ``run``.
        """
        if command.op is Op.STOP:
            if command.target not in self._book.records:
                raise CommandError("run", f"no run {command.target!r} on this node")
            return
        order = _order(command)
        if order.run in self._book.records:
            raise CommandError("run-exists", f"run {order.run} has been started here before; choose another id")
        template = templates.check_order(order, self._jobs, self._book.templates())
        if why := trouble_with(template, self._jobs, self._user):
            raise CommandError("machine", f"template {template.name!r}: {why}")

    async def act(self, command: Command) -> tuple[Code, str]:
        """Carry out a start or stop that has passed every check."""
        try:
            if command.op is Op.STOP:
                return await self._stop(self._book.records[command.target], "keep" if command.keep else "now")
            return await self._start(_order(command))
        except CommandError as error:
            return Code.REJECTED, f"{error.code}: {error}"

    def greet(self) -> None:
        """Somebody has just come who may not know how runs have ended: tell everything again."""
        self._greet = True
        self._hurry.set()

    async def adopt(self) -> None:
        """Take up the runs of an earlier agent. Those whose machine was restarted since are lost."""
        for body in await self._around.in_worker(self._around.spool.runs):
            try:
                self._book.load(msgspec.json.decode(body, type=RunRecord))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                self._log.error("a run of an earlier agent cannot be read and is left alone", why=str(error))
        for record in self._book.live():
            if record.kernel_boot != self._around.kernel_boot:
                await asyncio.to_thread(end_rest, record, self._places, self._root)
                await self._end(record, End(RunState.LOST, "this machine was restarted while it ran"))
                continue
            self._log.info("taking up a run of an earlier agent", run=record.id, job=record.order.job)
            if self._jobs.template(record.order.template) is None:
                with suppress(CommandError):
                    await self._stop(record, "now")

    async def run(self) -> None:
        """Watch the runs and tell how they stand, until cancelled. The runs go on then."""
        while True:
            try:
                await self._tick()
            except Exception as error:  # noqa: BLE001 (a full disk, say: runs are held by their supervisors)
                self._log.error("cannot watch runs", why=repr(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._hurry.wait()
            self._hurry.clear()

    # --- starting and stopping ------------------------------------------------------------------------------------

    async def _start(self, order: JobOrder) -> tuple[Code, str]:
        template = templates.check_order(order, self._jobs, self._book.templates())
        record = RunRecord(
            order=order,
            kernel_boot=self._around.kernel_boot,
            asked_ms=clocks.wall_ms(),
            asked_ns=time.monotonic_ns(),
            limit_s=templates.limit_s(template, self._jobs, order.limit_s),
            unowned=not template.command,
        )
        await self._keep(record)  # first: whatever happens now, its end will be told
        self._book.records[record.id] = record
        try:
            await asyncio.to_thread(self._launch, record)
            with suppress(sqlite3.Error):  # a full disk: it runs and is told; its supervisor has said who it is
                await self._keep(record)
        except (OSError, CommandError) as error:
            await self._end(record, End(RunState.FAILED, f"cannot be started: {error}"))
            return Code.REJECTED, f"start: {error}"
        if not record.unowned:
            await self._account.begin(record, template.reserve, record.pid, record.start)
        self._around.event("run-started", record.id, job=order.job, template=order.template, called=_label(order))
        self._hurry.set()
        return Code.ACCEPTED, f"run {record.id} of template {order.template} is started"

    def _launch(self, record: RunRecord) -> None:
        order, settings = record.order, self._around.settings
        template = self._jobs.template(order.template)
        if template is None:
            raise CommandError("template", f"{order.template!r} is gone")
        plan = launch.prepare(order, template, settings, self._user, self._root)
        record.cgroup = plan.cgroup.removeprefix(str(self._root)) if plan.cgroup else ""
        supervisor = launch.launch(self._places.run(record.id))
        self._supervisors[record.id] = supervisor
        process = read_process(_PROC, supervisor.pid)
        record.pid, record.start = supervisor.pid, process.start if process is not None else 0

    async def _stop(self, record: RunRecord, how: str) -> tuple[Code, str]:
        if not record.live:
            return Code.ACCEPTED, f"run {record.id} has {record.state} already"
        if record.stop != "now":
            record.stop = how
        await asyncio.to_thread(self._leave_word, record.id, record.stop)
        with suppress(sqlite3.Error):
            await self._keep(record)
        self._hurry.set()
        return Code.ACCEPTED, f"run {record.id} is told to {'save its state and ' if record.stop == 'keep' else ''}end"

    def _leave_word(self, run: str, word: str) -> None:
        try:
            leave_word(self._places.run(run), word)
        except OSError as error:
            raise CommandError("storage", f"{self._places.run(run)}: {error.strerror}") from None

    # --- watching -------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        now_s = time.monotonic()
        for record in self._book.live():
            sight = await asyncio.to_thread(look, record, self._places, self._supervisors.get(record.id))
            await self._take(record, sight, now_s)
        if self._around.online():
            everything, self._greet = self._greet, False
            for record in self._book.ends_to_tell(now_s, everything=everything):
                if record.final is not None:
                    self._say(record.final)
        if old := self._book.outdated(clocks.wall_ms()):
            await self._around.in_worker(lambda: self._around.spool.forget_runs(old))
            await asyncio.to_thread(self._forget, old)

    async def _take(self, record: RunRecord, sight: Sight, now_s: float) -> None:
        standing = sight.standing
        if standing is not None:
            record.duration_s = max(0, (standing.ended_ns or time.monotonic_ns()) - standing.began_ns) * 1e-9
            await self._begin_account(record, standing)
        if standing is not None and standing.phase is Phase.ENDED:
            if self._around.online() and await self._teller.tell_backlog(record):
                return  # the end follows a second later
            await self._end(record, end_of(standing))
            return
        unclaimed = standing is None and not record.pid and time.monotonic_ns() - record.asked_ns < _CLAIM_NS
        if not sight.alive and not unclaimed:
            await asyncio.to_thread(end_rest, record, self._places, self._root)
            why = "its supervisor ended without a word" if standing is not None else "its supervisor never began"
            await self._end(record, End(RunState.LOST, why))
            return
        record.state = state_of(standing, record)
        self._account.read(record)
        if self._around.online():
            await self._teller.tell_if_due(record, now_s)
        if now_s - self._kept_s.get(record.id, now_s - _KEEP_S) >= _KEEP_S:
            self._kept_s[record.id] = now_s
            await self._keep(record)

    async def _begin_account(self, record: RunRecord, standing: Standing) -> None:
        """Count a run whose task is not known: of an earlier agent, or of work that lives elsewhere."""
        if self._account.knows(record.id) or standing.phase is Phase.ENDED:
            return
        pid, start = (standing.main_pid, standing.main_start) if record.unowned else (standing.pid, standing.start)
        template = self._jobs.template(record.order.template)
        if pid:
            await self._account.begin(record, template.reserve if template else 0.0, pid, start)

    async def _end(self, record: RunRecord, end: End) -> None:
        await self._account.end(record)
        record.state, record.ended_ms = end.state, clocks.wall_ms()
        record.final = await self._teller.last_word(record, end)
        try:
            await self._keep(record)
        except sqlite3.Error as error:
            self._log.error("the end of a run is not on the disk", run=record.id, why=str(error))
        await asyncio.to_thread(self._tidy, record)
        self._around.event("run-ended", record.id, job=record.order.job, state=end.state.value, why=end.detail)
        in_use = {each.order.job for each in self._book.live()}
        await asyncio.to_thread(forget_states, self._places, in_use, self._jobs.states)
        self._hurry.set()

    def _tidy(self, record: RunRecord) -> None:
        with suppress(CommandError):
            self._leave_word(record.id, "seen")
        launch.remove_cgroup(record.cgroup, self._root)
        supervisor = self._supervisors.pop(record.id, None)
        if supervisor is not None:
            with suppress(Exception):
                supervisor.wait(1.0)

    def _say(self, report: RunReport) -> None:
        self._around.send(Kind.RUN, self._around.sign(report))

    # --- the disk -------------------------------------------------------------------------------------------------

    async def _keep(self, record: RunRecord) -> None:
        body = msgspec.json.encode(record)
        try:
            await self._around.in_worker(lambda: self._around.spool.keep_run(record.id, body))
        except sqlite3.Error as error:
            if record.id in self._book.records:
                raise
            raise CommandError("storage", f"{self._around.settings.state_path}: {error}") from None

    def _forget(self, runs: list[str]) -> None:
        for run in runs:
            forget_run(self._places, run)


def _order(command: Command) -> JobOrder:
    if command.job is None:
        raise AssertionError("a start has a job: its shape is checked when it is opened")
    return command.job


def _label(order: JobOrder) -> str:
    return order.name or order.template
