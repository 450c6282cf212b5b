"""Sparkplug B's payloads as bytes, as far as they are used here. Pure.

Nine fields of one schema are written and three are read, so this stands in the place of a library that would have to
be loaded, and of a compiled schema with a licence of its own. Field numbers are those of "Google Protocol Buffer
Schema" in Eclipse Sparkplug 3.0; their encoding is https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_VARINT: Final = 0
_FIXED_64: Final = 1
_DELIMITED: Final = 2
_SIZES: Final = {_FIXED_64: 8, 5: 4}
"""Bytes of what has no length before it."""
_MOST_VARINT_BYTES: Final = 10


class PayloadError(ValueError):
    """Bytes that are no payload."""


class DataType(IntEnum):
    """How a value is kept; the number is Sparkplug's."""

    INT64 = 4
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12


class Quality(IntEnum):
    """How far a value can be relied on; the number is Sparkplug's."""

    GOOD = 192
    STALE = 500


class Metric(NamedTuple):
    """A value as it is told. ``quality`` is said where it is given; None is good."""

    name: str
    type: DataType
    value: float | bool | str | None
    quality: Quality | None = None
    unit: str | None = None
    """Given in births only, which describe a metric; empty where it has no unit."""


def payload(metrics: Iterable[Metric], wall_ms: int, seq: int | None) -> bytes:
    """Return a message of these metrics.

    Args:
        metrics: What it tells.
        wall_ms: Milliseconds since 1970 (UTC), of the message and of every metric.
        seq: Its number, 0 to 255; None where it has none.
    """
    parts = [_number(1, wall_ms), *(_bytes(2, _metric(one, wall_ms)) for one in metrics)]
    return b"".join(parts if seq is None else [*parts, _number(3, seq)])


def switches(data: bytes) -> dict[str, bool]:
    """Return the name of every metric of a message, and whether it is the Boolean true.

    Raises:
        PayloadError: it is no payload.
    """
    found = {}
    for metric in [value for number, value in _fields(data) if number == 2]:
        if isinstance(metric, int):
            raise PayloadError("a metric is a number")
        fields = dict(_fields(metric))
        name = fields.get(1)
        found[name.decode(errors="replace") if isinstance(name, bytes) else ""] = fields.get(14) == 1
    return found


def _metric(one: Metric, wall_ms: int) -> bytes:
    head = _head(one.name, one.type) + _number(3, wall_ms)
    return head + _properties(one.quality, one.unit) + _value(one)


def _value(one: Metric) -> bytes:
    if one.value is None:
        return _number(7, 1)
    if isinstance(one.value, str):
        return _bytes(15, one.value.encode())
    if one.type is DataType.DOUBLE:
        return _key(13, _FIXED_64) + struct.pack("<d", one.value)
    return _number(14 if one.type is DataType.BOOLEAN else 11, int(one.value))


@lru_cache(maxsize=256)
def _head(name: str, data_type: DataType) -> bytes:
    return _bytes(1, name.encode()) + _number(4, data_type)


@lru_cache(maxsize=256)
def _properties(quality: Quality | None, unit: str | None) -> bytes:
    """Return properties by the names that host applications know: two lists of one length, names and values."""
    known = {
        "Quality": quality is not None and _number(1, 3) + _number(3, quality),
        "engUnit": unit and _number(1, DataType.STRING) + _bytes(8, unit.encode()),
        "readOnly": unit is not None and _number(1, DataType.BOOLEAN) + _number(7, 1),
    }
    told = {name: value for name, value in known.items() if isinstance(value, bytes)}
    names = b"".join(_bytes(1, name.encode()) for name in told)
    return _bytes(9, names + b"".join(_bytes(2, value) for value in told.values())) if told else b""


def _number(field: int, value: int) -> bytes:
    return _key(field, _VARINT) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _key(field, _DELIMITED) + _varint(len(value)) + value


@lru_cache(maxsize=64)
def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _varint(value: int) -> bytes:
    """Return a number in groups of seven bits, lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field; every step goes on by at least a byte."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        wire = key & 7
        if wire == _VARINT:
            number, at = _read_varint(data, at)
            yield key >> 3, number
            continue
        size, at = _read_varint(data, at) if wire == _DELIMITED else (_SIZES.get(wire), at)
        if size is None or size > len(data) - at:
            raise PayloadError(f"a field of wire type {wire} does not fit")
        yield key >> 3, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i, byte in enumerate(data[at : at + _MOST_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise PayloadError("it ends within a number")
