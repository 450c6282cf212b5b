"""Control in another process: an agent's side of its connection to the actuator.

::

    AWAY --connected, welcomed, told how things stand--> THERE --connection ends--> AWAY (event ``actuator-lost``)

While it is away nothing caps this node as far as anybody here knows, and that is what is said of it: not controllable,
no lease. Measuring goes on, also of counters that were lent.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_agent.actuator.channel import Channel
from evenwatt_agent.actuator.manners import Complaints
from evenwatt_agent.actuator.protocol import (
    MAX_ANSWER_BYTES,
    MAX_ORDER_BYTES,
    PART_BYTES,
    VERSION,
    Answer,
    Changed,
    Hello,
    Now,
    Order,
    Power,
    ProtocolError,
    Purpose,
    Refused,
    Renew,
    Said,
    Trust,
    Welcome,
    decode_said,
)
from evenwatt_agent.control import Standing
from evenwatt_daemon import on_reload
from evenwatt_daemon.broker import full_jitter_s
from evenwatt_wire import LeaseInForce
from evenwatt_wire.codec import MAX_RUN_BYTES
from evenwatt_wire.messages import LeaseState
from evenwatt_wire.trust import MAX_TRUST_BYTES
from evenwatt_wire.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from evenwatt_agent.settings import AgentSettings

_WORD_S: Final = 5.0
"""Within this an actuator answers a connection."""
_ANSWER_S: Final = 10.0
"""Within this it answers a command; writing to a device takes milliseconds."""
_PAUSE_MOST_S: Final = 5.0
_NOTHING: Final = Now(Standing(), LeaseInForce(LeaseState.UNMANAGED, None), None, [])


class Remote:
    """Leases and devices that the actuator holds (``control.Control``).

    Args:
        settings: The agent's.
        patience_s: How long an actuator is waited for that is just starting.
        event: Publishes what happened.
        changed: Publishes anew what this node can hold.
    """

    def __init__(
        self, settings: AgentSettings, patience_s: float, event: Callable[..., None], changed: Callable[[], None]
    ) -> None:
        self._path, self._patience_s = settings.actuator.socket, patience_s
        self._event, self._changed = event, changed
        self._channel: Channel | None = None
        self._now, self._told_s = _NOTHING, 0.0
        self._answers: dict[int, asyncio.Future[bytes | None]] = {}
        self._number = 0
        self._document = b""
        """The trust document that came last."""
        self._sending = asyncio.Lock()
        self._complaints = Complaints()
        self._trouble = ""
        """Why there is no connection; empty while there is one, and before the first attempt."""

    @property
    def trouble(self) -> str:
        """Why there is no actuator."""
        return self._trouble

    @property
    def paused(self) -> list[str]:
        """What is paused now."""
        return self._now.paused

    @property
    def cap_w(self) -> float | None:
        """Node cap asked of the devices now."""
        return self._now.cap_w

    def standing(self) -> Standing:
        """What can be done here; nothing while the actuator is away."""
        return self._now.standing

    def in_force(self) -> LeaseInForce:
        """What caps the node; the time that a lease has left runs on here."""
        lease = self._now.lease
        left_s = max(0.0, lease.remaining_s - (time.monotonic() - self._told_s))
        return msgspec.structs.replace(lease, remaining_s=left_s)

    def observe(self, now_s: float, total_w: float, power_w: Mapping[str, float]) -> None:  # noqa: ARG002  (its own clock counts)
        """Pass the power of one bin on; one that does not go through at once is gone."""
        if self._channel is not None:
            self._channel.send(Power(max(0.0, total_w), {name: max(0.0, w) for name, w in power_w.items()}))

    async def start(self) -> None:
        """Wait a little for the actuator, so that the first birth says what it can hold."""
        began_s = time.monotonic()
        while True:
            try:
                await self._connect()
            except (OSError, ProtocolError, TimeoutError) as error:
                if time.monotonic() - began_s >= self._patience_s:
                    self._say_lost(_words(error))
                    return
                await asyncio.sleep(0.1)
            else:
                return

    async def run(self) -> None:
        """Listen, and come back whenever the connection has ended, until cancelled."""
        attempt = 0
        on_reload(_nothing_here)
        while True:
            try:
                if self._channel is None:
                    await asyncio.sleep(min(_PAUSE_MOST_S, full_jitter_s(attempt)))
                    await self._connect()
                attempt = 0
                await self._pass_document()
                await self._listen()
            except (OSError, ProtocolError, TimeoutError) as error:
                attempt += 1
                self._say_lost(_words(error))

    async def command(self, payload: bytes, *, retained: bool) -> bytes | None:
        """Have a command checked and carried out; return the acknowledgement that the actuator signed."""
        self._number += 1
        order = Order(self._number, payload[:MAX_ORDER_BYTES], retained)
        if self._channel is None or not self._channel.send(order):
            self._complain("actuator-lost", f"no actuator: {self._trouble or 'it does not keep up'}")
            return None
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._answers[order.number] = answer
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await answer
        except TimeoutError:
            self._complain("actuator-slow", f"the actuator has not answered within {_ANSWER_S:.0f} s")
            return None
        finally:
            self._answers.pop(order.number, None)

    async def renew(self, payload: bytes, *, retained: bool) -> None:
        """Pass a renewal on; where it cannot be, the lease ends, and the collector grants another."""
        if self._channel is not None and len(payload) <= MAX_RUN_BYTES:
            self._channel.send(Renew(payload, retained))

    async def trust(self, document: bytes) -> None:
        """Pass a trust document on, now and to every actuator that comes; it checks it."""
        if 0 < len(document) <= MAX_TRUST_BYTES:
            self._document = document
            await self._pass_document()

    async def stop(self) -> list[str]:
        """Hang up: the actuator lets leases go on for its grace, and gives the machine its limits back then."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        return []

    async def _connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        channel = Channel(sock, MAX_ANSWER_BYTES)
        try:
            async with asyncio.timeout(_WORD_S):
                await asyncio.get_running_loop().sock_connect(sock, self._path)
                now = await _introduce(channel)
        except BaseException:
            channel.close()
            raise
        self._channel = channel
        self._take(now)
        if self._trouble:
            self._trouble = ""
            self._event("actuator-found", "", controllable=now.standing.controllable)
            self._changed()

    async def _pass_document(self) -> None:
        document = self._document
        parts = [document[i : i + PART_BYTES] for i in range(0, len(document), PART_BYTES)]
        async with self._sending:
            if self._channel is not None:
                await self._channel.send_all(Trust(part, last=i == len(parts) - 1) for i, part in enumerate(parts))

    def _complain(self, code: str, why: str) -> None:
        held_back = self._complaints.admit(code, time.monotonic())
        if held_back is not None:
            self._event("command-refused", "", code=code, why=why, held_back=held_back)

    async def _listen(self) -> None:
        channel = self._channel
        if channel is None:
            return
        try:
            while True:
                self._obey(await _hear(channel))
        finally:
            channel.close()
            self._channel = None

    def _obey(self, said: Now | Answer | Said | Changed | Any) -> None:
        match said:
            case Now():
                self._take(said)
            case Answer():
                answer = self._answers.get(said.number)
                if answer is not None and not answer.done():
                    answer.set_result(said.ack)
            case Said():
                self._event(said.name, said.subject, **said.facts)
            case Changed():
                self._changed()
            case _:
                raise ProtocolError(f"it sent {type(said).__name__.lower()}, which does not belong here")

    def _take(self, now: Now) -> None:
        self._now, self._told_s = now, time.monotonic()

    def _say_lost(self, why: str) -> None:
        """Say once that nobody controls this node, and that it cannot be capped."""
        self._now = _NOTHING
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result(None)
        told, self._trouble = self._trouble, why
        if not told:
            self._event("actuator-lost", "", why=f"{self._path}: {why}")
            self._changed()


def _nothing_here() -> None:
    """Files that are looked at anew are the actuator's; the signal must not end the agent."""


async def _introduce(channel: Channel) -> Now:
    """Ask for control; return how things stand."""
    channel.send(Hello(VERSION, Purpose.CONTROL, __version__))
    welcome, now = await _hear(channel), await _hear(channel)
    if not isinstance(welcome, Welcome) or not isinstance(now, Now):
        raise ProtocolError("the actuator did not say how things stand")
    return now


async def _hear(channel: Channel) -> Any:
    """Return what the actuator says next.

    Raises:
        ProtocolError: it refuses, or has gone.
    """
    raw = await channel.receive()
    if raw is None:
        raise ProtocolError("the actuator has gone")
    said = decode_said(raw)
    if isinstance(said, Refused):
        raise ProtocolError(f"the actuator refuses: {said.why}")
    return said


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_WORD_S:.0f} s"
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return "no actuator runs here (systemctl enable --now evenwatt-actuator); what only root may read is not read"
    if isinstance(error, PermissionError):
        return "not open to this user; run the agent as the user that the actuator's settings name (actuator.user)"
    with suppress(AttributeError):
        return str(error.strerror or error)  # type: ignore[attr-defined]
    return str(error)
