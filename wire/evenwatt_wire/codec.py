"""Bytes <-> messages, with the limits that protect a daemon from what it receives.

A payload is refused with one :class:`WireError` when it is too large, is not MessagePack (or JSON), has the wrong
shape or type, a number out of range, NaN or infinity, a doubled key, or nesting deeper than any message of ours.
Nothing else ever escapes from :func:`decode`: a daemon counts the error, logs it and goes on.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from evenwatt_wire.messages import (
    ArrayMessage,
    Beat,
    Birth,
    BootId,
    ControllerState,
    Deployments,
    DomainId,
    Echo,
    Event,
    JobList,
    JsonMessage,
    Ledger,
    Live,
    Message,
    NodeSummary,
    Probe,
    State,
    Stored,
    ZoneSummary,
)
from evenwatt_wire.topics import CONTROLLER_NODE, ZONE_NODE, Kind, Topic

MAX_PAYLOAD_BYTES: Final = 64 * 1024
MAX_COMMAND_BYTES: Final = 4 * 1024
MAX_RUN_BYTES: Final = 16 * 1024
"""A report on a run carries text, up to four bytes a character."""
_MAX_JSON_DEPTH: Final = 8

M = TypeVar("M", bound=Message)


class WireError(ValueError):
    """A payload that is not what its topic promises."""


class _Names:
    """Names of one sort that have been found good; so many that whoever makes names up fills no memory."""

    def __init__(self, kind: object) -> None:
        self._kind, self.good = kind, set[str]()

    def admit(self, name: str) -> None:
        """Take a name in; raise ``msgspec.ValidationError`` for a bad one."""
        msgspec.convert(name, self._kind)
        if len(self.good) >= _NAMES_KEPT:
            self.good.clear()
        self.good.add(name)


_NAMES_KEPT: Final = 100_000
_BOOTS: Final = _Names(BootId)
_DOMAINS: Final = _Names(DomainId)
_LIVE: Final = msgspec.msgpack.Decoder(Live)
_ARRAYS: Final[dict[Kind, msgspec.msgpack.Decoder[Any]]] = {
    Kind.LEDGER: msgspec.msgpack.Decoder(Ledger),
    Kind.STORED: msgspec.msgpack.Decoder(Stored),
    Kind.PROBE: msgspec.msgpack.Decoder(Probe),
    Kind.ECHO: msgspec.msgpack.Decoder(Echo),
    Kind.EVENT: msgspec.msgpack.Decoder(Event),
}
_JSON: Final[dict[Kind, type[JsonMessage]]] = {
    Kind.STATE: State,
    Kind.BIRTH: Birth,
    Kind.SUMMARY: NodeSummary,
}
_OF_CONTROLLER: Final[dict[Kind, type[JsonMessage]]] = {
    Kind.STATE: ControllerState,
    Kind.BEAT: Beat,
    Kind.JOBS: JobList,
    Kind.DEPLOYMENTS: Deployments,
}
_TO_MSGPACK: Final = msgspec.msgpack.Encoder()
_TO_JSON: Final = msgspec.json.Encoder(order="deterministic")


def encode(message: Message) -> bytes:
    """Encode a message as its topic expects it: MessagePack arrays for streams, JSON for what people read."""
    return _TO_MSGPACK.encode(message) if isinstance(message, ArrayMessage) else _TO_JSON.encode(message)


def decode(topic: Topic, payload: bytes) -> Message:
    """Decode and validate the payload of a topic; the node named inside must be the topic's.

    Raises:
        WireError: for every payload that is not a valid message of that topic. Commands and acknowledgements are
            signed and are opened with :func:`evenwatt_wire.command.open_envelope` instead.
    """
    if topic.kind is Kind.LIVE:
        return decode_live(topic, payload)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise WireError(f"{topic}: {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are accepted")
    decoder = _ARRAYS.get(topic.kind)
    try:
        message = decoder.decode(payload) if decoder else _decode_json(topic, payload)
    except msgspec.DecodeError as error:  # ValidationError is one of these
        raise WireError(f"{topic}: {error}") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"{topic}: {type(error).__name__} while decoding") from None
    _check_author(topic, message)
    result: Message = message
    return result


def decode_live(topic: Topic, payload: bytes) -> Live:
    """Like :func:`decode`, for a live window: a collector does this for each node each second.

    Raises:
        WireError: as for any other message.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise WireError(f"{topic}: {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are accepted")
    try:
        live = _LIVE.decode(payload)
        if live.boot not in _BOOTS.good:
            _BOOTS.admit(live.boot)
        known = _DOMAINS.good
        if live.total.id not in known:
            _DOMAINS.admit(live.total.id)
        for domain in live.domains:
            if domain.id not in known:
                _DOMAINS.admit(domain.id)
    except msgspec.DecodeError as error:
        raise WireError(f"{topic}: {error}") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"{topic}: {type(error).__name__} while decoding") from None
    if live.node != topic.node:
        _refuse_author(topic, live.node, topic.node)
    return live


def decode_as(kind: type[M], topic: Topic, payload: bytes) -> M:
    """Like :func:`decode`, for a caller who knows which type the topic carries."""
    message = decode(topic, payload)
    if not isinstance(message, kind):
        raise WireError(f"{topic}: carries {type(message).__name__}, expected {kind.__name__}")
    return message


def _decode_json(topic: Topic, payload: bytes) -> JsonMessage:
    kind = _json_type(topic)
    if kind is None:
        raise WireError(f"{topic}: carries no plain message; commands and acknowledgements are signed envelopes")
    return msgspec.convert(_strict_json(topic, payload), kind)


def _json_type(topic: Topic) -> type[JsonMessage] | None:
    if topic.node == ZONE_NODE:
        return ZoneSummary if topic.kind is Kind.SUMMARY else None
    if topic.node == CONTROLLER_NODE:
        return _OF_CONTROLLER.get(topic.kind)
    return _JSON.get(topic.kind)


def _strict_json(topic: Topic, payload: bytes) -> object:
    """JSON without doubled keys, NaN, infinity or deep nesting.

    The standard library's parser is the slower one, and the one that shows doubled keys; these messages are rare.
    """

    def no_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise WireError(f"{topic}: a key stands twice in one JSON object")
        return result

    def no_constants(name: str) -> NoReturn:
        raise WireError(f"{topic}: {name} is not a number JSON knows")

    if _depth(payload) > _MAX_JSON_DEPTH:
        raise WireError(f"{topic}: nested deeper than {_MAX_JSON_DEPTH} levels")
    try:
        msgspec.json.decode(payload)  # strict where the other is not: UTF-8 alone, and no half characters
        return json.loads(payload, object_pairs_hook=no_doubles, parse_constant=no_constants)
    except WireError:
        raise
    except ValueError as error:  # not JSON, or a number of thousands of digits
        raise WireError(f"{topic}: not JSON: {error}") from None


def _depth(payload: bytes) -> int:
    """Upper bound of the nesting depth: brackets inside strings count too, which no message of ours has many of."""
    depth = deepest = 0
    for byte in payload:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _check_author(topic: Topic, message: Message) -> None:
    named = getattr(message, "zone", None) if topic.node.startswith("_") else getattr(message, "node", None)
    expected = topic.zone if topic.node.startswith("_") else topic.node
    if named is not None and named != expected:
        _refuse_author(topic, named, expected)


def _refuse_author(topic: Topic, named: str, expected: str) -> NoReturn:
    raise WireError(f"{topic}: the payload names {named!r}; a message must come from the topic's own {expected!r}")
