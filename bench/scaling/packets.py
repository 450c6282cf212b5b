"""MQTT 3.1.1 as bytes, as little of it as light nodes need: written by hand, because a library's client object for
each of thousands of connections in one process would cost more than the collector that is measured."""

from __future__ import annotations

import struct

PUBLISH, PUBACK = 0x30, 0x40
PING = b"\xc0\x00"
KEEPALIVE_S = 60


def connect(client_id: str, will_topic: str, will: bytes) -> bytes:
    """Return a login with a retained will of QoS 1."""
    flags = 0x02 | 0x04 | 0x08 | 0x20  # clean session, will, its QoS 1, retained
    body = b"\x00\x04MQTT\x04" + bytes([flags]) + struct.pack("!H", KEEPALIVE_S)
    return _packet(0x10, body + _text(client_id.encode()) + _text(will_topic.encode()) + _text(will))


def subscribe(number: int, topics: list[str]) -> bytes:
    """Return a subscription with QoS 1."""
    return _packet(0x82, struct.pack("!H", number) + b"".join(_text(topic.encode()) + b"\x01" for topic in topics))


def publish(topic: str, payload: bytes, *, number: int = 0, retain: bool = False) -> bytes:
    """Return a message: of QoS 1 if it has a number, else of QoS 0."""
    identifier = struct.pack("!H", number) if number else b""
    head = PUBLISH | (0x02 if number else 0) | (0x01 if retain else 0)
    return _packet(head, _text(topic.encode()) + identifier + payload)


def puback(number: int) -> bytes:
    """Return the answer to a message of QoS 1."""
    return struct.pack("!BBH", PUBACK, 2, number)


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the whole packets, each its first byte and its body, and the rest."""
    found, at = [], 0
    while at + 2 <= len(data):
        length = shift = 0
        start = at + 1
        while start < len(data):
            byte = data[start]
            length |= (byte & 0x7F) << shift
            start, shift = start + 1, shift + 7
            if byte < 0x80:
                break
        else:
            break
        if start + length > len(data):
            break
        found.append((data[at], data[start : start + length]))
        at = start + length
    return found, data[at:]


def message(head: int, body: bytes) -> tuple[bytes, int, bytes]:
    """Return topic, number (0 for QoS 0) and payload of a PUBLISH."""
    size = 2 + int.from_bytes(body[:2], "big")
    if head & 0x06:
        return body[2:size], int.from_bytes(body[size : size + 2], "big"), body[size + 2 :]
    return body[2:size], 0, body[size:]


def _text(content: bytes) -> bytes:
    return struct.pack("!H", len(content)) + content


def _packet(head: int, body: bytes) -> bytes:
    length, coded = len(body), bytearray()
    while True:
        length, byte = length >> 7, length & 0x7F
        coded.append(byte | (0x80 if length else 0))
        if not length:
            return bytes([head]) + bytes(coded) + body
