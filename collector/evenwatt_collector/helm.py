"""The loop that steers: a step each second and sooner when something happens; its orders and renewals signed and sent.

The shell around ``steering`` (what to send) and ``issuer`` (signatures). Whatever is sent passes here, so that nothing
is sent by a collector that is not the active one, and everything stands in the audit log.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_collector.steering import STEP_S
from evenwatt_wire import Kind, Topic
from evenwatt_wire.topics import CONTROLLER_NODE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from evenwatt_collector.auditing import Auditor
    from evenwatt_collector.decided import Decided
    from evenwatt_collector.fleet import Fleet
    from evenwatt_collector.issuer import Issuer, Order
    from evenwatt_collector.keys import ControllerKeys
    from evenwatt_collector.speaking import Speaking
    from evenwatt_collector.standby.tenure import Tenure
    from evenwatt_collector.steering import Steering, ZoneRenewal
    from evenwatt_wire import Ack

_SOONEST_S: Final = 0.1
"""Control steps at most this often, however many jumps are reported."""
_REST: Final = 9.0
"""So many times as long as a step took the loop is left to everything else: a large fleet steps once a second."""
_AT_ONCE: Final = 25
"""Orders signed in one go: about two milliseconds."""


@dataclass(frozen=True, slots=True)
class Crew:
    """What a helm stands on."""

    fleet: Fleet
    steering: Steering
    keys: ControllerKeys
    issuer: Issuer | None
    """None: nothing is steered here."""
    auditor: Auditor | None
    tenure: Tenure | None
    speaking: Speaking
    superseded: Callable[[str, float], bool]
    """Whether another collector steers a zone."""
    prepare: Callable[[float], None]
    """Brings wishes up to date before a step, at this wall time."""
    decided: Callable[[Iterable[Decided]], None]


class Helm:
    """Steers, while it may.

    Args:
        crew: What it stands on.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew, self._issuer, self._steering = crew, crew.issuer, crew.steering
        self._wake = asyncio.Event()
        self._hurried = False
        self.steered_s = time.monotonic()
        """When the loop came round last."""

    # --- what others ask ------------------------------------------------------------------------------------------

    def may_act(self) -> bool:
        """Whether this collector is the active one, as far as it can know."""
        return self._crew.tenure is None or self._crew.tenure.may_act()

    def idle(self) -> str | None:
        """Why nothing can be ordered here now; empty or None if it can."""
        if self._issuer is None:
            return "this collector steers nothing: there is no [keys] table in its settings"
        if not self.may_act():
            return "nobody confirms that this collector is the active one"
        return self._crew.keys.stopped

    def reachable(self, zone: str) -> bool:
        """Whether a zone can be told anything: what cannot be sent must not be granted; nodes fall back themselves."""
        link = self._crew.speaking.link(zone)
        if self._crew.keys.stopped or link is None or not link.online:
            return False
        return not self._crew.superseded(zone, time.monotonic())

    def hurry(self) -> None:
        """Step at once: something has happened."""
        self._hurried = True
        self._wake.set()

    def order(self, zone: str, order: Order, wall_ms: int | None = None) -> None:
        """Sign an order and send it; it is as old as the step that decided it and expires with that."""
        if self._issuer is not None and self.may_act():
            now_s = time.monotonic()
            command, signed = self._issuer.sign(order, now_s, _wall_ms() if wall_ms is None else wall_ms)
            if self._crew.auditor is not None:
                self._crew.auditor.signed(zone, command, signed, now_s)
            self._crew.speaking.publish(Topic(zone, order.node, Kind.COMMAND), signed)

    def answered(self, zone: str, ack: Ack, now_s: float) -> bool:
        """Note an answer whose signature is good; False where it answers no open order of ours."""
        ours = self._issuer is not None and self._issuer.answered(ack, now_s)
        if self._crew.auditor is not None:
            self._crew.auditor.answered(zone, ack, ours=ours, now_s=now_s)
        return ours

    # --- the loop -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Step each second, and sooner when power jumps, an answer makes room, or the first grants may be given."""
        while True:
            self.steered_s = time.monotonic()
            hurried, self._hurried = self._hurried, False
            self._wake.clear()
            self._crew.prepare(time.time())
            await self._step(hurry=hurried)
            took_s = time.monotonic() - self.steered_s
            rest_s = max(_SOONEST_S, min(STEP_S - took_s, _REST * took_s))
            await asyncio.sleep(rest_s)
            quiet_s = self._steering.quiet_until_s - time.monotonic()
            wait_s = STEP_S / 2 - rest_s
            try:
                async with asyncio.timeout(quiet_s if 0 < quiet_s < wait_s else wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _step(self, *, hurry: bool) -> None:
        # Messages expire by the one clock and are counted by the other: whatever holds us up between the two, they end
        # no later than they are counted.
        wall_ms = _wall_ms()
        now_s = time.monotonic()
        if self._issuer is None or self._crew.keys.stopped or not self.may_act():
            return
        self._steering.measured_delay(self._issuer.delay_s())
        orders = self._steering.step(now_s, wall_ms / 1e3, self._crew.fleet, self.reachable, hurry=hurry)
        for renewal in self._steering.renewals:
            self._renew(self._issuer, renewal, wall_ms)
        for number, sending in enumerate(orders, 1):
            self.order(sending.zone, sending.order, wall_ms)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # signing thousands of leases must not keep windows waiting
        self._crew.decided(self._steering.narrator.news.take())

    def _renew(self, issuer: Issuer, renewal: ZoneRenewal, wall_ms: int) -> None:
        """Let leases of a zone go on."""
        if self.may_act():
            signed = issuer.renew(renewal, wall_ms)
            if self._crew.auditor is not None:
                self._crew.auditor.renewed(renewal, issuer.epoch, time.monotonic())
            self._crew.speaking.publish(Topic(renewal.zone, CONTROLLER_NODE, Kind.RENEW), signed)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
