"""What a new node and an enrolment session say to each other, over TLS that is pinned to the session's certificate.

::

    session -> node   Welcome  a fresh nonce
    node -> session   Wish     its public key and request for a certificate, both proved, and the token's proof
    session -> node   Waiting  seen; a person compares fingerprints now
    session -> node   Joined   everything that a node needs, with the session's own proof of the token's secret
                      Refused  why not; at any time

Each is a MessagePack array after four bytes of its length. Pure.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta, Struct

from evenwatt_wire.messages import NodeId, Text
from evenwatt_wire.trust import MAX_TRUST_BYTES

if TYPE_CHECKING:
    import asyncio

MAX_WISH_BYTES: Final = 16 * 1024
MAX_ANSWER_BYTES: Final = MAX_TRUST_BYTES + 64 * 1024
POSSESSION: Final = b"evenwatt-enroll-key-v1\0"
_LENGTH: Final = 4


class TalkError(ValueError):
    """The other side said something that it should not."""


class Welcome(Struct, frozen=True, array_like=True, tag="welcome", forbid_unknown_fields=True):
    """The session's first word."""

    nonce: Annotated[bytes, Meta(min_length=32, max_length=32)]


class Wish(Struct, frozen=True, array_like=True, tag="wish", forbid_unknown_fields=True):
    """What a node asks for."""

    token: Annotated[bytes, Meta(min_length=8, max_length=8)]
    node: NodeId
    public: Annotated[bytes, Meta(min_length=32, max_length=32)]
    request: Annotated[bytes, Meta(max_length=8192)]
    """Certificate request for TLS (PEM); its own signature proves that key."""
    possession: Annotated[bytes, Meta(min_length=64, max_length=64)] = bytes(64)
    """Signature by the node's key over all that is said here."""
    proof: Annotated[bytes, Meta(min_length=32, max_length=32)] = bytes(32)
    """That the node has the token's secret."""


class Waiting(Struct, frozen=True, array_like=True, tag="waiting", forbid_unknown_fields=True):
    """The proof was right; a person is asked."""


class Joined(Struct, frozen=True, array_like=True, tag="joined", forbid_unknown_fields=True):
    """What a node needs from now on."""

    fleet: NodeId
    zone: NodeId
    trust: bytes
    root: bytes
    """The root's public key (PEM)."""
    ca: bytes
    """The broker's authority (PEM)."""
    certificate: bytes
    """For this node's key for TLS (PEM)."""
    broker_host: Annotated[str, Meta(min_length=1, max_length=255)]
    broker_port: Annotated[int, Meta(ge=1, le=65535)]
    proof: Annotated[bytes, Meta(min_length=32, max_length=32)] = bytes(32)
    """That the session has the token's secret."""


class Refused(Struct, frozen=True, array_like=True, tag="refused", forbid_unknown_fields=True):
    """Why a node does not join."""

    why: Text


Said = Welcome | Wish | Waiting | Joined | Refused


def digest_of(fingerprint: bytes, nonce: bytes, said: Wish | Joined) -> bytes:
    """Return what proofs are over: the session's certificate, its nonce, and the message without its proofs."""
    blank = {"proof": bytes(32)} | ({"possession": bytes(64)} if isinstance(said, Wish) else {})
    body = msgspec.msgpack.encode(msgspec.structs.replace(said, **blank))
    return hashlib.sha256(fingerprint + nonce + body).digest()


def plain(text: str) -> str:
    """Return text that came from outside as a terminal may show it."""
    return "".join(character if character.isprintable() else "?" for character in text)


def pack(said: Said) -> bytes:
    """Return the bytes of a message."""
    body = msgspec.msgpack.encode(said)
    return len(body).to_bytes(_LENGTH, "big") + body


def unpack(body: bytes) -> Said:
    """Read a message without its length.

    Raises:
        TalkError: it is none.
    """
    try:
        said: Said = _SAID.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TalkError(f"not a message of an enrolment: {plain(str(error))[:200]}") from None
    return said


async def hear(reader: asyncio.StreamReader, most_bytes: int) -> Said:
    """Read one message.

    Raises:
        TalkError: it is too long or none.
        asyncio.IncompleteReadError, OSError: the other side has gone.
    """
    length = int.from_bytes(await reader.readexactly(_LENGTH), "big")
    if length > most_bytes:
        raise TalkError(f"a message of {length} bytes; at most {most_bytes} are accepted")
    return unpack(await reader.readexactly(length))


_SAID: Final = msgspec.msgpack.Decoder(Said)
