"""What holds this machine's power: leases, pauses, the cap in force, and the devices that are brought to it.

The shell around ``leases`` (time), ``limits`` (what the owner allows) and ``steering`` (devices). Nothing is checked
here: what comes has passed ``admission``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from evenwatt_agent import clocks
from evenwatt_agent.control import Standing
from evenwatt_agent.dry_run import cap_in_words, other_in_words
from evenwatt_agent.leases import CONTROLLER, Lease, LeaseBook, PauseBook, Target
from evenwatt_agent.steering import Steering
from evenwatt_wire import CommandError, LeaseInForce
from evenwatt_wire.command import Code, Op
from evenwatt_wire.messages import LeaseState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from evenwatt_agent.governor import Governor, Outcome
    from evenwatt_agent.memory import Memory
    from evenwatt_agent.scribe import Scribe
    from evenwatt_agent.settings import AgentSettings, ControlSettings
    from evenwatt_wire import Command
    from evenwatt_wire.command import Renewal

_NO_ACTUATOR: Final = "this node has no actuator for power"


class Hands:
    """The leases of a node and its devices.

    Args:
        settings: The agent's.
        governor: Its actuators.
        memory: Where the last fallback is remembered.
        in_worker: Runs a blocking call on the one worker thread.
        scribe: Writes down what caps the node from then on, and publishes it.
        changed: Publishes anew what this node can hold: a knob has taken over from another, or more has been learned.
    """

    def __init__(
        self,
        settings: AgentSettings,
        governor: Governor,
        memory: Memory,
        in_worker: Callable[[Callable[[], Any]], Awaitable[Any]],
        scribe: Scribe,
        changed: Callable[[], None],
    ) -> None:
        self._settings, self._governor, self._memory = settings, governor, memory
        self._in_worker, self._scribe, self._limits = in_worker, scribe, governor.limits
        control = settings.control
        self._controllable = control.enabled and governor.ceiling_w > 0 and not self._limits.dry_run_only
        self._steering = Steering(governor, memory, in_worker, scribe.event, changed)
        self._remembered = memory.recall("fallback_w") or ""
        last_w = float(self._remembered) if self._remembered else None
        own_w, most_w = _fallbacks(control, governor)
        self._leases = LeaseBook(own_w, managed=self._controllable, last_fallback_w=last_w, fallback_max_w=most_w)
        self._pauses = PauseBook()
        self._target = Target(LeaseState.UNMANAGED, None)
        self.turn = asyncio.Lock()
        """Whoever changes something has it."""

    def standing(self) -> Standing:
        """What can be done with this node's power."""
        return Standing(
            controllable=self._controllable,
            fallback_w=self._leases.most_fallback_w if self._controllable else 0.0,
            floor_w=self._limits.cap_w(self._governor.floor_w) or 0.0,
            ceiling_w=self._limits.cap_w(self._governor.ceiling_w) or 0.0,
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
        return self._limits.cap_w(self._target.cap_w) if self._controllable else None

    def in_force(self) -> LeaseInForce:
        """What caps the node, as the wire says it."""
        target = self._target
        confirmed_w = self._governor.outcome.confirmed_w if self.cap_w is not None else None
        return LeaseInForce(target.state, confirmed_w, target.epoch, target.seq, max(0.0, target.remaining_s))

    def observe(self, now_s: float, total_w: float, power_w: Mapping[str, float]) -> None:
        """Take the latest power; called once a bin."""
        if self._controllable:
            self._steering.observe(now_s, total_w, power_w, self.cap_w)
        else:
            self._governor.observe(total_w, power_w)  # a dry run says what it would do with it

    async def follow(self, now_s: float) -> None:
        """Follow leases and pauses as time passes, by ``clocks.lease_s``."""
        if self._controllable:
            async with self.turn:
                await self._follow(now_s)
        for name in self._pauses.expired(now_s):
            try:
                await self._resume(name, "the pause ended")
            except OSError as error:  # mostly gone meanwhile; whatever it is, the caps go on
                self._scribe.event("resume-failed", name, why=str(error))

    async def act(self, holder: str, command: Command, received_s: float) -> tuple[Code, str]:
        """Carry out what has passed every check, and return what became of it. The caller holds ``turn``.

        Args:
            holder: Whose lease it is.
            command: What is asked.
            received_s: When it came, on the clock of leases: they count from then, however long the disk has taken.

        Raises:
            CommandError: ``expired``, where its lease is over before it can begin.
            OSError: a device refused, or is gone.
            sqlite3.Error: what has to be remembered cannot be.
        """
        if command.op is Op.PING:
            return Code.ACCEPTED, "pong"
        if command.op is Op.PAUSE:
            await self._in_worker(lambda: self._governor.pause(command.target))
            renewed = command.target in self._pauses.paused
            self._pauses.pause(command.target, received_s + command.ttl_s)
            if not renewed:
                self._scribe.event("paused", command.target, for_s=command.ttl_s, reason=command.reason)
            return Code.APPLIED, f"{command.target} is paused"
        if command.op is Op.RESUME:
            await self._resume(command.target, command.reason)
            return Code.APPLIED, f"{command.target} runs"
        if not self._controllable:
            return Code.UNSUPPORTED, _NO_ACTUATOR
        return await (self._release(holder) if command.op is Op.RELEASE else self._lease(holder, command, received_s))

    async def renew(self, renewal: Renewal, received_s: float) -> bool:
        """Let the controller's lease go on; False where it does not. The caller holds ``turn``."""
        if not self._controllable or renewal.leaves_out(self._settings.node):
            return False
        renewed = self._leases.renew(renewal.epoch, renewal.seq, received_s, renewal.ttl_s)
        if renewed:
            await self._follow(clocks.lease_s())
        return renewed

    async def would(self, holder: str, command: Command) -> tuple[Code, str]:
        """Say what a command would do."""
        if command.op not in (Op.CAP, Op.RELEASE):
            return Code.DRY_RUN, other_in_words(command)
        if self._governor.ceiling_w <= 0:
            return Code.UNSUPPORTED, _NO_ACTUATOR
        leases, now_s = self._leases.copy(), clocks.lease_s()
        if command.op is Op.CAP:
            leases.grant(holder, self._lease_of(command, now_s))
        else:
            leases.release(holder, now_s)
        target = leases.target(now_s)
        held_w = self._limits.cap_w(target.cap_w)
        plan = [] if held_w is None else await self._in_worker(lambda: self._governor.plan(held_w))
        return Code.DRY_RUN, cap_in_words(command, target, self._limits, plan)

    async def _release(self, holder: str) -> tuple[Code, str]:
        state = self._leases.release(holder, clocks.lease_s())
        await self._remember_fallback(self._leases.controller_fallback_w)
        await self._follow(clocks.lease_s())
        if self.cap_w is None:
            return Code.RESTORED, f"now {state}"
        return Code.APPLIED, f"now {state}, held to {self.cap_w:.0f} W"

    async def _lease(self, holder: str, command: Command, received_s: float) -> tuple[Code, str]:
        lease = self._lease_of(command, received_s)
        if clocks.lease_s() >= lease.expires_s:
            raise CommandError("expired", f"its {command.ttl_s:g} s were over before this node could carry it out")
        if holder == CONTROLLER:  # first: a restarted agent must not start above it
            await self._remember_fallback(lease.fallback_w)
        self._leases.grant(holder, lease)
        outcome = await self._follow(clocks.lease_s())
        if outcome.locked:
            return Code.LOCKED, outcome.locked
        why = self._limits.why(command.cap_w)
        if why:
            return Code.CLAMPED, f"{lease.cap_w:.0f} W: {why}"
        held_w = self.cap_w or 0.0
        lower = f"a lower lease is in force: {held_w:.0f} W" if held_w < lease.cap_w else ""
        if outcome.clamped:
            return Code.CLAMPED, lower or self._clamped(held_w, outcome)
        return Code.APPLIED, lower or command.reason

    def _clamped(self, held_w: float, outcome: Outcome) -> str:
        standing = self.standing()
        if standing.floor_w <= held_w <= standing.ceiling_w:
            return f"{held_w:.0f} W are asked of the devices, and they confirm {outcome.confirmed_w:.0f} W"
        return f"this node holds {standing.floor_w:.0f} to {standing.ceiling_w:.0f} W"

    def _lease_of(self, command: Command, now_s: float) -> Lease:
        """Return the lease that a cap asks for, within the owner's limits."""
        cap_w = self._limits.cap_w(command.cap_w) or 0.0
        fallback_w = cap_w if command.fallback_w is None else self._limits.cap_w(command.fallback_w) or 0.0
        return Lease(cap_w, fallback_w, now_s + command.ttl_s, command.epoch, command.seq)

    async def _remember_fallback(self, fallback_w: float | None) -> None:
        """Keep the controller's fallback on the disk."""
        text = "" if fallback_w is None else repr(fallback_w)
        if text != self._remembered:
            await self._in_worker(lambda: self._memory.remember(fallback_w=text))
            self._remembered = text

    async def _follow(self, now_s: float) -> Outcome:
        """Bring the devices to what the leases say now."""
        target = self._leases.target(now_s)
        if target.state is not self._target.state:
            await self._say_transition(target)
        self._target = target
        return await self._steering.hold(self.cap_w, now_s)

    async def _say_transition(self, target: Target) -> None:
        name = {
            LeaseState.RAMPING: "lease-expired",
            LeaseState.LEASED: "lease-granted",
            LeaseState.FALLBACK: "fallback",
            LeaseState.UNMANAGED: "released",
        }[target.state]
        facts = {"cap_w": target.cap_w, "fallback_w": self._leases.fallback_w}
        self._scribe.event(name, "node", **facts)
        await self._scribe.note(name, {**facts})

    async def _resume(self, name: str, reason: str) -> None:
        self._pauses.resume(name)
        await self._in_worker(lambda: self._governor.resume(name))
        self._scribe.event("resumed", name, reason=reason)
        await self._scribe.note("resumed", {"target": name, "reason": reason})


def _fallbacks(control: ControlSettings, governor: Governor) -> tuple[float, float]:
    """Return the node's own fallback and the highest one that a controller may send.

    Both within what the node can hold, where that is known and not estimated.
    """
    middle_w = (governor.floor_w + governor.ceiling_w) / 2
    least_w, most_w = (0.0, float("inf")) if governor.estimated else (governor.floor_w, governor.ceiling_w)
    own_w = min(most_w, max(least_w, control.fallback_w or middle_w))
    top_w = min(most_w, max(own_w, control.fallback_max_w or own_w))
    limits = governor.limits
    return limits.cap_w(own_w) or 0.0, limits.cap_w(top_w) or 0.0
