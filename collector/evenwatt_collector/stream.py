"""What stands at the socket once gmqtt has logged in: messages go past gmqtt, everything else goes through it.

Thousands of nodes send more messages than gmqtt could take apart on half a core; ``framing`` takes them apart in bulk.
With ``link`` this knows gmqtt's private parts.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gmqtt.mqtt.package import Package

from evenwatt_collector.framing import BrokenStreamError, Outbox, Packets

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_UNSENT_BYTES: Final = 4 * 1024 * 1024
_LAST_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Post:
    """A message to be published."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class Stream(asyncio.Protocol):
    """Takes gmqtt's place at the socket of a client that is logged in.

    Args:
        client: gmqtt's.
        receive: Called for each message with topic, payload and whether it was retained; it must not raise.
        oversized: Called for each packet that was too large to be looked at.
        properties: Whether messages carry properties (MQTT 5).
    """

    def __init__(
        self,
        client: Any,
        receive: Callable[[str, bytes, bool], None],
        oversized: Callable[[int], None],
        *,
        properties: bool,
    ) -> None:
        self._connection = client._connection  # noqa: SLF001
        self._inner: asyncio.Protocol = self._connection._protocol  # noqa: SLF001
        self._transport: asyncio.Transport = self._connection._transport  # noqa: SLF001
        most = client._package_handler.id_generator._max  # noqa: SLF001  (the broker's receive maximum)
        self._outbox = Outbox(most, properties=properties)
        self._packets = Packets(receive, self._taken, self._other, oversized, properties=properties)
        self._drained = asyncio.Event()
        self._transport.set_protocol(self)

    def send(self, post: Post, qos: int) -> bool:
        """Send a message, of this QoS, or keep it until the broker takes more; False when there is no room."""
        if self._transport.is_closing() or self._transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            return False
        data = self._outbox.put(post.topic, post.payload, qos, retain=post.retain)
        if data:
            self._write(data)
        return data is not None

    async def answered(self) -> None:
        """Wait for the broker to have our last words: closing with its answer unread resets it (RFC 1122)."""
        try:
            async with asyncio.timeout(_LAST_S):
                while not self._outbox.empty:
                    self._drained.clear()
                    await self._drained.wait()
        except TimeoutError:
            return

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        self._connection._last_data_in = time.monotonic()  # noqa: SLF001  (gmqtt pings when nothing comes)
        try:
            answers = self._packets.feed(data)
        except BrokenStreamError:
            self._transport.abort()
            return
        if answers and not self._transport.is_closing():
            self._write(answers)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._drained.set()
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._inner.resume_writing()

    def _write(self, data: bytes) -> None:
        self._connection._last_data_out = time.monotonic()  # noqa: SLF001
        self._transport.write(data)

    def _taken(self, number: int) -> None:
        data = self._outbox.answered(number)
        if data:
            self._write(data)
        elif self._outbox.empty:
            self._drained.set()

    def _other(self, head: int, body: bytes) -> None:
        self._connection.put_package(Package(head, body))
