"""``evenwatt decode``: a pipe of MQTT payloads into JSON lines that any tool can read.

``mosquitto_sub`` writes payloads one after another, each followed by a newline, and with ``-v`` the topic and a blank
before it. MessagePack may itself contain newlines, but every payload delimits itself: a JSON object ends with its
line, an array by its own length. What is neither is reported as such and skipped to the next line; nothing is lost
silently. The independent ``msgpack`` library does the reading, so this also shows that any MessagePack library can.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TextIO

import msgpack
import msgspec

from evenwatt_cli.exits import Exit
from evenwatt_wire import MAX_PAYLOAD_BYTES, Ack, Command, Event, Ledger, Live, RunReport, Stored, Submission
from evenwatt_wire.command import Envelope, Renewal
from evenwatt_wire.messages import Echo, Probe
from evenwatt_wire.trust import MAX_TRUST_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

_TAGGED: Final[dict[str, Any]] = {
    "live": Live,
    "ledger": Ledger,
    "stored": Stored,
    "event": Event,
    "probe": Probe,
    "echo": Echo,
    "cmd": Command,
    "renew": Renewal,
    "ack": Ack,
    "run": RunReport,
    "submit": Submission,
}
_OBJECTS: Final = {  # the fields that tell JSON messages apart
    "birth": {"total_formula"},
    "zone-summary": {"leased_w"},
    "jobs": {"jobs", "epoch"},
    "deployments": {"services", "epoch"},
    "controller": {"state", "epoch"},
    "beat": {"beat", "epoch"},
    "state": {"state", "boot"},
    "summary": {"power_w", "lease"},
}
_CHUNK: Final = 65_536
_TOPIC: Final = b"evenwatt/v1/"
_TRUST: Final = b'{"evenwatt-trust"'
_JSON: Final = json.JSONDecoder()
_UNSAFE: Final = re.compile(r"[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal would obey, and half characters, which no stream takes."""
_ARRAYS: Final = (*range(0x90, 0xA0), 0xDC, 0xDD)


def decode_stream(source: BinaryIO, out: TextIO, topic: str | None = None) -> Exit:
    """Write one JSON line per payload read; return ``DEGRADED`` if some could not be read."""
    worst = Exit.OK
    for row in rows(source):
        if topic is not None:
            row.setdefault("topic", topic)
        if "error" in row:
            worst = Exit.DEGRADED
        out.write(_UNSAFE.sub(_escaped, json.dumps(row, ensure_ascii=False)) + "\n")
        out.flush()
    return worst


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def rows(source: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yield one dictionary per payload: ``type``, ``topic`` if known, and the message's fields by name."""
    buffer = b""
    ended = False
    while not ended or buffer:
        taken = _take(buffer, ended=ended)
        if taken is None:
            chunk = _read(source)
            ended = not chunk
            buffer += chunk
            continue
        row, buffer = taken
        if row is not None:
            yield row


def _read(source: BinaryIO) -> bytes:
    read1 = getattr(source, "read1", source.read)  # what is there now, so that a slow stream is shown as it comes
    return bytes(read1(_CHUNK))


def _take(buffer: bytes, *, ended: bool) -> tuple[dict[str, Any] | None, bytes] | None:
    """Take one payload off the front; None when more bytes are needed."""
    if buffer[:1] == b"\n":
        return None, buffer[1:]
    known, body = _take_topic(buffer)
    if not body:
        return _garbage(buffer, ended=True) if buffer and ended else None
    if known and body[:1] == b"\n":  # an empty retained payload: something was deleted
        return {**known, "type": "deleted"}, body[1:]
    if body[0] in _ARRAYS:
        return _take_array(known, body, ended=ended)
    if body[:1] == b"{":
        take = _take_trust if body.startswith(_TRUST[: len(body)]) else _take_object
        return take(known, body, ended=ended)
    return _garbage(buffer, ended=ended)


def _take_topic(buffer: bytes) -> tuple[dict[str, Any], bytes]:
    """Split a leading topic off, as ``mosquitto_sub -v`` writes it; no rest when the topic is not complete yet."""
    if not buffer.startswith(_TOPIC):
        return {}, b"" if _TOPIC.startswith(buffer) else buffer
    head, _, body = buffer.partition(b" ")
    return {"topic": head.decode(errors="replace")}, body


def _take_trust(known: dict[str, Any], body: bytes, *, ended: bool) -> tuple[dict[str, Any], bytes] | None:
    """Take a trust document, which is two JSON values on many lines; its signature is not verified."""
    text = body.decode(errors="surrogateescape")  # what follows may be any bytes
    try:
        head, at = _JSON.raw_decode(text)
        inner, end = _JSON.raw_decode(text, at + 1)
    except (ValueError, RecursionError):
        if not ended and len(body) <= MAX_TRUST_BYTES:
            return None
        return _garbage(body, ended=True)
    row = {**known, "type": "trust", **inner, "signatures": head.get("signatures")} if isinstance(inner, dict) else None
    return row or {**known, "error": "not a trust document"}, text[end:].encode(errors="surrogateescape")


def _take_object(known: dict[str, Any], body: bytes, *, ended: bool) -> tuple[dict[str, Any], bytes] | None:
    line, newline, rest = body.partition(b"\n")
    if not newline and not ended:
        return None
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {**known, "error": f"not JSON: {error}", "hex": line[:64].hex()}, rest
    kind = next((kind for kind, keys in _OBJECTS.items() if keys <= document.keys()), "json")
    return {**known, "type": kind, **document}, rest


def _take_array(known: dict[str, Any], body: bytes, *, ended: bool) -> tuple[dict[str, Any] | None, bytes] | None:
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=0)
    unpacker.feed(body)
    try:
        array = unpacker.unpack()
    except msgpack.OutOfData:
        if not ended and len(body) <= 2 * MAX_PAYLOAD_BYTES:
            return None
        return _garbage(body, ended=True)
    except (ValueError, TypeError, msgpack.UnpackException):  # TypeError: a key that is a list or a map
        return _garbage(body, ended=ended)
    rest = body[unpacker.tell() :]
    if rest[:1] not in (b"\n", b""):
        return _garbage(body, ended=ended)
    return {**known, **_named(array)}, rest


def _named(array: list[Any]) -> dict[str, Any]:
    try:
        if array and array[0] in _TAGGED:
            return {"type": array[0], **_fields(msgspec.convert(array, _TAGGED[array[0]]))}
        envelope = msgspec.convert(array, Envelope)
        inner = _named(msgpack.unpackb(envelope.body))
    except (msgspec.ValidationError, ValueError, TypeError, msgpack.UnpackException) as error:
        return {"error": f"not a message of ours: {error}", "array": repr(array)[:200]}
    return {**inner, "key_id": envelope.key_id.hex(), "signature": envelope.signature.hex()}


def _fields(message: object) -> dict[str, Any]:
    """Fields by name, also of structs inside: on the wire they are arrays."""
    return {name: _plain(value) for name, value in msgspec.structs.asdict(message).items()}  # type: ignore[arg-type]


def _plain(value: object) -> Any:
    if isinstance(value, msgspec.Struct):
        return _fields(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _garbage(buffer: bytes, *, ended: bool) -> tuple[dict[str, Any], bytes] | None:
    line, newline, rest = buffer.partition(b"\n")
    if not newline and not ended and len(buffer) <= MAX_PAYLOAD_BYTES:
        return None
    return {"error": "neither JSON nor a MessagePack message of ours", "hex": line[:64].hex()}, rest
