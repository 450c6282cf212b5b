"""The one place that knows whether the broker is there. It owns connecting, the order of first words, and resending.

::

    OFFLINE --connected--> JOINING: nobody else of our name? state init (and the will), birth, state ready --> ONLINE
    ONLINE/JOINING --lost--> OFFLINE, wait with full jitter, again; at once if a second connection is ready
    ONLINE --stop--> state disconnected --> closed

While offline, live windows fall away (the newest few are kept) and the ledger waits in the spool. Every connection
begins by sending all that is not known to be stored, in order and as fast as it is answered (``replay``). It is sent
again when a collector arrives, when one says that it has a hole, and when no answer comes; the collector stores each
once, however often it comes. Live windows, answers and events go before every single record.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol

from evenwatt_agent.replay import Replay
from evenwatt_agent.spare import Spare, open_held
from evenwatt_agent.transport import Arrived, Connection, LinkLostError, Will
from evenwatt_daemon import Failure, get_logger
from evenwatt_daemon.broker import BrokerSettings, Roster, full_jitter_s
from evenwatt_daemon.tls import CredentialsError
from evenwatt_wire import Kind, Live, State, Topic, WireError, decode
from evenwatt_wire.messages import NodeState
from evenwatt_wire.topics import CONTROLLER_NODE, DELIVERY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

_LIVE_KEPT: Final = 10
_EVENTS_KEPT: Final = 1_000
_TOGETHER: Final = 10
"""Messages that wait for the broker's word at one time."""
_PORTION: Final = 20
"""Records in memory at once."""
_RESEND_SOONEST_S: Final = 2.0
_RETAINED_S: Final = 0.5
"""How long retained words about our own name may take to arrive after subscribing."""
_NAMESAKE_S: Final = 2.5
"""Silence after which a ``ready`` under our name was said by an agent that is dead: it would report every second."""


class LinkState(Enum):
    """Named states of the link."""

    OFFLINE = "offline"
    JOINING = "joining"
    ONLINE = "online"


