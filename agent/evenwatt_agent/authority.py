"""Who may do what to this machine right now: commands in, leases held, the governor told, acknowledgements out.

The shell around ``admission`` (checks), ``hands`` (leases and devices) and ``scribe`` (the audit log). Every call that
writes to the disk or a device goes through one worker; the loop below follows leases as they ramp and end, with every
bin of power.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec.structs import replace

from evenwatt_agent import clocks
from evenwatt_agent.admission import BEGUN, Admission, Clock
from evenwatt_agent.commands import Gate
from evenwatt_agent.hands import Hands
from evenwatt_agent.journal import open_journal
from evenwatt_agent.keys import LOOK_S, NodeKeys
from evenwatt_agent.leases import CONTROLLER
from evenwatt_agent.limits import limits_sha256
from evenwatt_agent.scribe import Scribe
from evenwatt_daemon import get_logger, on_reload
from evenwatt_wire import Ack, Command, CommandError, LeaseInForce, RunReport, seal
from evenwatt_wire.command import WORK, Code, Op, Role
from evenwatt_wire.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from evenwatt_agent.control import Standing
    from evenwatt_agent.governor import Governor
    from evenwatt_agent.jobs.desk import JobDesk
    from evenwatt_agent.journal import Received
    from evenwatt_agent.memory import Memory
    from evenwatt_agent.settings import AgentSettings
    from evenwatt_daemon.audit import Facts
    from evenwatt_wire import Key

T = TypeVar("T")


_STEP_S: Final = 0.25
"""Leases are followed with every bin of power; where none comes for so long, without it."""
_SUMS_S: Final = 5.0
"""How often it is looked whether a sum is old enough for the audit log."""


class Authority:
    """The control side of a node. With control off it refuses every command and holds nothing.

    Args:
        settings: The agent's.
        governor: Its actuators.
        spool: Where marks, answers and the last fallback are remembered.
        in_worker: Runs a blocking call on the one worker thread.
        event: Publishes what happened.
        changed: Publishes anew what this node can hold: a knob has taken over from another, or more has been learned.
    """

    def __init__(
        self,
        settings: AgentSettings,
        governor: Governor,
        spool: Memory,
        in_worker: Callable[[Callable[[], Any]], Awaitable[Any]],
        event: Callable[..., None],
        changed: Callable[[], None],
    ) -> None:
        self._settings, self._governor, self._spool = settings, governor, spool
        self._in_worker, self._event = in_worker, event
        self._log: Any = get_logger("authority")
        control = settings.control
        self._limits = governor.limits
        self._keys = NodeKeys(settings, spool)
        self._look_s = 0.0
        pausable = [item.name for item in control.pausable]
        gate = Gate(settings.fleet, settings.zone, settings.node, self._keys.ring, pausable, control.max_ttl_s)
        self._admission = Admission(gate, self._limits, spool, settings.state_path)
        self._scribe = Scribe(open_journal(settings) if control.enabled else None, in_worker, event)
        self._hands = Hands(settings, governor, spool, in_worker, self._scribe, changed)
        self._power_w = self._sums_s = 0.0
        self._bin = asyncio.Event()
        self._jobs: JobDesk | None = None

    def standing(self) -> Standing:
        """What can be done with this node."""
        return replace(self._hands.standing(), key_id=self._keys.key_id, trust_version=self._keys.version)

    @property
    def trouble(self) -> str:
        """It is in this process: nothing to say."""
        return ""

    @property
    def paused(self) -> list[str]:
        """What is paused now."""
        return self._hands.paused

    @property
    def cap_w(self) -> float | None:
        """Node cap asked of the devices now; None when the machine's own limits apply."""
        return self._hands.cap_w

    def in_force(self) -> LeaseInForce:
        """What caps the node, as the wire says it."""
        return self._hands.in_force()

    def observe(self, now_s: float, total_w: float, power_w: Mapping[str, float]) -> None:
        """Take the latest power; called once a bin."""
        self._power_w = total_w
        self._hands.observe(now_s, total_w, power_w)
        self._bin.set()

    def employ(self, jobs: JobDesk) -> None:
        """From now on commands may also start and stop work."""
        self._jobs = jobs

    def sign(self, report: RunReport) -> bytes:
        """Sign a report on a run with this node's key."""
        return seal(report, self._signing_key())

    async def start(self) -> None:
        """Hold the fallback before anything else can be heard of this node."""
        await self._scribe.begin(self._facts(), self._spool.recall(BEGUN))
        await self._hands.follow(clocks.lease_s())

    async def run(self) -> None:
        """Follow leases and pauses as time passes, and the trust document as it changes."""
        on_reload(self._look_now)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_STEP_S):
                    await self._bin.wait()
            self._bin.clear()
            await self._hands.follow(clocks.lease_s())
            now_s = time.monotonic()
            if now_s >= self._look_s:
                self._look_s = now_s + LOOK_S
                await self._in_worker(lambda: self._keys.look(time.monotonic()))
                await self._tell_keys()
            if now_s >= self._sums_s:
                self._sums_s = now_s + _SUMS_S
                await self._scribe.enter(lambda journal: journal.due(time.monotonic()))

    async def trust(self, document: bytes) -> None:
        """Take a trust document that came over the network, if the root has signed it and it is newer."""
        await self._in_worker(lambda: self._keys.offer(document))
        await self._tell_keys()

    async def stop(self) -> list[str]:
        """Give the machine its own limits back; return what could not be put back."""
        problems: list[str] = await self._in_worker(self._governor.restore)
        await self._scribe.close({"restored": not problems, "why": "; ".join(problems) or None})
        return problems

    async def command(self, payload: bytes, *, retained: bool) -> bytes | None:
        """Check and carry out a command; return the signed acknowledgement, or None if its sender cannot be known."""
        received_s = clocks.lease_s()
        try:
            received = self._open(payload, retained=retained)
        except CommandError as error:
            await self._refuse(error, payload)
            return None
        async with self._hands.turn:
            return await self._answer(received, received_s)

    async def renew(self, payload: bytes, *, retained: bool) -> None:
        """Let this node's lease go on with those of the whole zone, if somebody who may says so."""
        received_s = clocks.lease_s()
        if not self._settings.control.enabled:
            return  # it is meant for others of this zone
        try:
            opened = self._admission.open_renewal(
                payload, clocks.wall_ms(), retained=retained, synchronised=self._synchronised()
            )
            if opened is None:
                return
            key, renewal = opened
            async with self._hands.turn:
                self._keys.ring.get(key.id)  # again: it may have been revoked while this waited for its turn
                renewed = await self._hands.renew(renewal, received_s)
        except CommandError as error:
            await self._refuse(error, payload)
            return
        if renewed:
            await self._scribe.enter(lambda journal: journal.renewed(key, renewal, time.monotonic()))

    async def _refuse(self, error: CommandError, payload: bytes) -> None:
        """Say and write down that something came that nobody known has sent to this node."""
        self._scribe.complain(error, "")
        sha256 = hashlib.sha256(payload).hexdigest()
        await self._scribe.enter(lambda journal: journal.refused(error, payload, sha256, time.monotonic()))

    async def _answer(self, received: Received, received_s: float) -> bytes:
        """Carry a command out if it passes every check, write down what became of it, and sign the answer."""
        before_w = self._governor.outcome.confirmed_w
        try:
            earlier = await self._admit(received)
            if earlier is not None:
                await self._scribe.enter(lambda journal: journal.repeated(received, time.monotonic()))
                return earlier
            code, detail = await self._carry_out(received, received_s)
        except CommandError as error:
            self._scribe.complain(error, received.command.target)
            code = Code.EXPIRED if error.code == "expired" else Code.REJECTED
            detail = f"{error.code}: {error}"
        ack = self._ack(received.command, code, detail, before_w, received_s)
        await self._scribe.enter(lambda journal: journal.answered(received, ack, time.monotonic()))
        answer = seal(replace(ack, audit=self._scribe.head), self._signing_key())
        await self._in_worker(lambda: self._admission.keep(received, answer, clocks.wall_ms()))
        return answer

    def _ack(self, command: Command, code: Code, detail: str, before_w: float | None, received_s: float) -> Ack:
        return Ack(
            self._settings.node,
            command.id,
            command.epoch,
            command.seq,
            code,
            detail[:400],
            clocks.wall_ms(),
            command.cap_w,
            before_w,
            self._governor.outcome.confirmed_w,
            self._power_w,
            clocks.lease_s() - received_s,
        )

    def _facts(self) -> Facts:
        """What is in force from now on, for the audit log."""
        settings = self._settings
        return {
            "node": settings.node,
            "fleet": settings.fleet,
            "zone": settings.zone,
            "version": __version__,
            "kernel_boot": clocks.kernel_boot(),
            "key": self._keys.key_id,
            "trust": self._keys.version,
            "limits": settings.control.limits,
            "limits_sha256": limits_sha256(settings.control.limits),
            "dry_run_only": self._limits.dry_run_only,
        }

    def _look_now(self) -> None:
        self._look_s = 0.0

    async def _tell_keys(self) -> None:
        for name, facts in self._keys.take_news():
            self._event(name, "", **facts)
            await self._scribe.note(name, dict(facts))

    def _open(self, payload: bytes, *, retained: bool) -> Received:
        if not self._settings.control.enabled:
            raise CommandError("control-off", "control is off on this node (control.enabled in its settings)")
        return self._admission.open(payload, retained=retained)

    async def _admit(self, received: Received) -> bytes | None:
        self._keys.ring.get(received.key.id)  # again: it may have been revoked while this command waited for its turn
        clock, journal = Clock(time.monotonic(), clocks.wall_ms(), self._synchronised()), self._scribe.journal
        if journal is None:
            raise CommandError("control-off", "control has ended on this node")
        earlier: bytes | None = await self._in_worker(lambda: self._admission.admit(received, clock, journal))
        return earlier

    async def _carry_out(self, received: Received, received_s: float) -> tuple[Code, str]:
        """Do what passed every check."""
        command, key = received.command, received.key
        if command.op in WORK:
            self._desk().check(command)
        if command.dry_run or (self._limits.dry_run_only and command.op is not Op.PING):
            return await self._hands.would(_holder(key), command)
        try:
            if command.op in WORK:
                return await self._desk().act(command)
            return await self._hands.act(_holder(key), command, received_s)
        except OSError as error:  # it refuses, or is gone
            return Code.LOCKED, str(error)
        except sqlite3.Error as error:
            raise CommandError("storage", f"{self._settings.state_path}: {error}") from None

    def _synchronised(self) -> bool:
        return not self._settings.control.require_synchronised_clock or clocks.clock_synchronised()

    def _desk(self) -> JobDesk:
        if self._jobs is None:
            raise CommandError("jobs-off", "no work is run on command here (jobs.enabled in this node's settings)")
        return self._jobs

    def _signing_key(self) -> Ed25519PrivateKey:
        if self._keys.private is None:
            raise AssertionError("commands are admitted only where control is enabled, which loads the key")
        return self._keys.private


def _holder(key: Key) -> str:
    return CONTROLLER if key.role is Role.CONTROLLER else key.id.hex()
