"""Which trust document counts here: the newest good one, whoever brought it. Pure: bytes and time are arguments.

States: NONE --a good document--> HELD --a good one with a higher version--> HELD. Nothing leads back.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from evenwatt_wire.keyring import CommandError, KeyRing, Role, milliseconds
from evenwatt_wire.trust import Trust, TrustError, open_trust, split_trust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_wire.keyring import Clock, Key

WARN_MS: Final = 30 * 86_400_000
"""So long before a document or a key ends, people are told."""


class Verdict(StrEnum):
    """What became of a document that was offered."""

    ADOPTED = "adopted"
    SAME = "same"
    """It is the one that is held."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Offer:
    """The answer to an offer."""

    verdict: Verdict
    version: int
    """Of the document that counts now; 0 for none."""
    code: str = ""
    """Of a refusal: the failed check."""
    why: str = ""
    older: bool = False
    """Of a refusal: it is good, but a later one counts."""


class TrustKeeper:
    """Holds the newest document and the ring of keys that follows from it.

    Args:
        fleet: Whose word is listened to.
        roots: Raw public keys of the pinned roots.
        clock: Wall time in milliseconds, for keys that begin or end.
        node: On a node, its name: it need not know the keys of other nodes, and forgets them.
    """

    def __init__(self, fleet: str, roots: Sequence[bytes], clock: Clock, node: str | None = None) -> None:
        self._fleet, self._roots, self._clock, self._node = fleet, list(roots), clock, node
        self._whole = self._body = b""
        self.ring = KeyRing(clock=clock)
        """Changes in place when a document is adopted."""
        self.trust: Trust | None = None

    @property
    def version(self) -> int:
        """Version that counts; 0 for none."""
        return self.trust.version if self.trust is not None else 0

    def offer(self, document: bytes) -> Offer:
        """Adopt a document if it is good and newer. It never raises."""
        whole = hashlib.sha256(document).digest()
        if whole == self._whole:
            return Offer(Verdict.SAME, self.version)
        older = False
        try:
            trust = open_trust(document, self._roots, self._fleet)
            older = trust.version < self.version
            body = hashlib.sha256(split_trust(document)[1]).digest()
            self._check_version(trust, body)
        except TrustError as error:
            return Offer(Verdict.REFUSED, self.version, error.code, str(error), older)
        same = trust.version == self.version
        if self._node is not None:
            keys = [key for key in trust.keys if key.node in (None, self._node)]
            trust = msgspec.structs.replace(trust, keys=keys)
        self.ring.renew(trust.keys, revoked=trust.revoked_ids, expires_ms=milliseconds(trust.expires))
        self.trust, self._whole, self._body = trust, whole, body
        return Offer(Verdict.SAME if same else Verdict.ADOPTED, trust.version)

    def _check_version(self, trust: Trust, body: bytes) -> None:
        if trust.version < self.version:
            raise TrustError("version", f"has version {trust.version}; version {self.version} has been seen here")
        if trust.version == self.version and body != self._body:
            raise TrustError("version", f"is another document of version {trust.version}; sign it as a higher one")

    def own_trouble(self, own: bytes, role: Role, node: str = "", zone: str = "") -> str:
        """Say why others do not listen to the key with this id, or nothing."""
        try:
            key = self.ring.get(own)
        except CommandError as error:
            text = str(error).removeprefix("signed by ")
            return f"{text}: others refuse what is signed here (trust version {self.version})"
        if key.role is not role:
            return f"key {own.hex()} is a {key.role}'s in trust version {self.version}; expected a {role}'s"
        if role is Role.NODE and (key.node, key.zone) != (node, zone):
            return f"key {own.hex()} is of node {key.zone}/{key.node}; this is {zone}/{node}"
        return ""

    def ends(self, own: bytes | None = None) -> list[str]:
        """Say what has ended or will within 30 days: the document, and the key with this id."""
        if self.trust is None:
            return []
        moments = [(f"trust version {self.version}", milliseconds(self.trust.expires))]
        key = self._key(own)
        if key is not None and key.not_after is not None:
            moments.append((f"key {key.id.hex()} of this {key.role}", milliseconds(key.not_after)))
        now_ms = self._clock()
        return [_ending(what, end_ms - now_ms) for what, end_ms in moments if end_ms - now_ms < WARN_MS]

    def _key(self, identifier: bytes | None) -> Key | None:
        keys = self.trust.keys if self.trust is not None else []
        return next((key for key in keys if key.id == identifier), None)


def _ending(what: str, left_ms: int) -> str:
    if left_ms <= 0:
        return f"{what} has ended: until a new one is signed, commands may only release, resume, stop or ping"
    return f"{what} ends in {left_ms / 86_400_000:.0f} days; sign a new one"