class Backlog(Protocol):
    """What the link needs of the ledger spool."""

    async def pending(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return (row, payload) of records beyond row ``after``."""

    async def in_flight(self, after: int, row: int) -> int:
        """Return how many records beyond ``after`` up to ``row`` are not known to be stored."""


class Link:
    """Keeps this node connected.

    Args:
        broker: Where to connect; of several brokers one is used, and one held ready beside it.
        zone: First half of every topic.
        node: Second half.
        boot: Boot id of this run; others under our name have another.
        greeting: Returns the messages to say on each connection, in order, and the will.
        backlog: The ledger spool.
        receive: Called for each message that arrives.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        zone: str,
        node: str,
        boot: str,
        greeting: Callable[[], tuple[list[tuple[Kind, bytes]], Will]],
        backlog: Backlog,
        receive: Callable[[Arrived], Awaitable[None]],
    ) -> None:
        self._zone, self._node, self._boot = zone, node, boot
        self._joined = False
        self._client_id = f"evenwatt-{node}-{secrets.token_hex(8)}"  # who knows another's can end its connection
        self._filters = [
            *map(self._topic, (Kind.COMMAND, Kind.STORED, Kind.STATE)),
            *(str(Topic(zone, CONTROLLER_NODE, kind)) for kind in (Kind.STATE, Kind.TRUST, Kind.RENEW)),
        ]
        self._roster = Roster(broker)
        self._spare = Spare(self._roster, self._client_id, self._filters)
        self._hurry = asyncio.Event()
        self._replay = Replay()
        self._again: bool | None = None
        self._resent_s = 0.0
        self._look_s = 0.0
        self._greeting, self._backlog, self._receive = greeting, backlog, receive
        self._outbox: deque[tuple[Kind, bytes]] = deque()
        self._live: deque[bytes] = deque(maxlen=_LIVE_KEPT)
        self._wake = asyncio.Event()
        self._log: Any = get_logger("link")
        self.state = LinkState.OFFLINE
        self.sent = 0
        self.dropped = 0
        self.trouble = ""

    def send_live(self, payload: bytes) -> None:
        """Queue a live window; when the link is slow the oldest falls away."""
        self.dropped += len(self._live) == self._live.maxlen
        self._live.append(payload)
        self._wake.set()

    def send(self, kind: Kind, payload: bytes) -> None:
        """Queue anything else; bounded, oldest first to go."""
        if len(self._outbox) >= _EVENTS_KEPT:
            self._outbox.popleft()
            self.dropped += 1
        self._outbox.append((kind, payload))
        self._wake.set()

    def wake(self) -> None:
        """Say that the spool has a new record."""
        self._look_s = 0.0
        self._wake.set()

    def answered(self, window: int) -> None:
        """Say that the collector has answered, and how many records it lets be under way."""
        self._replay.answered(time.monotonic(), window)
        self.wake()

    def spread(self, seconds: float) -> None:
        """Say over how long a fleet is to spread when all of it sends again."""
        self._replay.spread_s = seconds

    def resend(self, *, spread: bool) -> None:
        """Send again what is not known to be stored: somebody has missed it; the whole fleet's if ``spread``."""
        now_s = time.monotonic()
        if now_s - self._resent_s >= _RESEND_SOONEST_S:
            self._again, self._resent_s = spread, now_s
            self.wake()

    def hurry(self) -> None:
        """Do not wait any longer, neither to connect nor to send: this agent is about to stop."""
        self._replay.hurry()
        self._hurry.set()

    async def run(self, stop: asyncio.Event, farewell: bytes) -> None:
        """Stay connected until ``stop``, then say ``farewell`` as this node's state."""
        attempt = 0
        try:
            while not stop.is_set():
                try:
                    await self._session(stop, farewell)
                    attempt = 0
                except (LinkLostError, CredentialsError) as error:
                    if isinstance(error, CredentialsError) and not self._joined:
                        raise
                    attempt = 0 if self.state is LinkState.ONLINE else attempt + 1
                    self._say_lost(str(error))
                    if self._spare.ready:
                        continue
                    await _first(stop.wait(), self._hurry.wait(), asyncio.sleep(full_jitter_s(attempt)))
                    self._hurry.clear()
        finally:
            await self._spare.close()

    def _say_lost(self, why: str) -> None:
        if why != self.trouble:  # said once, not at every attempt
            self._log.warning("no connection to the broker; measuring goes on, the ledger waits on disk", why=why)
        self.trouble, self.state = why, LinkState.OFFLINE

    async def _session(self, stop: asyncio.Event, farewell: bytes) -> None:
        words, will = self._greeting()
        held = await self._spare.take()
        fresh = held is None
        if held is None:
            held = await open_held(self._roster, self._client_id, will, ())
        connection = held.connection
        try:
            self.state = LinkState.JOINING
            if not self._joined:
                await self._refuse_namesake(connection)
                self._joined = True
            if fresh:
                await connection.subscribe(*self._filters)
            for kind, payload in words:
                await self._publish(connection, kind, payload)
            self.state, self.trouble = LinkState.ONLINE, ""
            self._log.info("joined", broker=connection.broker.where)
            self._spare.keep(connection, lambda: self._greeting()[1])
            await self._converse(connection, stop)
            await self._spare.close()
            await self._publish(connection, Kind.STATE, farewell)
        finally:
            await held.close()

    async def _converse(self, connection: Connection, stop: asyncio.Event) -> None:
        """Talk and listen until told to stop; the first trouble on either side ends both."""
        talking = asyncio.create_task(self._talk(connection), name="link-talk")
        listening = asyncio.create_task(self._listen(connection), name="link-listen")
        stopping = asyncio.create_task(stop.wait(), name="link-stop")
        tasks = {talking, listening, stopping}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _talk(self, connection: Connection) -> None:
        self._again, self._resent_s, self._look_s = None, time.monotonic(), 0.0
        self._replay.begin(time.monotonic())
        while True:
            self._wake.clear()
            await self._talk_first(connection)
            if not await self._talk_ledger(connection):
                await _first(self._wake.wait(), asyncio.sleep(max(0.0, self._look_s - time.monotonic())))

    async def _talk_first(self, connection: Connection) -> None:
        """Say what must not wait, in order, but many at once.

        Each is answered by the broker: on a bad line answers to commands, one after the other, can take longer than
        commands take to come, and the ledger would starve. What comes meanwhile has its turn after a record.
        """
        await self._talk_live(connection)
        if not self._outbox:
            return
        said = [self._outbox.popleft() for _ in range(min(len(self._outbox), _TOGETHER))]
        try:
            await _all([self._publish(connection, *one) for one in said])
        except BaseException:
            self._outbox.extendleft(reversed(said))  # all of them again on the next connection
            raise
        await self._talk_live(connection)

    async def _talk_live(self, connection: Connection) -> None:
        while self._live:
            await self._publish(connection, Kind.LIVE, self._live.popleft())

    async def _talk_ledger(self, connection: Connection) -> bool:
        """Send as many records as may be sent now; return whether there may be more."""
        now_s, replay = time.monotonic(), self._replay
        if now_s < self._look_s:
            return False
        self._look_s = float("inf")
        if self._again is not None:
            replay.begin(now_s, spread=self._again)
            self._again = None
        room = replay.room(now_s, await self._backlog.in_flight(replay.start, replay.row))
        portion = await self._backlog.pending(replay.row, min(room, _PORTION)) if room else []
        if room and not portion and replay.turn():
            portion = await self._backlog.pending(0, min(room, _PORTION))
        for row, payload in portion:
            await self._publish(connection, Kind.LEDGER, payload)
            replay.sent(now_s, row)
            await self._talk_first(connection)
        self._look_s = 0.0 if portion else min(self._look_s, replay.next_s(now_s))
        return bool(portion)

    async def _refuse_namesake(self, connection: Connection) -> None:
        """Listen under our own name before we use it: a retained ``ready`` of another boot may be one that died."""
        await connection.subscribe(self._topic(Kind.STATE), self._topic(Kind.LIVE))
        with suppress(TimeoutError, WireError):
            async with asyncio.timeout(_RETAINED_S) as limit:
                async for message in connection.messages():
                    said = decode(Topic.parse(message.topic), message.payload)
                    if isinstance(said, State) and said.state is NodeState.READY and said.boot != self._boot:
                        limit.reschedule(asyncio.get_running_loop().time() + _NAMESAKE_S)
                    elif isinstance(said, Live) and said.boot != self._boot:
                        raise Failure(
                            f"another agent is publishing as node {self._node!r} of zone {self._zone!r} "
                            f"(boot {said.boot}); give one of them another 'node' in its settings"
                        )
        await connection.unsubscribe(self._topic(Kind.LIVE))

    async def _listen(self, connection: Connection) -> None:
        async for message in connection.messages():
            await self._receive(message)

    async def _publish(self, connection: Connection, kind: Kind, payload: bytes) -> None:
        delivery = DELIVERY[kind]
        await connection.publish(self._topic(kind), payload, qos=delivery.qos, retain=delivery.retain)
        self.sent += 1

    def _topic(self, kind: Kind) -> str:
        return str(Topic(self._zone, self._node, kind))


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended: before Python 3.12 ``wait_for`` can swallow a cancellation (gh-81839)."""
    pending = tasks
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1.0)


async def _first(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _all(works: list[Coroutine[Any, Any, None]]) -> None:
    """Do all to their ends, begun in order; raise the first one's error."""
    for end in await asyncio.gather(*works, return_exceptions=True):
        if end is not None:
            raise end
