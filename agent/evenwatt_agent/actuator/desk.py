"""Who may talk to the actuator, and about what: connections, their purposes and their bounds.

The kernel says who connects (SO_PEERCRED): the agent's user and root are heard, one agent at a time has control.
Nothing that is sent can stop the actuator: what does not fit ends its own connection, and is logged once a minute.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_agent.actuator.channel import Channel, Peer, peer_of
from evenwatt_agent.actuator.manners import Complaints, Pace
from evenwatt_agent.actuator.protocol import (
    MAX_BYTES,
    VERSION,
    Answer,
    Borrow,
    Changed,
    Hello,
    Lent,
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
    decode_asked,
)
from evenwatt_daemon import get_logger
from evenwatt_wire.trust import MAX_TRUST_BYTES
from evenwatt_wire.version import __version__

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Coroutine
    from typing import Protocol

    class House(Protocol):
        """What stands behind the desk (``service.Actuator``)."""

        async def arrive(self) -> None:
            """An agent takes control; raises :class:`ProtocolError` where it cannot."""

        def leave(self) -> None:
            """It has gone."""

        def observe(self, power: Power) -> None:
            """Take the power of one bin."""

        async def command(self, payload: bytes, *, retained: bool) -> bytes | None:
            """Check and carry out a command."""

        async def renew(self, payload: bytes, *, retained: bool) -> None:
            """Check a renewal of the zone's leases, and let this node's go on."""

        async def trust(self, document: bytes) -> None:
            """Take a trust document, if the root has signed it and it is newer."""

        def now(self) -> Now:
            """How things stand."""

        async def counters(self) -> list[str]:
            """Files that are lent."""

        async def open_counter(self, path: str) -> int:
            """Open one of them; raises :class:`ProtocolError` or :class:`OSError`."""


_HELLO_S: Final = 5.0
"""Within this a connection says what it wants."""
_PUSH_S: Final = 0.1
"""How often it is looked whether something has changed that the agent must know: once a bin."""
_COMINGS_S: Final = 10.0
"""How often it is logged that an agent has come or gone, where one does little else."""
_MOST_VISITORS: Final = 16
_MOST_ORDERS: Final = 8
"""Commands under way at once; further ones wait in the socket."""


@dataclass(slots=True)
class _Seat:
    """The agent that has control."""

    channel: Channel
    pid: int
    told: Now | None = None
    document: bytearray = field(default_factory=bytearray)
    """Parts of a trust document, until the last one is here."""


class Desk:
    """Serves connections.

    Args:
        house: Does what is asked for.
        users: Who is heard, as numbers.
    """

    def __init__(self, house: House, users: Collection[int]) -> None:
        self._house, self._users = house, frozenset(users)
        self._log: Any = get_logger("desk")
        self._complaints, self._comings = Complaints(), Complaints(_COMINGS_S)
        self._visitors: set[asyncio.Task[None]] = set()
        self._orders: set[asyncio.Task[None]] = set()
        self._seat: _Seat | None = None

    async def serve(self, listener: socket.socket) -> None:
        """Take connections until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    sock, _ = await loop.sock_accept(listener)
                except OSError as error:  # no descriptor left, or it has gone again
                    self._complain("accept", f"a connection could not be taken: {error}")
                    await asyncio.sleep(0.1)
                    continue
                self._let_in(sock)
        finally:
            for visitor in self._visitors:
                visitor.cancel()
            await asyncio.gather(*self._visitors, return_exceptions=True)

    async def finish_orders(self) -> None:
        """Wait until no command is being carried out."""
        await asyncio.gather(*self._orders, return_exceptions=True)

    def tell(self, said: Said) -> None:
        """Tell the agent what has happened, if there is one."""
        if self._seat is not None:
            self._tell(self._seat, said)

    def tell_changed(self) -> None:
        """Tell the agent to say a new birth."""
        if self._seat is not None:
            self._push(self._seat)
            self._tell(self._seat, Changed())

    def _let_in(self, sock: socket.socket) -> None:
        channel = Channel(sock, MAX_BYTES)
        if len(self._visitors) >= _MOST_VISITORS:
            self._complain("crowd", f"more than {_MOST_VISITORS} connections at once; the last one is closed")
            channel.send(Refused("too many connections at once; try again"))
            channel.close()
            return
        task = asyncio.get_running_loop().create_task(self._attend(channel, peer_of(sock)), name="visitor")
        self._visitors.add(task)
        task.add_done_callback(self._visitors.discard)

    async def _attend(self, channel: Channel, peer: Peer) -> None:
        try:
            await self._hear(channel, peer)
        except ProtocolError as error:
            self._complain("refused", str(error), pid=peer.pid, uid=peer.uid)
            channel.send(Refused(str(error)))
        except Exception as error:  # noqa: BLE001  (whatever one connection does, the others and the caps go on)
            self._complain("fault", f"a connection ended by a fault: {error!r}", pid=peer.pid, uid=peer.uid)
        finally:
            channel.close()

    async def _hear(self, channel: Channel, peer: Peer) -> None:
        if peer.uid not in self._users:
            raise ProtocolError(
                f"user {peer.uid} is not heard here, only {sorted(self._users)}: actuator.user names the agent's user"
            )
        hello = await self._first_word(channel)
        if hello is None:
            return
        if hello.purpose is Purpose.LOOK:
            channel.send(await self._welcome(lends=True))
            channel.send(self._house.now())
        elif hello.purpose is Purpose.LEND:
            await self._lend(channel)
        else:
            await self._give_control(channel, peer)

    async def _first_word(self, channel: Channel) -> Hello | None:
        try:
            async with asyncio.timeout(_HELLO_S):
                raw = await channel.receive()
        except TimeoutError:
            raise ProtocolError(f"said nothing for {_HELLO_S:.0f} s") from None
        if raw is None:
            return None
        hello = decode_asked(raw)
        if not isinstance(hello, Hello):
            raise ProtocolError(f"began with {type(hello).__name__.lower()}, expected hello")
        if hello.version != VERSION:
            raise ProtocolError(
                f"speaks version {hello.version} (evenwatt {hello.software}), this actuator {VERSION} (evenwatt "
                f"{__version__}): install one version of both and restart them"
            )
        return hello

    async def _welcome(self, *, lends: bool = False) -> Welcome:
        listed = await self._house.counters() if lends else []
        return Welcome(VERSION, __version__, listed, self._seat.pid if self._seat is not None else 0)

    # --- lending --------------------------------------------------------------------------------------------------

    async def _lend(self, channel: Channel) -> None:
        channel.send(await self._welcome())
        try:
            async with asyncio.timeout(_HELLO_S):
                raw = await channel.receive()
        except TimeoutError:
            raise ProtocolError(f"asked for no file for {_HELLO_S:.0f} s") from None
        if raw is None:
            return
        asked = decode_asked(raw)
        if not isinstance(asked, Borrow):
            raise ProtocolError(f"sent {type(asked).__name__.lower()} where a file was to be named")
        try:
            descriptor = await self._house.open_counter(asked.path)
        except OSError as error:
            raise ProtocolError(f"{asked.path}: {error.strerror}") from None
        channel.send_descriptor(Lent(), descriptor)

    # --- control --------------------------------------------------------------------------------------------------

    async def _give_control(self, channel: Channel, peer: Peer) -> None:
        if self._seat is not None:
            raise ProtocolError(
                f"the agent with pid {self._seat.pid} has control already; stop it first, one is enough for a machine"
            )
        seat = self._seat = _Seat(channel, peer.pid)
        try:
            await self._house.arrive()
            self._say_coming("an agent is here", peer)
            channel.send(await self._welcome())
            self._push(seat)
            pushing = asyncio.create_task(self._push_changes(seat), name="push")
            try:
                await self._listen(seat)
            finally:
                pushing.cancel()
                self._house.leave()
                self._say_coming("the agent has gone", peer)
        finally:
            self._seat = None

    async def _listen(self, seat: _Seat) -> None:
        pace, room = Pace(), asyncio.Semaphore(_MOST_ORDERS)
        while (raw := await seat.channel.receive()) is not None:
            match decode_asked(raw):
                case Power() as power:
                    self._house.observe(power)
                case Order() as order:
                    await self._begin_order(room, self._carry_out(seat, order))
                case Renew() as renew:
                    await self._begin_order(room, self._renew(seat, renew))
                case Trust() as trust:
                    document = _gather(seat, trust)
                    if document:
                        await self._begin_order(room, self._house.trust(document))
                case other:
                    raise ProtocolError(f"sent {type(other).__name__.lower()} where power and orders belong")
            await asyncio.sleep(pace.wait_s(time.monotonic()))  # also lets everything else have its turn

    async def _begin_order(self, room: asyncio.Semaphore, work: Coroutine[Any, Any, None]) -> None:
        await room.acquire()
        task = asyncio.create_task(self._see_through(work), name="order")
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)
        task.add_done_callback(lambda _: room.release())

    async def _see_through(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  (what cannot be dealt with must not end the caps in force)
            self._complain("command", f"what the agent passed on ended in a fault: {error!r}")

    async def _carry_out(self, seat: _Seat, order: Order) -> None:
        """Carry out a command to its end, also when the agent goes meanwhile."""
        ack = None
        try:
            ack = await self._house.command(order.payload, retained=order.retained)
        finally:
            if seat is self._seat:
                self._push(seat)
                self._tell(seat, Answer(order.number, ack))

    async def _renew(self, seat: _Seat, renew: Renew) -> None:
        """Let a lease go on, and say how long: nothing else of it has changed."""
        await self._house.renew(renew.payload, retained=renew.retained)
        if seat is self._seat:
            seat.told = None
            self._push(seat)

    async def _push_changes(self, seat: _Seat) -> None:
        while True:
            await asyncio.sleep(_PUSH_S)
            self._push(seat)

    def _push(self, seat: _Seat) -> None:
        """Say how things stand where more has changed than time; a reader that is slow hears of it later."""
        now = self._house.now()
        timeless = msgspec.structs.replace(now, lease=msgspec.structs.replace(now.lease, remaining_s=0.0))
        if timeless != seat.told and seat.channel.send(now):
            seat.told = timeless

    def _tell(self, seat: _Seat, message: Said | Changed | Answer) -> None:
        if not seat.channel.send(message):
            self._complain("deaf", "the agent does not read what it is told; its connection is closed", pid=seat.pid)
            seat.channel.hang_up()

    def _say_coming(self, what: str, peer: Peer) -> None:
        held_back = self._comings.admit(what, time.monotonic())
        if held_back is not None:
            self._log.info(what, pid=peer.pid, uid=peer.uid, held_back=held_back)

    def _complain(self, kind: str, why: str, **facts: int) -> None:
        held_back = self._complaints.admit(kind, time.monotonic())
        if held_back is not None:
            self._log.warning("connection refused", why=why[:600], **facts, held_back=held_back)


def _gather(seat: _Seat, trust: Trust) -> bytes | None:
    """Add a part; return the document when it is whole."""
    seat.document += trust.part
    if len(seat.document) > MAX_TRUST_BYTES:
        raise ProtocolError(f"sent a trust document of more than {MAX_TRUST_BYTES} bytes")
    if not trust.last:
        return None
    document = bytes(seat.document)
    seat.document.clear()
    return document
