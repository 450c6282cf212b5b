"""MQTT's packets as the collector's hot path needs them: bytes in, messages and answers out. Pure.

Of what a collector receives nearly all are PUBLISH and PUBACK packets. They are taken apart here, many at a time, at a
fifth of what gmqtt takes for one; every other packet goes on to gmqtt whole. A packet that is too large is skipped as
it arrives, or it would fill memory: MQTT allows 256 MB, our largest message has 64 KiB. A skipped message of QoS 1 is
still acknowledged, or the broker would keep a place for it until none is left and nothing else were delivered.

``Outbox`` is the other direction: a broker says how many messages of QoS 1 it takes unanswered, and ends the
connection of who sends more; what is above waits here for its turn.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PACKET_BYTES: Final = 192 * 1024
"""A payload of 64 KiB, the longest topic MQTT knows, and room."""
_HEAD_BYTES: Final = 5 + 2 + 65_535 + 2
"""So many bytes always hold a packet's header, topic and number."""
_PUBLISH: Final = 0x30
_PUBACK: Final = 0x40
_MAX_LENGTH_BYTES: Final = 4
_TOPICS_KEPT: Final = 100_000
_MAX_WAITING: Final = 65_536
_FIRST_NUMBER: Final = 100
"""gmqtt numbers its own subscriptions from 1."""
_NUMBERS: Final = 65_535 - _FIRST_NUMBER
_ACKNOWLEDGE: Final = struct.Struct("!BBH").pack


class BrokenStreamError(ValueError):
    """What arrives is not MQTT."""


class Packets:
    """Takes a stream of bytes apart.

    Args:
        publish: Called for each message with topic, payload and whether it was retained; it must not raise.
        answered: Called with the number of each message of ours that the broker has taken.
        other: Called with the first byte and the body of every other packet.
        skipped: Told the size of each packet that was too large.
        properties: Whether messages carry properties (MQTT 5), which say nothing that is needed.
    """

    def __init__(
        self,
        publish: Callable[[str, bytes, bool], None],
        answered: Callable[[int], None],
        other: Callable[[int, bytes], None],
        skipped: Callable[[int], None],
        *,
        properties: bool,
    ) -> None:
        self._publish, self._answered, self._other, self._skipped = publish, answered, other, skipped
        self._properties = properties
        self._rest = b""
        self._skip = 0
        self._topics: dict[bytes, str] = {}

    def feed(self, data: bytes) -> bytes:
        """Take what has arrived and return what is to be sent: the acknowledgements, together.

        Raises:
            BrokenStreamError: it is not MQTT.
        """
        if self._skip:
            step = min(self._skip, len(data))
            self._skip -= step
            data = data[step:]
        if self._rest:
            data = self._rest + data
        answers: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= 2:
            length, start = data[at + 1], at + 2
            if length & 0x80:
                length, start = _length(data, at)
                if not start:
                    break  # not even its length has come
            stop = start + length
            if stop - at > MAX_PACKET_BYTES:
                if min(stop, end) - at < _HEAD_BYTES:
                    break
                at = self._pass_over(data, at, start, stop, answers)
            elif stop > end:
                break
            else:
                self._take(data, at, start, stop, answers)
                at = stop
        self._rest = data[at:] if at else data
        return b"".join(answers)

    def _take(self, data: bytes, at: int, start: int, stop: int, answers: list[bytes]) -> None:
        head = data[at]
        if head & 0xF4 == _PUBLISH and stop - start >= 2:  # of QoS 0 or 1
            body = start + 2 + (data[start] << 8 | data[start + 1])
            name = data[start + 2 : body]
            if head & 0x02:
                answers.append(_ACKNOWLEDGE(_PUBACK, 2, data[body] << 8 | data[body + 1] if body + 2 <= stop else 0))
                body += 2
            if self._properties:
                body = _after_properties(data, body, stop)
            if body > stop:
                raise BrokenStreamError("a message is shorter than it says")
            self._publish(self._topics.get(name) or self._topic(name), data[body:stop], head & 0x01 == 1)
        elif head == _PUBACK and stop - start >= 2:
            self._answered(data[start] << 8 | data[start + 1])
        else:
            self._other(head, data[start:stop])

    def _pass_over(self, data: bytes, at: int, start: int, stop: int, answers: list[bytes]) -> int:
        """Skip a packet; return where the next one begins in ``data``."""
        if data[at] & 0xF6 == _PUBLISH | 0x02:
            number = start + 2 + (data[start] << 8 | data[start + 1])
            answers.append(_ACKNOWLEDGE(_PUBACK, 2, data[number] << 8 | data[number + 1]))
        self._skipped(stop - at)
        self._skip = max(0, stop - len(data))
        return min(stop, len(data))

    def _topic(self, name: bytes) -> str:
        topic = name.decode("utf-8", "replace")
        if len(self._topics) < _TOPICS_KEPT:
            self._topics[name] = topic
        return topic


