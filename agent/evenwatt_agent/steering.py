"""Keeps the devices at what the leases say now: writes, looks whether it holds, lets the reflex act, tells the changes.

The shell around ``governor`` (devices) and ``reflex`` (bins of power). Authority calls it with every bin.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from evenwatt_agent.reflex import Devices, Reflex

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from evenwatt_agent.governor import Governor, Outcome
    from evenwatt_agent.memory import Memory

_RETRY_S: Final = 5.0
"""How long a device that refuses is left alone: asking ten times a second would not change its mind."""
_VERIFY_S: Final = 1.0
"""How often limits are read again, in case something else has changed them."""
_VERIFY_FRESH_S: Final = 0.2
"""The same after a write: firmware that does not obey may put its own value back a moment later."""
_ANNOUNCE_SHARE: Final = 0.05


class Steering:
    """The caps of one node.

    Args:
        governor: Its actuators.
        spool: Where what was learned of the machine is remembered.
        in_worker: Runs a blocking call on the one worker thread.
        event: Publishes what happened.
        changed: Publishes anew what this node can hold: a knob has taken over from another, or more has been learned.
    """

    def __init__(
        self,
        governor: Governor,
        spool: Memory,
        in_worker: Callable[[Callable[[], Any]], Awaitable[Any]],
        event: Callable[..., None],
        changed: Callable[[], None],
    ) -> None:
        self._governor, self._spool = governor, spool
        self._in_worker, self._event, self._changed = in_worker, event, changed
        self._learned = spool.recall("learned") or ""
        governor.recall(json.loads(self._learned or "{}"))
        self._announced = _ends(governor)
        self._reflex = Reflex()
        self._told = self._loose = ""
        self._retry_s = self._verify_s = 0.0

    def observe(self, now_s: float, total_w: float, power_w: Mapping[str, float], cap_w: float | None) -> None:
        """Take the power of one bin under a cap."""
        self._governor.observe(total_w, power_w)
        change = self._reflex.observe(now_s, total_w, cap_w, self._devices(cap_w))
        if change is None:
            return
        facts = {"cap_w": change.cap_w, "why": change.why}
        if change.begun:
            self._event("reflex-began", "node", power_w=change.power_w, **facts)
        else:
            self._event("reflex-ended", "node", peak_w=change.power_w, **facts, lasted_s=change.lasted_s)

    async def hold(self, cap_w: float | None, now_s: float) -> Outcome:
        """Bring the devices to a cap, or to as much of it as the reflex allows; None gives the machine its own limits.

        One call at a time.
        """
        before = self._governor.outcome
        if cap_w is None and before.requested_w is None:
            return before
        asked_w = None if cap_w is None else self._governor.limits.cap_w(cap_w * self._reflex.share)
        verify = now_s >= self._verify_s and before.requested_w is not None
        retry = now_s >= self._retry_s
        outcome: Outcome = await self._in_worker(lambda: self._carry_out(asked_w, verify=verify, retry=retry))
        if retry:
            self._retry_s = now_s + _RETRY_S
        if verify:
            self._verify_s = now_s + _VERIFY_S
            await self._keep_learned()
        if outcome.requested_w != before.requested_w or (self._loose and not self._governor.stuck):
            self._verify_s = min(self._verify_s, now_s + _VERIFY_FRESH_S)
        self._say_changes()
        return outcome

    def _carry_out(self, asked_w: float | None, *, verify: bool, retry: bool) -> Outcome:
        """Look whether what was written holds, and write what is asked now; on the worker."""
        if verify:
            self._loose = self._governor.verify().locked
        return self._governor.apply(asked_w, retry=retry)

    def _say_changes(self) -> None:
        trouble = self._governor.outcome.locked or self._loose
        if trouble and trouble != self._told:
            self._event("cap-locked", "node", why=trouble)
        if trouble or not self._governor.stuck:
            self._told = trouble
        for replaced in self._governor.take_replaced():
            self._event("knob-replaced", replaced.domain, knob=replaced.knob, by=replaced.by, why=replaced.why)
        ends = _ends(self._governor)
        if _moved(self._announced, ends):
            self._announced = ends
            self._changed()

    async def _keep_learned(self) -> None:
        """Keep what throttles have learned of the machine's power; whole watts, so that it is seldom written."""
        known = self._governor.learned().items()
        learned = {name: [round(floor_w), round(ceiling_w), seen] for name, (floor_w, ceiling_w, seen) in known}
        text = json.dumps(learned) if learned else ""
        if text != self._learned:
            with suppress(sqlite3.Error):  # a full disk: leases go on, and it is tried again
                await self._in_worker(lambda: self._spool.remember(learned=text))
                self._learned = text

    def _devices(self, cap_w: float | None) -> Devices:
        governor, outcome = self._governor, self._governor.outcome
        over = cap_w is not None and outcome.confirmed_w is not None and outcome.confirmed_w > cap_w
        return Devices(governor.floor_w, governor.delay_s, outcome.locked if over else "")


def _ends(governor: Governor) -> tuple[float, float, list[str]]:
    return governor.floor_w, governor.ceiling_w, [ladder.active.id for ladder in governor.ladders]


def _moved(old: tuple[float, float, list[str]], new: tuple[float, float, list[str]]) -> bool:
    """Whether what a node can hold has changed by more than is worth a new birth."""
    far = (abs(b - a) > max(1.0, _ANNOUNCE_SHARE * a) for a, b in zip(old[:2], new[:2], strict=True))
    return old[2] != new[2] or any(far)
