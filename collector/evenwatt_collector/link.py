"""MQTT for the collector: a small transport around gmqtt, which receives 6.5 times as fast as aiomqtt.

gmqtt has no types, reconnects after a fixed delay and subscribes once. So each connection is a new client here, and
the wait between two is ours, with full jitter. This is the only module that knows gmqtt, its private parts included.

States: OFFLINE --login accepted--> ONLINE --connection lost, reader dead, stop--> OFFLINE.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gmqtt import Client, Message, Subscription
from gmqtt.mqtt.handler import MQTTConnectError

from evenwatt_collector.framing import SizeGuard
from evenwatt_daemon import get_logger
from evenwatt_daemon.broker import full_jitter_s
from evenwatt_daemon.tls import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evenwatt_daemon.broker import BrokerSettings

_VERSIONS: Final = {"3.1.1": 4, "5": 5}
_LOGIN_S: Final = 10.0
_STEADY_S: Final = 10.0
"""A connection that lasted as long ends the doubling of waits."""
_NEVER_RECONNECT: Final = -2
"""gmqtt reads -1 as for ever and 0 as once; below that it does not."""
_MAX_UNSENT_BYTES: Final = 4 * 1024 * 1024
_REFUSED_FILTER: Final = 0x80

# gmqtt logs each of its own steps as a warning or error; what matters of them is said here.
logging.getLogger("gmqtt").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Post:
    """A message to be published."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


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
        will: What the broker says when this connection is lost.
        oversized: Called for each packet that was too large to be looked at.

    Raises:
        CredentialsError: the password, a certificate or a key cannot be used.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        client_id: str,
        filters: Sequence[str],
        *,
        receive: Callable[[str, bytes, bool], None],
        greeting: Callable[[], list[Post]],
        will: Post | None,
        oversized: Callable[[int], None],
    ) -> None:
        self._settings, self._filters = settings, list(filters)
        self._client_id = f"{client_id}-{secrets.token_hex(8)}"
        self._receive, self._greeting, self._will, self._oversized = receive, greeting, will, oversized
        settings.password(), settings.tls()
        self._client: Any = None
        self._lost = asyncio.Event()
        self._log: Any = get_logger("link")
        self.online = False
        self.trouble = "not connected yet"
        self.connections = 0
        self.turned_s = time.monotonic()
        """When this link last looked after itself."""

    def publish(self, post: Post) -> bool:
        """Hand a message to the broker; False when there is no connection, or the broker does not take any more."""
        if not self.online or self._client._connection._transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:  # noqa: SLF001
            return False
        try:
            self._client.publish(post.topic, post.payload, qos=post.qos, retain=post.retain)
        except (OverflowError, OSError):  # 65,535 unanswered messages; a socket that has just closed
            return False
        return True

    async def run(self, stop: asyncio.Event) -> None:
        """Stay connected until ``stop``; whatever goes wrong is said once and tried again."""
        attempt = 0
        while not stop.is_set():
            began_s = time.monotonic()
            try:
                await self._session(stop)
            except (OSError, TimeoutError, MQTTConnectError, CredentialsError) as error:
                self._say_lost(error)
                attempt = 0 if time.monotonic() - began_s > _LOGIN_S + _STEADY_S else attempt + 1
                await self._pause(stop, full_jitter_s(attempt))

    async def _session(self, stop: asyncio.Event) -> None:
        self._lost.clear()
        client = self._new_client()
        try:
            await self._log_in(client)
            self._guard(client)
            client.subscribe([Subscription(one, qos=1) for one in self._filters])
            self._client, self.online, self.trouble = client, True, ""
            self.connections += 1
            self._log.info("connected", broker=self._settings.where)
            for post in self._greeting():
                self.publish(post)
            await self._until_lost(client, stop)
            await _answered(client)
        finally:
            self.online = False
            await _disconnect(client)

    def _new_client(self) -> Any:
        client = Client(self._client_id, will_message=_message(self._will) if self._will else None)
        client.set_config({"reconnect_retries": _NEVER_RECONNECT})
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        if self._settings.username is not None:
            client.set_auth_credentials(self._settings.username, self._settings.password())
        return client

    async def _log_in(self, client: Any) -> None:
        settings = self._settings
        try:
            async with asyncio.timeout(_LOGIN_S):
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
                f"no answer to the login within {_LOGIN_S:.0f} s; does it speak MQTT {settings.protocol} "
                f"(mqtt.protocol), and with or without TLS (mqtt.ca_file)?"
            ) from None

    def _guard(self, client: Any) -> None:
        protocol, handler = client._connection._protocol, client._package_handler  # noqa: SLF001
        protocol._read_packet = SizeGuard(protocol._read_packet, handler._send_puback, self._oversized)  # noqa: SLF001

    async def _until_lost(self, client: Any, stop: asyncio.Event) -> None:
        while not stop.is_set():
            reader = client._connection._protocol._read_loop_future  # noqa: SLF001
            if self._lost.is_set() or reader is None or reader.done():
                raise ConnectionError("connection lost")
            await self._pause(stop, 1.0, also=self._lost)

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
            self._log.warning("no connection to the broker; nodes hold their leases, then fall back", why=why)
        self.trouble = why

    def _on_message(self, _client: Any, topic: str, payload: bytes, _qos: int, properties: dict[str, Any]) -> None:
        self._receive(topic, payload, bool(properties["retain"]))

    def _on_disconnect(self, _client: Any, _packet: Any, _error: Any = None) -> None:
        self._lost.set()

    def _on_subscribe(self, _client: Any, _mid: int, granted: Sequence[int], _properties: Any) -> None:
        refused = [one for one, qos in zip(self._filters, granted, strict=False) if qos >= _REFUSED_FILTER]
        if refused:
            self._log.error("the broker's access list forbids what we must hear; allow it", filters=refused)


def _message(post: Post) -> Any:
    return Message(post.topic, post.payload, qos=post.qos, retain=post.retain)


async def _answered(client: Any) -> None:
    """Wait for the broker to have our last words: closing with its answer unread resets the connection (RFC 1122)."""
    try:
        async with asyncio.timeout(2):
            await client._persistent_storage.wait_empty()  # noqa: SLF001
    except TimeoutError:
        return


async def _disconnect(client: Any) -> None:
    try:
        async with asyncio.timeout(2):
            await client.disconnect()
    except (OSError, TimeoutError, AttributeError):  # AttributeError: no connection was ever made
        return