class Outbox:
    """Numbers messages and keeps to what the broker takes.

    Args:
        most: Messages of QoS 1 that the broker takes unanswered.
        properties: Whether messages carry properties (MQTT 5); they are empty.
    """

    def __init__(self, most: int, *, properties: bool) -> None:
        self._most, self._no_properties = max(1, min(most, _NUMBERS)), b"\0" if properties else b""
        self._open: set[int] = set()
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._number = 0

    @property
    def empty(self) -> bool:
        """Whether the broker has answered everything."""
        return not (self._open or self._waiting)

    def put(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> bytes | None:
        """Return what to send now, nothing while it has to wait; None if there is no room for it."""
        name = topic.encode()
        if not qos:
            return _message(_PUBLISH | retain, struct.pack("!H", len(name)) + name, self._no_properties + payload)
        if len(self._waiting) >= _MAX_WAITING:
            return None
        head = bytes((_PUBLISH | 0x02 | retain,)) + struct.pack("!H", len(name)) + name
        self._waiting.append((head, self._no_properties + payload))
        return self._due() if len(self._open) < self._most else b""

    def answered(self, number: int) -> bytes:
        """Note that the broker has a message; return what may be sent for it."""
        self._open.discard(number)
        return self._due()

    def _due(self) -> bytes:
        due = []
        while self._waiting and len(self._open) < self._most:
            head, rest = self._waiting.popleft()
            due.append(_message(head[0], head[1:] + struct.pack("!H", self._next()), rest))
        return b"".join(due)

    def _next(self) -> int:
        while True:
            self._number = (self._number + 1) % _NUMBERS
            if (number := _FIRST_NUMBER + self._number) not in self._open:
                self._open.add(number)
                return number


def _message(head: int, beginning: bytes, rest: bytes) -> bytes:
    length, coded = len(beginning) + len(rest), bytearray((head,))
    while length >= 0x80:
        coded.append(length & 0x7F | 0x80)
        length >>= 7
    coded.append(length)
    return b"".join((coded, beginning, rest))


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Return the length of the body of the packet at ``at``, and where it begins; 0, 0 while that cannot be told."""
    length = 0
    for i in range(_MAX_LENGTH_BYTES):
        if at + 1 + i >= len(data):
            return 0, 0
        byte = data[at + 1 + i]
        length |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return length, at + 2 + i
    raise BrokenStreamError("a packet has no length")


def _after_properties(data: bytes, at: int, stop: int) -> int:
    if at < stop and not data[at]:
        return at + 1
    length = 0
    for i in range(_MAX_LENGTH_BYTES):
        if at + i >= stop:
            break
        length |= (data[at + i] & 0x7F) << (7 * i)
        if data[at + i] < 0x80:
            return at + i + 1 + length
    raise BrokenStreamError("a message has no end of its properties")
