"""MQTT for the agent and the command line: our own small interface over aiomqtt.

The interface is ours because aiomqtt hides what we must not trust anyway: a refused publish looks like an accepted
one, and a full queue drops. So nothing here promises delivery; a ledger record is delivered when the collector says
``stored``, a command when its acknowledgement comes.
"""

from __future__ import annotations

import logging
import random
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_daemon.broker import LOGIN_S, LOGIN_SOON_S
from evenwatt_daemon.lean import without_proxies

with without_proxies():
    import aiomqtt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from evenwatt_daemon.broker import BrokerSettings

# aiomqtt passes on each of paho's own errors as a plain line; what matters of them is raised, and said by the caller.
logging.getLogger("mqtt").setLevel(logging.CRITICAL)
_PROTOCOLS: Final = {"3.1.1": aiomqtt.ProtocolVersion.V311, "5": aiomqtt.ProtocolVersion.V5}


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says when the connection is lost."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message received."""

    topic: str
    payload: bytes
    retained: bool


class LinkLostError(OSError):
    """There is no connection to the broker; the text says why."""


class Connection:
    """One connection to the broker, until it ends."""

    def __init__(self, client: aiomqtt.Client, broker: BrokerSettings) -> None:
        self._client, self.broker = client, broker

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        """Hand a message to the broker; with QoS 1 wait until it has answered.

        Raises:
            LinkLostError: the connection is gone.
        """
        try:
            await self._client.publish(topic, payload, qos=min(qos, self.broker.qos), retain=retain)
        except aiomqtt.MqttError as error:
            raise LinkLostError(str(error)) from None

    async def subscribe(self, *filters: str) -> None:
        """Subscribe with QoS 1, or as the settings say.

        Raises:
            LinkLostError: the connection is gone, or the broker refused.
        """
        try:
            codes = await self._client.subscribe([(one, int(self.broker.qos)) for one in filters])
            refused = [one for one, code in zip(filters, codes, strict=False) if _number(code) >= 128]
            if refused:
                raise LinkLostError(f"the broker refused the subscription to {', '.join(refused)}; check its ACL")
        except aiomqtt.MqttError as error:
            raise LinkLostError(str(error)) from None

    async def unsubscribe(self, *filters: str) -> None:
        """End subscriptions."""
        try:
            await self._client.unsubscribe(list(filters))
        except aiomqtt.MqttError as error:
            raise LinkLostError(str(error)) from None

    async def messages(self) -> AsyncIterator[Arrived]:
        """Yield what arrives until the connection is lost, which raises :class:`LinkLostError`."""
        try:
            async for message in self._client.messages:
                payload = message.payload
                yield Arrived(str(message.topic), payload if isinstance(payload, bytes) else b"", bool(message.retain))
        except aiomqtt.MqttError as error:
            raise LinkLostError(self.broker.explain(error)) from None


@asynccontextmanager
async def connect(broker: BrokerSettings, client_id: str, will: Will | None = None) -> AsyncIterator[Connection]:
    """Connect, and disconnect in the end. Of several brokers the first one that answers is taken.

    Raises:
        LinkLostError: the broker cannot be reached or refuses; waiting or a person can mend that.
        CredentialsError: the password, a certificate or a key cannot be used.
    """
    async with AsyncExitStack() as stack:
        yield await _first_of(random.sample(broker.brokers, len(broker.brokers)), stack, client_id, will)


@asynccontextmanager
async def connect_to(
    broker: BrokerSettings, client_id: str, will: Will | None = None, login_s: float = LOGIN_S
) -> AsyncIterator[Connection]:
    """Connect to one broker, as :func:`connect` does.

    Raises:
        LinkLostError: it cannot be reached or refuses, or has not answered within ``login_s``.
        CredentialsError: the password, a certificate or a key cannot be used.
    """
    client = aiomqtt.Client(
        broker.host,
        broker.port,
        identifier=client_id,
        protocol=_PROTOCOLS[broker.protocol],
        username=broker.username,
        password=broker.password(),
        tls_context=broker.tls(),
        will=aiomqtt.Will(will.topic, will.payload, qos=broker.qos, retain=True) if will else None,
        keepalive=broker.keepalive_s,
        timeout=login_s,
        max_queued_incoming_messages=10_000,
    )
    try:
        async with client:
            yield Connection(client, broker)
    except aiomqtt.MqttError as error:
        code = getattr(getattr(error, "rc", None), "value", None)
        refused = await broker.refusal() if isinstance(error.__context__, TimeoutError) else ""
        raise LinkLostError(refused or broker.explain(error, code)) from None


async def _first_of(
    brokers: Sequence[BrokerSettings], stack: AsyncExitStack, client_id: str, will: Will | None
) -> Connection:
    *others, last = brokers
    for broker in others:
        with suppress(LinkLostError):
            return await stack.enter_async_context(connect_to(broker, client_id, will, LOGIN_SOON_S))
    return await stack.enter_async_context(connect_to(last, client_id, will))


def _number(code: object) -> int:
    """Value of a SUBACK code: paho gives integers for MQTT 3.1.1 and objects for 5."""
    return code if isinstance(code, int) else int(getattr(code, "value", 128))
