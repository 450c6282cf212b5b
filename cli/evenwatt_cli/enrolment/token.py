"""The token that an administrator carries to a new node, and the book of open ones. Pure: time is an argument.

A token's states: OPEN --proved--> USED; OPEN --15 minutes, or three wrong proofs--> gone. Nothing leads back.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from evenwatt_wire.messages import NodeId

LIFE_S: Final = 900.0
"""The longest that a token may be open."""
_PREFIX: Final = "evenwatt-"
_WRONG_PROOFS: Final = 3
_MOST_OPEN: Final = 1_000
_LONGEST: Final = 1_000
"""Characters of a token."""


class TokenError(ValueError):
    """A token, or a proof of one, that does not count. The text is for people and tells no secret."""


class Token(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node needs to join: where, whom it must find there, and the secret that it proves and never sends."""

    version: Annotated[int, Meta(ge=1, le=1)]
    server: Annotated[str, Meta(min_length=3, max_length=300)]
    """Host and port."""
    fingerprint: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """SHA-256 of the server's certificate."""
    id: Annotated[bytes, Meta(min_length=8, max_length=8)]
    secret: Annotated[bytes, Meta(min_length=32, max_length=32)]
    node: NodeId
    zone: NodeId

    def __str__(self) -> str:
        return _PREFIX + base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Token:
        """Read what :meth:`__str__` wrote.

        Raises:
            TokenError: it is something else.
        """
        good = text.strip()[:_LONGEST].startswith(_PREFIX)
        body = text.strip()[len(_PREFIX) : _LONGEST] if good else ""
        try:
            return _TOKEN.decode(base64.b64decode(body + "=" * (-len(body) % 4), b"-_", validate=True))
        except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
            raise TokenError(
                "not an enrolment token; copy the whole line that `evenwatt enroll token` printed"
            ) from None


@dataclass(slots=True)
class _Open:
    token: Token
    ends_s: float
    wrong: int = 0


class TokenBook:
    """The tokens of one session, by id.

    Args:
        server: What nodes call this session by, host and port.
        fingerprint: SHA-256 of its certificate.
    """

    def __init__(self, server: str, fingerprint: bytes) -> None:
        self._server, self._fingerprint = server, fingerprint
        self._open: dict[bytes, _Open] = {}

    def issue(self, node: str, zone: str, now_s: float, life_s: float = LIFE_S) -> Token:
        """Make a token for one node; an earlier one for the same node is void.

        Raises:
            TokenError: too many are open.
        """
        self._forget(now_s)
        for identity in [i for i, known in self._open.items() if known.token.node == node]:
            del self._open[identity]
        if len(self._open) >= _MOST_OPEN:
            raise TokenError(f"{_MOST_OPEN} tokens are open; wait until some have been used or have ended")
        made = Token(1, self._server, self._fingerprint, secrets.token_bytes(8), secrets.token_bytes(32), node, zone)
        self._open[made.id] = _Open(made, now_s + min(max(life_s, 1.0), LIFE_S))
        return made

    def claim(self, identity: bytes, node: str, digest: bytes, proof: bytes, now_s: float) -> Token:
        """Take a token out of the book for the node that has proved its secret; it cannot be used again.

        Raises:
            TokenError: it is not open, or for another node, or the proof is wrong.
        """
        self._forget(now_s)
        known = self._open.get(identity)
        if known is None:
            raise TokenError("this token has been used, has ended, or was never given out; ask for a new one")
        if not hmac.compare_digest(prove(known.token.secret, b"node", digest), proof):
            known.wrong += 1
            if known.wrong >= _WRONG_PROOFS:
                del self._open[identity]
            raise TokenError("the secret of this token was not proved")
        del self._open[identity]
        if known.token.node != node:
            raise TokenError(f"this token was given out for node {known.token.node!r}, not for {node!r}")
        return known.token

    def _forget(self, now_s: float) -> None:
        for identity in [i for i, known in self._open.items() if now_s >= known.ends_s]:
            del self._open[identity]


def prove(secret: bytes, side: bytes, digest: bytes) -> bytes:
    """Return what only who has the secret can say of what was exchanged (HMAC-SHA-256, RFC 2104)."""
    return hmac.digest(secret, b"evenwatt-enroll-v1\0" + side + b"\0" + digest, "sha256")


_TOKEN: Final = msgspec.msgpack.Decoder(Token)
