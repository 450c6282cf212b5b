"""Who is known by which public key, what that key may do, and until when."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from evenwatt_wire.messages import NodeId, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    Clock = Callable[[], int]
    """Wall time in milliseconds since 1970."""
    Check = Callable[[str, bytes, bytes], bool]
    """Whether the second is a raw public key's (hexadecimal) signature of the third."""

Moment = Annotated[datetime, Meta(tz=True)]
PublicKey = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""A raw Ed25519 public key in hexadecimal."""


class Role(StrEnum):
    """What a key may do."""

    CONTROLLER = "controller"
    OPERATOR = "operator"
    NODE = "node"


class CommandError(ValueError):
    """A command or acknowledgement that fails a check. ``code`` is short and stable, the text is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Key(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A public key and what it may do. ``node`` and ``zone`` bind a node's key to its name and place."""

    public: PublicKey
    role: Role
    name: Text = ""
    node: NodeId | None = None
    zone: NodeId | None = None
    not_before: Moment | None = None
    not_after: Moment | None = None
    zones: Annotated[list[NodeId], Meta(max_length=64)] = []
    """Of a controller or operator: the only zones that it may command; empty for all."""
    nodes: Annotated[list[NodeId], Meta(max_length=64)] = []
    """Likewise of single nodes, beside those of ``zones``."""

    @property
    def id(self) -> bytes:
        """First eight bytes of the SHA-256 of the raw public key."""
        return key_id(bytes.fromhex(self.public))

    @property
    def limited(self) -> bool:
        """Whether it may command only some of the fleet."""
        return bool(self.zones or self.nodes)

    def reaches(self, zone: str, node: str) -> bool:
        """Whether it may command this node."""
        return not self.limited or zone in self.zones or node in self.nodes


class KeyRing:
    """The keys a party trusts, by id, as they stand now: :meth:`renew` changes the ring that others hold.

    Args:
        keys: Those that are trusted.
        revoked: Ids of keys that never count again.
        expires_ms: When the word on these keys ends; from then on they may only give back (``evenwatt_wire.command``).
        clock: What tells the time, needed where a key or the word on it ends.

    Raises:
        ValueError: two keys have one id, or something ends and there is no clock.
    """

    def __init__(
        self,
        keys: Iterable[Key] = (),
        *,
        revoked: Collection[bytes] = (),
        expires_ms: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock
        self._keys: dict[bytes, Key] = {}
        self._revoked: frozenset[bytes] = frozenset()
        self._expires_ms: int | None = None
        self.check: Check = check_signature
        """What checks signatures; who has to check thousands a second may know something faster."""
        self.renew(keys, revoked=revoked, expires_ms=expires_ms)

    def renew(self, keys: Iterable[Key], *, revoked: Collection[bytes] = (), expires_ms: int | None = None) -> None:
        """Let other keys count from now on.

        Raises:
            ValueError: as for a new ring; the old keys go on.
        """
        known: dict[bytes, Key] = {}
        for key in keys:
            if key.id in known:
                raise ValueError(f"two keys have the id {key.id.hex()}; each key may stand once")
            known[key.id] = key
            if self._clock is None and (key.not_before or key.not_after):
                raise ValueError("keys that begin or end need a clock")
        if self._clock is None and expires_ms is not None:
            raise ValueError("a ring that ends needs a clock")
        self._keys, self._revoked, self._expires_ms = known, frozenset(revoked), expires_ms

    def get(self, identifier: bytes) -> Key:
        """Return the trusted key with this id.

        Raises:
            CommandError: ``unknown-key``, ``revoked-key`` or ``key-time``.
        """
        if identifier in self._revoked:
            raise CommandError("revoked-key", f"signed by key {identifier.hex()}, which has been revoked")
        key = self._keys.get(identifier)
        if key is None:
            raise CommandError("unknown-key", f"signed by key {identifier.hex()}, which is not trusted here")
        if self._clock is not None:
            check_key_time(key, self._clock())
        return key

    def current(self, role: Role) -> list[Key]:
        """Return the keys of a role that count now."""
        now_ms = self._clock() if self._clock is not None else None
        return [
            key
            for identifier, key in self._keys.items()
            if key.role is role and identifier not in self._revoked and (now_ms is None or _counts(key, now_ms))
        ]

    @property
    def expired(self) -> bool:
        """Whether the word on these keys has ended."""
        return self._expires_ms is not None and self._clock is not None and self._clock() >= self._expires_ms


def check_signature(public: str, signature: bytes, message: bytes) -> bool:
    """Whether an Ed25519 signature (RFC 8032) is by a raw public key in hexadecimal, as OpenSSL sees it."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  (8 MB that a read-only agent does without)

    try:
        _unpacked(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=64)
def _unpacked(public: str) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))


def key_id(public: bytes) -> bytes:
    """First eight bytes of the SHA-256 of a raw Ed25519 public key."""
    return hashlib.sha256(public).digest()[:_ID_BYTES]


def fingerprint(public: bytes) -> str:
    """The SHA-256 of a raw public key in groups of four hexadecimal digits, for two people to compare by voice.

    The first four groups are the key's id.
    """
    digits = hashlib.sha256(public).hexdigest()
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970 of a moment with a time zone."""
    return round(moment.timestamp() * 1000)


def check_key_time(key: Key, now_ms: int) -> None:
    """Raise :class:`CommandError` ``key-time`` unless the key counts at this wall time."""
    if key.not_before is not None and now_ms < milliseconds(key.not_before):
        raise CommandError("key-time", f"key {key.id.hex()} counts only from {key.not_before.isoformat()}")
    if key.not_after is not None and now_ms >= milliseconds(key.not_after):
        raise CommandError("key-time", f"key {key.id.hex()} counted until {key.not_after.isoformat()}")


def _counts(key: Key, now_ms: int) -> bool:
    try:
        check_key_time(key, now_ms)
    except CommandError:
        return False
    return True


_ID_BYTES: Final = 8
