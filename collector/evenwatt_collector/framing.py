"""Keeps a huge packet from filling memory: MQTT allows 256 MB, our largest message has 64 KiB.

gmqtt collects a packet whole before anybody can look at it. This stands in front of its parser, lets whole packets of
a sane size through untouched, and skips the others as they arrive. A skipped packet of QoS 1 is still acknowledged,
or the broker would keep a place for it until none is left and nothing else were delivered. Pure: bytes in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PACKET_BYTES: Final = 192 * 1024
"""A payload of 64 KiB, the longest topic MQTT knows, and room."""
_HEAD_BYTES: Final = 5 + 2 + 65_535 + 2
"""So many bytes always hold a packet's header, topic and number."""
_PUBLISH: Final = 0x30


class SizeGuard:
    """Called with what has been received and not yet consumed; returns how much of it is consumed now.

    Args:
        parse: The parser it stands in front of, with the same contract; below 0 means a broken stream.
        acknowledge: Confirms a packet number of QoS 1.
        skipped: Told of each packet that was skipped.
    """

    def __init__(
        self, parse: Callable[[bytes], int], acknowledge: Callable[[int], None], skipped: Callable[[int], None]
    ) -> None:
        self._parse, self._acknowledge, self._skipped = parse, acknowledge, skipped
        self._skip = 0

    def __call__(self, data: bytes) -> int:
        """Consume what can be consumed."""
        consumed = 0
        while True:
            step = min(self._skip, len(data) - consumed)
            self._skip -= step
            consumed += step
            parsed = self._parse(data[consumed:] if consumed else data)
            if parsed < 0:
                return parsed
            consumed += parsed
            total = packet_bytes(data, consumed)
            if total is None or total <= MAX_PACKET_BYTES or len(data) - consumed < _HEAD_BYTES:
                return consumed
            number = packet_number(data, consumed)
            if number is not None:
                self._acknowledge(number)
            self._skipped(total)
            self._skip = total


def packet_bytes(data: bytes, at: int) -> int | None:
    """Return the length of the packet that begins at ``at``, header included; None while that cannot be told."""
    length = 0
    for i in range(4):
        if at + 1 + i >= len(data):
            return None
        byte = data[at + 1 + i]
        length |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return 2 + i + length
    return None


def packet_number(data: bytes, at: int) -> int | None:
    """Return the number of a PUBLISH packet of QoS 1; None for any other packet."""
    if data[at] & 0xF0 != _PUBLISH or (data[at] & 0x06) >> 1 != 1:
        return None
    start = at + 2
    while data[start - 1] >= 0x80:
        start += 1
    topic_bytes = int.from_bytes(data[start : start + 2], "big")
    return int.from_bytes(data[start + 2 + topic_bytes : start + 4 + topic_bytes], "big")
