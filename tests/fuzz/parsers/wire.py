"""What comes over MQTT: topics, messages of every kind, and signed envelopes of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec

from evenwatt_wire import (
    CommandError,
    Deployment,
    JobLine,
    TaskEnergy,
    Topic,
    TopicError,
    WireError,
    decode,
    encode,
    open_envelope,
)
from evenwatt_wire import command as command_module
from evenwatt_wire.codec import MAX_RUN_BYTES
from evenwatt_wire.command import (
    Envelope,
    check_addressee,
    check_time,
    key_id,
    open_ack,
    open_command,
    open_run,
    open_submission,
)
from tests.fuzz.parser import Parser, check, check_plain, check_word
from tests.wire.examples import ALL
from tests.wire.test_command import ACK, COMMAND, CONTROLLER, NODE, OPERATOR, RING

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parents[2] / "wire" / "golden"
_WORDS = ("node", "boot", "zone", "id", "domain", "parent", "command_id", "job", "run", "service", "key_id")
"""Fields that are names: they go into logs, labels and files. In what only people read they are text."""


def _topic(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    topic = Topic.parse(text)
    check(str(topic) == text, f"{text!a} reads as {topic}")
    check(text.isascii() and text.isprintable(), f"{text!a} is a topic")


def _message(topic: Topic) -> Callable[[bytes], None]:
    def target(data: bytes) -> None:
        message = decode(topic, data)
        check_message(message)
        again = decode(topic, encode(message))
        check(again == message, "it does not survive being sent on")

    return target


def check_message(message: Any) -> None:
    """Numbers are finite, no energy or power is negative, names are names."""
    check_plain(message)
    for name in message.__struct_fields__:
        value = getattr(message, name)
        if name in _WORDS and isinstance(value, str) and not isinstance(message, JobLine | Deployment | TaskEnergy):
            check_word(value, name)
        if name.endswith(("_j", "_w", "_s", "_g", "_ms", "_ns")) and isinstance(value, int | float):
            check(value >= 0, f"{name} is {value}")
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, msgspec.Struct):
                check_message(inner)


def _framed(key: Any, body: bytes) -> bytes:
    return msgspec.msgpack.encode(Envelope(1, key_id(key.public_key().public_bytes_raw()), b"\0" * 64, body))


_GENUINE = {
    (GOLDEN / f"{name}.msgpack").read_bytes() for name in ("cmd", "cmd-start", "cmd-stop", "ack", "run", "submit")
}
_BODIES = {msgspec.msgpack.decode(one)[3] for one in _GENUINE}


def _envelope(opening: Callable[[bytes], Any]) -> Callable[[bytes], None]:
    """Without a key nobody makes an envelope that opens, whatever is done to genuine ones."""

    def target(data: bytes) -> None:
        opening(data)
        check(msgspec.msgpack.decode(data)[3] in _BODIES, "a body that nobody has signed was opened")

    return target


def _body(key: Any, opening: Callable[[bytes], Any]) -> Callable[[bytes], None]:
    """Whoever holds a key may sign anything: what is inside is held against its schema.

    The signature itself, which takes ten times as long as the rest, is taken for good here; ``signed-*`` try it.
    """

    def target(data: bytes) -> None:
        payload = _framed(key, data)
        with mock.patch.object(command_module, "_verify", _good):
            found = opening(payload)
        check_message(found[1] if isinstance(found, tuple) else found)

    return target


def _good(*_what: object) -> None:
    """A signature that holds."""


def _command(data: bytes) -> tuple[Any, Any]:
    key, command = open_command(data, RING)
    check_addressee(command, "fleet", "n1")
    check_time(command, 1_001_000, clock_synchronised=True)
    check(command.expires_ms >= 1_001_000, "an expired command was taken")
    check(command.node == "n1", "a command for another node was taken")
    return key, command


def _framing(data: bytes) -> None:
    _, envelope = open_envelope(data, RING, MAX_RUN_BYTES)
    check(len(envelope.key_id) == 8 and len(envelope.signature) == 64, "an envelope of another form was taken")


_SIGNED: list[tuple[str, Any, Callable[[bytes], Any], tuple[str, ...]]] = [
    ("command", CONTROLLER, _command, ("cmd", "cmd-start", "cmd-stop")),
    ("ack", NODE, lambda data: open_ack(data, RING), ("ack",)),
    ("run-report", NODE, lambda data: open_run(data, RING), ("run",)),
    ("submission", OPERATOR, lambda data: open_submission(data, RING), ("submit",)),
]


def _golden(*names: str) -> tuple[bytes, ...]:
    return tuple((GOLDEN / f"{name}.msgpack").read_bytes() for name in names)


def _bodies(*names: str) -> tuple[bytes, ...]:
    return tuple(msgspec.msgpack.decode(one)[3] for one in _golden(*names))


PARSERS = [
    Parser(
        "wire-topic",
        ("evenwatt_wire.topics",),
        _topic,
        (TopicError,),
        tuple(topic.encode() for _, topic, _ in ALL),
        "text",
        (b"/", b"+", b"#", b"_ctl", b"_zone", b"$SYS/", b"evenwatt/v1/"),
    ),
    *(
        Parser(
            f"wire-{file.split('.')[0]}",
            ("evenwatt_wire.codec", "evenwatt_wire.messages"),
            _message(Topic.parse(topic)),
            (WireError,),
            ((GOLDEN / file).read_bytes(),),
            file.split(".")[1],
            (b'"node":"n1"', b"n1", b"hall-1"),
        )
        for file, topic, _ in ALL
    ),
    Parser("signed-framing", ("evenwatt_wire.command",), _framing, (CommandError,), _golden("cmd", "run"), "msgpack"),
    *(
        Parser(
            f"signed-{name}",
            ("evenwatt_wire.command",),
            _envelope(opening),
            (CommandError,),
            tuple(sorted(_GENUINE)),
            "bytes",
        )
        for name, _, opening, _ in _SIGNED
    ),
    *(
        Parser(
            f"body-{name}",
            ("evenwatt_wire.command", "evenwatt_wire.jobs"),
            _body(key, opening),
            (CommandError,),
            (*_bodies(*names), msgspec.msgpack.encode(ACK if name == "ack" else COMMAND)),
            "msgpack",
        )
        for name, key, opening, names in _SIGNED
    ),
]
