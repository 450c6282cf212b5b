"""Who may do what to this machine right now: commands in, leases held, the governor told, acknowledgements out.

The shell around ``commands`` (checks), ``leases`` (time) and ``steering`` (devices). Every call that writes to the disk
or a device goes through one worker; the loop below follows leases as they ramp and end, with every bin of power.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from evenwatt_agent import clocks
from evenwatt_agent.actuators import LockedError
from evenwatt_agent.commands import Gate, Mark
from evenwatt_agent.control import Standing
from evenwatt_agent.keys import LOOK_S, NodeKeys
from evenwatt_agent.leases import CONTROLLER, Lease, LeaseBook, PauseBook, Target
from evenwatt_agent.steering import Steering
from evenwatt_daemon import get_logger, on_reload
from evenwatt_wire import Ack, Command, CommandError, Key, LeaseInForce, RunReport, seal
from evenwatt_wire.command import WORK, Code, Op, Role
from evenwatt_wire.messages import LeaseState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from evenwatt_agent.governor import Governor, Outcome
    from evenwatt_agent.jobs.desk import JobDesk
    from evenwatt_agent.memory import Memory
    from evenwatt_agent.settings import AgentSettings, ControlSettings

T = TypeVar("T")

_STEP_S: Final = 0.25
"""Leases are followed with every bin of power; where none comes for so long, without it."""
_RECENT_ANSWERS: Final = 64


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
        self.controllable = control.enabled and governor.ceiling_w > 0
        self._keys = NodeKeys(settings, spool)
        self._look_s = 0.0
        pausable = [item.name for item in control.pausable]
        self._gate = Gate(settings.fleet, settings.zone, settings.node, self._keys.ring, pausable, control.max_ttl_s)
        self._steering = Steering(governor, spool, in_worker, event, changed)
        self._remembered = spool.recall("fallback_w") or ""
        last_w = float(self._remembered) if self._remembered else None
        own_w, most_w = _fallbacks(control, governor)
        self._leases = LeaseBook(own_w, managed=self.controllable, last_fallback_w=last_w, fallback_max_w=most_w)
        self._pauses = PauseBook()
        self._target = Target(LeaseState.UNMANAGED, None)
        self._power_w = 0.0
        self._busy = asyncio.Lock()
        self._bin = asyncio.Event()
        self._recent: dict[str, bytes] = {}
        self._jobs: JobDesk | None = None

    def standing(self) -> Standing:
        """What can be done with this node."""
        return Standing(
            controllable=self.controllable,
            key_id=self._keys.key_id,
            fallback_w=self._leases.fallback_w if self.controllable else 0.0,
            floor_w=self._governor.floor_w,
            ceiling_w=self._governor.ceiling_w,
            actuators=self._governor.actuators(),
            pausable=sorted(item.name for item in self._settings.control.pausable),
        )

    @property
    def paused(self) -> list[str]:
        """What is paused now."""
        return self._pauses.paused

    @property
    def cap_w(self) -> float | None:
        """Node cap asked of the devices now; None when the machine's own limits apply."""
        return self._target.cap_w

    def in_force(self) -> LeaseInForce:
        """What caps the node, as the wire says it."""
        target = self._target
        confirmed_w = self._governor.outcome.confirmed_w if target.cap_w is not None else None
        return LeaseInForce(target.state, confirmed_w, target.epoch, target.seq, max(0.0, target.remaining_s))

    def observe(self, now_s: float, total_w: float, power_w: Mapping[str, float]) -> None:
        """Take the latest power; called once a bin."""
        self._power_w = total_w
        if self.controllable:
            self._steering.observe(now_s, total_w, power_w, self._target.cap_w)
            self._bin.set()

    def employ(self, jobs: JobDesk) -> None:
        """From now on commands may also start and stop work."""
        self._jobs = jobs

    def sign(self, report: RunReport) -> bytes:
        """Sign a report on a run with this node's key."""
        return seal(report, self._signing_key())

    async def start(self, now_s: float) -> None:
        """Hold the fallback before anything else can be heard of this node."""
        if self.controllable:
            await self._follow(now_s)

    async def run(self) -> None:
        """Follow leases and pauses as time passes, and the trust document as it changes."""
        on_reload(self._look_now)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_STEP_S):
                    await self._bin.wait()
            self._bin.clear()
            now_s = time.monotonic()
            if self.controllable:
                await self._follow(now_s)
            for name in self._pauses.expired(now_s):
                await self._resume(name, "the pause ended")
            if now_s >= self._look_s:
                self._look_s = now_s + LOOK_S
                await self._in_worker(lambda: self._keys.look(time.monotonic()))
                self._tell_keys()

    async def trust(self, document: bytes) -> None:
        """Take a trust document that came over the network, if the root has signed it and it is newer."""
        await self._in_worker(lambda: self._keys.offer(document))
        self._tell_keys()

    async def stop(self) -> list[str]:
        """Give the machine its own limits back; return what could not be put back."""
        problems: list[str] = await self._in_worker(self._governor.restore)
        return problems

    async def command(self, payload: bytes, *, retained: bool) -> bytes | None:
        """Check and carry out a command; return the signed acknowledgement, or None if its sender cannot be known."""
        received_s = time.monotonic()
        try:
            key, command = self._admit(payload, retained=retained)
        except CommandError as error:
            self._event("command-refused", "", code=error.code, why=str(error))
            return None
        async with self._busy:
            earlier = self._recent.get(command.id) or await self._in_worker(lambda: self._spool.answer(command.id))
            if earlier is not None:
                return bytes(earlier)
            before_w = self._governor.outcome.confirmed_w
            code, detail = await self._carry_out(key, command)
            ack = Ack(
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
                time.monotonic() - received_s,
            )
            answer = seal(ack, self._signing_key())
            await self._keep_answer(command, answer)
            return answer

    def _look_now(self) -> None:
        self._look_s = 0.0

    def _tell_keys(self) -> None:
        for name, facts in self._keys.take_news():
            self._event(name, "", **facts)

    async def _keep_answer(self, command: Command, answer: bytes) -> None:
        """Remember an answer for when the command comes again.

        Caps are renewed every two seconds and stay off the disk: after a restart a repeated one is caught by its mark.
        """
        self._recent[command.id] = answer
        if len(self._recent) > _RECENT_ANSWERS:
            del self._recent[next(iter(self._recent))]
        if command.op is not Op.CAP:
            with suppress(sqlite3.Error):  # a full disk: after a restart its mark catches the repeated one
                await self._in_worker(lambda: self._spool.keep_answer(command.id, clocks.wall_ms(), answer))

    def _admit(self, payload: bytes, *, retained: bool) -> tuple[Key, Command]:
        if not self._settings.control.enabled:
            raise CommandError("control-off", "control is off on this node (control.enabled in its settings)")
        synchronised = not self._settings.control.require_synchronised_clock or clocks.clock_synchronised()
        return self._gate.admit(payload, retained=retained, now_ms=clocks.wall_ms(), synchronised=synchronised)

    async def _carry_out(self, key: Key, command: Command) -> tuple[Code, str]:
        holder = CONTROLLER if key.role is Role.CONTROLLER else key.id.hex()
        try:
            await self._pass_mark(key.id.hex(), command)
            self._gate.check_local(command)
            if command.op in WORK:
                self._desk().check(command)
        except CommandError as error:
            self._event("command-refused", command.target, code=error.code, why=str(error))
            return Code.REJECTED, f"{error.code}: {error}"
        if command.dry_run:
            return Code.DRY_RUN, f"would {command.op} {command.target}"
        try:
            work = command.op in WORK
            return await (self._desk().act(command) if work else self._act(holder, command))
        except LockedError as error:
            return Code.LOCKED, str(error)

    async def _pass_mark(self, holder: str, command: Command) -> None:
        name = f"mark:{holder}"
        try:
            mark = Mark.parse(await self._in_worker(lambda: self._spool.recall(name))).advance(command)
            await self._in_worker(lambda: self._spool.remember(**{name: str(mark)}))
        except sqlite3.Error as error:  # nothing is carried out that could be replayed after a crash
            where = self._settings.state_path
            raise CommandError("storage", f"{where}: {error}; the mark of this command cannot be kept") from None

    def _desk(self) -> JobDesk:
        if self._jobs is None:
            raise CommandError("jobs-off", "no work is run on command here (jobs.enabled in this node's settings)")
        return self._jobs

    async def _act(self, holder: str, command: Command) -> tuple[Code, str]:
        if command.op is Op.PING:
            return Code.ACCEPTED, "pong"
        if command.op is Op.PAUSE:
            await self._in_worker(lambda: self._governor.pause(command.target))
            renewed = command.target in self._pauses.paused
            self._pauses.pause(command.target, time.monotonic() + command.ttl_s)
            if not renewed:
                self._event("paused", command.target, for_s=command.ttl_s, reason=command.reason)
            return Code.APPLIED, f"{command.target} is paused"
        if command.op is Op.RESUME:
            await self._resume(command.target, command.reason)
            return Code.APPLIED, f"{command.target} runs"
        if not self.controllable:
            return Code.UNSUPPORTED, "this node has no actuator for power"
        if command.op is Op.RELEASE:
            state = self._leases.release(holder, time.monotonic())
            await self._remember_fallback()
            await self._follow_locked(time.monotonic())
            return (Code.RESTORED if state is LeaseState.UNMANAGED else Code.APPLIED), f"now {state}"
        return await self._lease(holder, command)

    async def _lease(self, holder: str, command: Command) -> tuple[Code, str]:
        now_s = time.monotonic()
        cap_w = command.cap_w or 0.0
        fallback_w = cap_w if command.fallback_w is None else command.fallback_w
        self._leases.grant(holder, Lease(cap_w, fallback_w, now_s + command.ttl_s, command.epoch, command.seq))
        await self._remember_fallback()
        outcome = await self._follow_locked(now_s)
        if outcome.locked:
            return Code.LOCKED, outcome.locked
        if outcome.clamped:
            floor_w, ceiling_w = self._governor.floor_w, self._governor.ceiling_w
            return Code.CLAMPED, f"this node holds {floor_w:.0f} to {ceiling_w:.0f} W"
        return Code.APPLIED, command.reason

    async def _remember_fallback(self) -> None:
        """Keep the controller's fallback on the disk: a restarted agent must not start above it."""
        fallback_w = self._leases.controller_fallback_w
        text = "" if fallback_w is None else repr(fallback_w)
        if text != self._remembered:
            await self._in_worker(lambda: self._spool.remember(fallback_w=text))
            self._remembered = text

    async def _follow(self, now_s: float) -> None:
        async with self._busy:
            await self._follow_locked(now_s)

    async def _follow_locked(self, now_s: float) -> Outcome:
        """Bring the devices to what the leases say now."""
        target = self._leases.target(now_s)
        if target.state is not self._target.state:
            self._say_transition(target)
        self._target = target
        return await self._steering.hold(target.cap_w, now_s)

    def _say_transition(self, target: Target) -> None:
        name = {
            LeaseState.RAMPING: "lease-expired",
            LeaseState.LEASED: "lease-granted",
            LeaseState.FALLBACK: "fallback",
            LeaseState.UNMANAGED: "released",
        }[target.state]
        self._event(name, "node", cap_w=target.cap_w, fallback_w=self._leases.fallback_w)

    async def _resume(self, name: str, reason: str) -> None:
        self._pauses.resume(name)
        await self._in_worker(lambda: self._governor.resume(name))
        self._event("resumed", name, reason=reason)

    def _signing_key(self) -> Ed25519PrivateKey:
        if self._keys.private is None:
            raise AssertionError("commands are admitted only where control is enabled, which loads the key")
        return self._keys.private


def _fallbacks(control: ControlSettings, governor: Governor) -> tuple[float, float]:
    """Return the node's own fallback and the highest one that a controller may send.

    Both within what the node can hold, where that is known and not estimated.
    """
    middle_w = (governor.floor_w + governor.ceiling_w) / 2
    least_w, most_w = (0.0, float("inf")) if governor.estimated else (governor.floor_w, governor.ceiling_w)
    own_w = min(most_w, max(least_w, control.fallback_w or middle_w))
    return own_w, min(most_w, max(own_w, control.fallback_max_w or own_w))
