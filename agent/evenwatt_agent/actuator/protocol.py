"""What agent and actuator say to each other: one MessagePack struct a message on a Unix socket of type SEQPACKET.

An agent connects, says :class:`Hello`, and is answered with :class:`Welcome` or :class:`Refused`. What follows depends
on its purpose: ``control`` sends power and commands, and hears how things stand until it goes; ``lend`` asks for one
file and gets its open descriptor; ``look`` hears once how things stand. Whatever does not fit ends the connection.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from evenwatt_agent.control import Standing
from evenwatt_wire import LeaseInForce
from evenwatt_wire.codec import MAX_COMMAND_BYTES, MAX_RUN_BYTES
from evenwatt_wire.messages import MAX_DOMAINS, DomainId, Watts

T = TypeVar("T")

VERSION: Final = 1
MAX_BYTES: Final = 64 * 1024
"""Of one message to the actuator."""
MAX_ANSWER_BYTES: Final = 160 * 1024
"""Of one message to the agent; the kernel's own bound of a message is about 200 KiB."""
MAX_ORDER_BYTES: Final = MAX_COMMAND_BYTES + 1
"""A command longer than may be is cut to one byte too much: it is refused all the same, with the right words."""

PART_BYTES: Final = 48 * 1024
"""Of a trust document in one message."""

_Word = Annotated[str, Meta(max_length=64)]


class Purpose(StrEnum):
    """Why somebody connects."""

    CONTROL = "control"
    LEND = "lend"
    LOOK = "look"


class Hello(Struct, tag="hello", frozen=True):
    """The first message. Fields that another version adds are no error: the version is what is compared."""

    version: int
    purpose: Purpose
    software: _Word


class Power(Struct, tag="power", frozen=True, forbid_unknown_fields=True):
    """Power of one bin."""

    total_w: Watts
    domains: Annotated[dict[DomainId, Watts], Meta(max_length=MAX_DOMAINS)]


class Order(Struct, tag="order", frozen=True, forbid_unknown_fields=True):
    """A command exactly as it came over MQTT."""

    number: Annotated[int, Meta(ge=0, lt=2**53)]
    payload: Annotated[bytes, Meta(max_length=MAX_ORDER_BYTES)]
    retained: bool


class Renew(Struct, tag="renew", frozen=True, forbid_unknown_fields=True):
    """A renewal of the zone's leases exactly as it came over MQTT; nothing answers it."""

    payload: Annotated[bytes, Meta(max_length=MAX_RUN_BYTES)]
    retained: bool


class Trust(Struct, tag="trust", frozen=True, forbid_unknown_fields=True):
    """A part of a trust document that came over MQTT: one may be longer than a message can be."""

    part: Annotated[bytes, Meta(max_length=PART_BYTES)]
    last: bool


class Borrow(Struct, tag="borrow", frozen=True, forbid_unknown_fields=True):
    """Asks for a file to be opened for reading."""

    path: Annotated[str, Meta(max_length=4096)]


class Welcome(Struct, tag="welcome", frozen=True):
    """The actuator is there."""

    version: int
    software: str
    lends: list[str] = []
    """Files that it lends; said to who looks."""
    agent_pid: int = 0
    """Who has control; 0 when nobody is connected."""


class Refused(Struct, tag="refused", frozen=True):
    """It does not do what was asked, and why; the connection ends."""

    why: str


class Now(Struct, tag="now", frozen=True):
    """How things stand; sent when something has changed."""

    standing: Standing
    lease: LeaseInForce
    cap_w: float | None
    paused: list[str]


class Answer(Struct, tag="answer", frozen=True):
    """What became of an order: the signed acknowledgement, if there is one to be given."""

    number: int
    ack: bytes | None


class Said(Struct, tag="said", frozen=True):
    """Something has happened."""

    name: str
    subject: str
    facts: dict[str, str | float | bool | None]


class Changed(Struct, tag="changed", frozen=True):
    """What this node can hold has changed enough for a new birth; how it stands was said before."""


class Lent(Struct, tag="lent", frozen=True):
    """The descriptor that comes with this message is the file asked for."""


ToActuator = Hello | Power | Order | Renew | Trust | Borrow
ToAgent = Welcome | Refused | Now | Answer | Said | Changed | Lent

_ENCODER: Final = msgspec.msgpack.Encoder()
_TO_ACTUATOR: Final[msgspec.msgpack.Decoder[ToActuator]] = msgspec.msgpack.Decoder(ToActuator)
_TO_AGENT: Final[msgspec.msgpack.Decoder[ToAgent]] = msgspec.msgpack.Decoder(ToAgent)


class ProtocolError(ValueError):
    """A message that does not belong here; the text says why."""


def encode(message: ToActuator | ToAgent) -> bytes:
    """Return a message as it is sent."""
    return _ENCODER.encode(message)


def decode_asked(raw: bytes) -> ToActuator:
    """Read what an agent sent.

    Raises:
        ProtocolError: it is too long or not one of the messages above.
    """
    return _decode(_TO_ACTUATOR, raw, MAX_BYTES, "a message")


def decode_said(raw: bytes) -> ToAgent:
    """Read what an actuator sent.

    Raises:
        ProtocolError: it is too long or not one of the messages above.
    """
    return _decode(_TO_AGENT, raw, MAX_ANSWER_BYTES, "an answer")


def _decode(decoder: msgspec.msgpack.Decoder[T], raw: bytes, most: int, what: str) -> T:
    if len(raw) > most:
        raise ProtocolError(f"{what} of more than {most} bytes")
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not a message of version {VERSION}: {error}") from None
