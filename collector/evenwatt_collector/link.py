"""MQTT for the collector: gmqtt logs in, subscribes and keeps a connection alive; messages go past it (``stream``).

gmqtt has no types, reconnects after a fixed delay and subscribes once. So each connection is a new client here, and
the wait between two is ours, with full jitter. With ``stream`` this is the only module that knows gmqtt.

States: OFFLINE --login accepted--> ONLINE --connection lost, reader dead, stop--> OFFLINE.

Of several brokers one is used, and a second connection is held ready at another: a cluster that has lost a broker may
let nobody log in for seconds. It hears what the first one hears, unheeded, until it takes the first one's place.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gmqtt import Client, Message, Subscription
from gmqtt.mqtt.handler import MQTTConnectError

from evenwatt_collector.stream import Post, Stream
from evenwatt_daemon import get_logger
from evenwatt_daemon.broker import Roster, full_jitter_s
from evenwatt_daemon.tls import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evenwatt_daemon.broker import BrokerSettings

__all__ = ["Link", "Post"]

_VERSIONS: Final = {"3.1.1": 4, "5": 5}
_LOOK_S: Final = 0.5
_STEADY_S: Final = 10.0
"""A connection that lasted as long ends the doubling of waits."""
_NEVER_RECONNECT: Final = -2
"""gmqtt reads -1 as for ever and 0 as once; below that it does not."""
_REFUSED_FILTER: Final = 0x80

# gmqtt logs each of its own steps as a warning or error; what matters of them is said here.
logging.getLogger("gmqtt").setLevel(logging.CRITICAL)


@dataclass(slots=True, eq=False)
class _Session:
    """A connection that is logged in and subscribed."""

    client: Any
    stream: Stream
    broker: BrokerSettings
    lost: asyncio.Event

    @property
    def alive(self) -> bool:
        """Whether it can be used."""
        return not self.lost.is_set()

    def publish(self, post: Post) -> bool:
        """Hand a message to the broker; False when it does not take any more."""
        return self.stream.send(post, min(post.qos, self.broker.qos))


class _RefusedError(OSError):
    """The broker does not want our certificate; the text says why."""


class Link:
    """Keeps one connection to the broker.

    Args:
        settings: Where the broker is.
        client_id: What begins ours; the rest is random, as who knows another's client id can end its connection.
        filters: Subscribed on every connection.
        receive: Called for each message with topic, payload and whether it was retained; it must not raise.
        greeting: What is published first on every connection.
        will: Returns what the broker says when a connection is lost; asked at each login. None: nothing.
        oversized: Called for each packet that was too large to be looked at.

    Raises:
        CredentialsError: the password, a certificate or a key cannot be used.
    """

    spares: ClassVar[bool] = True
    """Whether a second connection is held ready, where there is another broker."""
    without: ClassVar[str] = "nodes hold their leases, then fall back"
    """What comes of being without a connection."""

    def __init__(
        self,
        settings: BrokerSettings,
        client_id: str,
        filters: Sequence[str],
        *,
        receive: Callable[[str, bytes, bool], None],
        greeting: Callable[[], list[Post]],
        will: Callable[[], Post] | None,
        oversized: Callable[[int], None],
    ) -> None:
        self._settings, self._filters = settings, list(filters)
        self._client_id = f"{client_id}-{secrets.token_hex(8)}"
        self._receive, self._greeting, self._will, self._oversized = receive, greeting, will, oversized
        settings.password(), settings.tls()
        self._roster = Roster(settings)
        self._used: _Session | None = None
        self._spare: _Session | None = None
        self._opened = 0
        self._log: Any = get_logger("link")
        self.online = False
        self.trouble = "not connected yet"
        self.connections = 0
        self.turned_s = time.monotonic()
        """When this link last looked after itself."""

    def publish(self, post: Post) -> bool:
        """Hand a message to the broker; False when there is no connection, or the broker does not take any more."""
        return self.online and self._used is not None and self._used.publish(post)

    async def run(self, stop: asyncio.Event) -> None:
        """Stay connected until ``stop``; whatever goes wrong is said once and tried again."""
        attempt = 0
        while not stop.is_set():
            began_s = time.monotonic()
            try:
                await self._session(stop)
            except (OSError, TimeoutError, MQTTConnectError, CredentialsError) as error:
                self._say_lost(error)
                attempt = 0 if time.monotonic() - began_s > self._roster.login_s + _STEADY_S else attempt + 1
                if self._spare is None or not self._spare.alive:
                    await self._pause(stop, full_jitter_s(attempt))

    async def _session(self, stop: asyncio.Event) -> None:
        """Use one connection until it is lost or ``stop`` is set: the second one if there is one, else a new one."""
        taken, self._spare = self._spare, None
        if taken is not None and not taken.alive:
            await _disconnect(taken.client)
            taken = None
        session = self._used = taken or await self._open(self._roster.next())
        self._roster.took(session.broker)
        keeping = asyncio.create_task(self._keep_spare(session.broker), name="link-spare")
        try:
            self.online, self.trouble = True, ""
            self.connections += 1
            self._log.info("connected", broker=session.broker.where)
            for post in self._greeting():
                self.publish(post)
            await self._until_lost(session, stop)
            await session.stream.answered()
        finally:
            self.online = False
            keeping.cancel()
            await asyncio.wait([keeping])
            if stop.is_set():
                await self._drop_spare()
            await _disconnect(session.client)

    async def _drop_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            await _disconnect(spare.client)

    async def _keep_spare(self, used: BrokerSettings) -> None:
        """Hold a second connection beside the one that is used, where there is another broker."""
        attempt = 0
        while self.spares and self._roster.several:
            await asyncio.sleep(full_jitter_s(attempt))
            try:
                self._spare = await self._open(self._roster.beside(used))
            except (OSError, TimeoutError, MQTTConnectError, CredentialsError) as error:
                attempt += 1
                self._log.debug("no second connection", why=str(error))
                continue
            attempt = 0
            while self._spare.alive:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await self._spare.lost.wait()
            await self._drop_spare()

    async def _open(self, broker: BrokerSettings) -> _Session:
        self._opened += 1
        client_id = f"{self._client_id}-{self._opened}" if self._roster.several else self._client_id
        client = Client(client_id, will_message=_message(self._will(), broker.qos) if self._will else None)
        lost = asyncio.Event()
        client.set_config({"reconnect_retries": _NEVER_RECONNECT})
        client.on_disconnect = lambda *_: lost.set()
        client.on_subscribe = self._on_subscribe
        try:
            if broker.username is not None:
                client.set_auth_credentials(broker.username, broker.password())
            await self._log_in(client, broker)
            hear, is_5 = partial(self._hear, client), broker.protocol == "5"
            stream = Stream(client, hear, self._oversized, properties=is_5)
            client.subscribe([Subscription(one, qos=broker.qos) for one in self._filters])
        except BaseException:
            await _disconnect(client)
            raise
        return _Session(client, stream, broker, lost)

    async def _log_in(self, client: Any, settings: BrokerSettings) -> None:
        login_s = self._roster.login_s
        try:
            async with asyncio.timeout(login_s):
                await client.connect(
                    settings.host,
                    settings.port,
                    ssl=settings.tls() or False,  # as the files are now: they may have been renewed
                    keepalive=settings.keepalive_s,
                    version=_VERSIONS[settings.protocol],
                )
        except TimeoutError:
            if refused := await settings.refusal():
                raise _RefusedError(refused) from None
            raise TimeoutError(
                f"no answer to the login within {login_s:.0f} s; does it speak MQTT {settings.protocol} "
                f"(mqtt.protocol), and with or without TLS (mqtt.ca_file)?"
            ) from None

    async def _until_lost(self, session: _Session, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if not session.alive:
                raise ConnectionError("connection lost")
            await self._pause(stop, 1.0, also=session.lost)

    async def _pause(self, stop: asyncio.Event, seconds: float, *, also: asyncio.Event | None = None) -> None:
        """Wait, but no longer than until ``stop`` or ``also``; say that we are alive meanwhile."""
        deadline_s = time.monotonic() + seconds
        tasks = [asyncio.create_task(event.wait()) for event in (stop, also) if event is not None]
        try:
            while (left_s := deadline_s - time.monotonic()) > 0:
                self.turned_s = time.monotonic()
                done, _ = await asyncio.wait(tasks, timeout=min(1.0, left_s), return_when=asyncio.FIRST_COMPLETED)
                if done:
                    return
        finally:
            self.turned_s = time.monotonic()
            for task in tasks:
                task.cancel()

    def _say_lost(self, error: BaseException) -> None:
        told = isinstance(error, CredentialsError | _RefusedError)
        why = str(error) if told else self._settings.explain(error, getattr(error, "_code", None))
        if why != self.trouble:  # said once, not at every attempt
            self._log.warning(f"no connection to the broker; {self.without}", why=why)
        self.trouble = why

    def _hear(self, client: Any, topic: str, payload: bytes, retained: bool) -> None:
        if self._used is not None and self._used.client is client:
            self._receive(topic, payload, retained)

    def _on_subscribe(self, _client: Any, _mid: int, granted: Sequence[int], _properties: Any) -> None:
        refused = [one for one, qos in zip(self._filters, granted, strict=False) if qos >= _REFUSED_FILTER]
        if refused:
            self._log.error("the broker's access list forbids what we must hear; allow it", filters=refused)


def _message(post: Post, qos: int) -> Any:
    return Message(post.topic, post.payload, qos=min(post.qos, qos), retain=post.retain)


async def _disconnect(client: Any) -> None:
    try:
        async with asyncio.timeout(2):
            await client.disconnect()
    except (OSError, TimeoutError, AttributeError):  # AttributeError: no connection was ever made
        return
